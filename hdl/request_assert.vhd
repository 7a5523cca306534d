-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Asserts the rules of the memory requests that leave a port (CONTRACT.md, 2)      --
-- -------------------------------------------------------------------------------- --
-- Max_Payload_Size, Max_Read_Request_Size, 4 KiB, byte enables, tags, address      --
-- format, requester. A size that changes while requests are being made may still   --
-- have its old value in them: sizes are not looked at until those are done.        --
-- Reads only, has no outputs.                                                      --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;

entity request_assert is
  generic (
    FUNCTIONS_G : positive
  );
  port (
    clk_i   : in  std_ulogic; -- clock, rising edge
    rst_i   : in  std_ulogic; -- reset, synchronous, high-active
    -- TLPs to the link --
    data_i  : in  std_ulogic_vector(255 downto 0);
    last_i  : in  std_ulogic;
    valid_i : in  std_ulogic;
    ready_i : in  std_ulogic;
    -- configuration of the functions --
    mps_i   : in  code3_array_t(0 to FUNCTIONS_G-1);
    mrrs_i  : in  code3_array_t(0 to FUNCTIONS_G-1);
    busy_i  : in  std_ulogic -- requests are being made
  );
end entity request_assert;

architecture request_assert_rtl of request_assert is

  -- the rule was broken in the cycle before --
  signal too_long   : std_ulogic := '0';
  signal across     : std_ulogic := '0';
  signal enables    : std_ulogic := '0';
  signal format     : std_ulogic := '0';
  signal tag        : std_ulogic := '0';
  signal stranger   : std_ulogic := '0';

begin

  max_payload_and_read_size: assert too_long = '0'
    report "a request is longer than Max_Payload_Size or Max_Read_Request_Size" severity failure;
  page_of_4_kib: assert across = '0'
    report "a request crosses 4 KiB" severity failure;
  byte_enables: assert enables = '0'
    report "byte enables do not fit the Length of a request" severity failure;
  address_format: assert format = '0'
    report "a request has 4 DWs of header below 4 GiB" severity failure;
  tag_below_32: assert tag = '0'
    report "a read has a tag above 31" severity failure;
  own_requester: assert stranger = '0'
    report "a request is made by a function that does not exist" severity failure;

  watch: process(clk_i)
    variable header_v   : std_ulogic := '1';
    variable loose_v    : std_ulogic := '0';
    variable mps_v      : code3_array_t(0 to FUNCTIONS_G-1);
    variable mrrs_v     : code3_array_t(0 to FUNCTIONS_G-1);
    variable function_v : natural range 0 to 7;
    variable length_v   : unsigned(10 downto 0);
    variable limit_v    : unsigned(10 downto 0);
    variable low_v      : unsigned(10 downto 0); -- DW in its page
    variable wide_v     : std_ulogic;
    variable write_v    : std_ulogic;
    variable size_v     : std_ulogic_vector(2 downto 0);
    variable memory_v   : boolean;
  begin
    if rising_edge(clk_i) then
      too_long <= '0';
      across   <= '0';
      enables  <= '0';
      format   <= '0';
      tag      <= '0';
      stranger <= '0';
      if (mps_v /= mps_i) or (mrrs_v /= mrrs_i) then
        loose_v := '1';
      elsif (busy_i = '0') then
        loose_v := '0';
      end if;
      mps_v  := mps_i;
      mrrs_v := mrrs_i;
      if (rst_i = '1') then
        header_v := '1';
      elsif (valid_i = '1') and (ready_i = '1') then
        wide_v   := data_i(29);
        write_v  := data_i(30);
        memory_v := (header_v = '1') and (data_i(31) = '0') and (data_i(28 downto 24) = "00000");
        if memory_v then
          length_v := '0' & unsigned(data_i(9 downto 0));
          if (length_v = 0) then
            length_v := to_unsigned(1024, 11);
          end if;
          low_v := '0' & unsigned(data_i(75 downto 66));
          if (wide_v = '1') then
            low_v := '0' & unsigned(data_i(107 downto 98));
          end if;
          function_v := to_integer(unsigned(data_i(50 downto 48)));
          if (function_v >= FUNCTIONS_G) then
            stranger <= '1';
            function_v := 0;
          end if;
          size_v := mrrs_v(function_v mod FUNCTIONS_G);
          if (write_v = '1') then
            size_v := mps_v(function_v mod FUNCTIONS_G);
          end if;
          limit_v := to_unsigned(128, 11); -- a slot of the reorder buffer
          if (loose_v = '0') or (write_v = '1') then
            limit_v := to_unsigned(64, 11);
          end if;
          if (loose_v = '0') then
            if (size_v = "000") then
              limit_v := to_unsigned(32, 11);
            elsif (write_v = '0') and (size_v /= "001") then
              limit_v := to_unsigned(128, 11);
            end if;
          end if;
          if (length_v > limit_v) then
            too_long <= '1';
          end if;
          if (low_v + length_v > 1024) then
            across <= '1';
          end if;
          if ((length_v = 1) and (data_i(39 downto 36) /= "0000")) or
             ((length_v /= 1) and ((data_i(35 downto 32) = "0000") or (data_i(39 downto 36) = "0000"))) then
            enables <= '1';
          end if;
          if (wide_v = '1') and (unsigned(data_i(95 downto 64)) = 0) then
            format <= '1';
          end if;
          if (write_v = '0') and (data_i(47 downto 45) /= "000") then
            tag <= '1';
          end if;
        end if;
        header_v := last_i;
      end if;
    end if;
  end process watch;

end architecture request_assert_rtl;
