-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- INTx of one PCIe port: tells each change of a function's INTA level              --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;

entity intx_messages is
  generic (
    FUNCTIONS_G : positive
  );
  port (
    clk_i       : in  std_ulogic; -- clock, rising edge
    rst_i       : in  std_ulogic; -- reset, synchronous, high-active
    level_i     : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- INTA of each function
    requester_i : in  std_ulogic_vector(15 downto 0);            -- bus and device
    -- messages --
    pending_o   : out std_ulogic; -- a level is not yet told
    valid_o     : out std_ulogic;
    ready_i     : in  std_ulogic;
    header_o    : out tlp_header_t
  );
end entity intx_messages;

architecture intx_messages_rtl of intx_messages is

  signal told  : std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- level as the root port knows it
  signal valid : std_ulogic;

begin

  tell: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        told  <= (others => '0');
        valid <= '0';
      elsif (valid = '1') then
        if (ready_i = '1') then
          valid <= '0';
        end if;
      elsif (level_i /= told) then
        for f in 0 to FUNCTIONS_G-1 loop
          if (level_i(f) /= told(f)) then
            told(f) <= level_i(f);
            valid   <= '1';
            if (level_i(f) = '1') then
              header_o <= message_header_f(requester_i(15 downto 3) & std_ulogic_vector(to_unsigned(f, 3)), MSG_ASSERT_INTA_C);
            else
              header_o <= message_header_f(requester_i(15 downto 3) & std_ulogic_vector(to_unsigned(f, 3)), MSG_DEASSERT_INTA_C);
            end if;
            exit;
          end if;
        end loop;
      end if;
    end if;
  end process tell;

  pending_o <= '1' when (valid = '1') or (level_i /= told) else '0';
  valid_o   <= valid;

end architecture intx_messages_rtl;
