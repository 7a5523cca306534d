-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- From wide pins to the 256 bits of the core                                       --
-- -------------------------------------------------------------------------------- --
-- Beat 0 is a header and fits into one beat of the core; a beat of payload becomes --
-- as many as it has valid parts.                                                   --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity stream_narrow is
  generic (
    DATA_WIDTH_G : positive -- of the pins: a multiple of 256
  );
  port (
    clk_i   : in  std_ulogic; -- clock, rising edge
    rst_i   : in  std_ulogic; -- reset, synchronous, high-active
    -- wide --
    data_i  : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    keep_i  : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    last_i  : in  std_ulogic;
    valid_i : in  std_ulogic;
    ready_o : out std_ulogic;
    -- 256 bits --
    data_o  : out std_ulogic_vector(255 downto 0);
    keep_o  : out std_ulogic_vector(7 downto 0);
    last_o  : out std_ulogic;
    valid_o : out std_ulogic;
    ready_i : in  std_ulogic
  );
end entity stream_narrow;

architecture stream_narrow_rtl of stream_narrow is

  constant PARTS_C : positive := DATA_WIDTH_G/256;

  signal header   : std_ulogic; -- beat 0
  signal part     : natural range 0 to PARTS_C-1;
  signal complete : std_ulogic; -- the last part of this beat

begin

  choose: process(all)
  begin
    data_o <= data_i(255 downto 0);
    keep_o <= keep_i(7 downto 0);
    complete  <= header;
    for p in 0 to PARTS_C-1 loop
      if (part = p) then
        data_o <= data_i(256*p+255 downto 256*p);
        keep_o <= keep_i(8*p+7 downto 8*p);
        if (p = PARTS_C-1) then
          complete <= '1';
        elsif (keep_i(8*p+8) = '0') then -- nothing valid beyond
          complete <= '1';
        end if;
      end if;
    end loop;
  end process choose;

  last_o  <= last_i and complete;
  valid_o <= valid_i;
  ready_o <= ready_i and complete;

  count: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        header <= '1';
        part   <= 0;
      elsif (valid_i = '1') and (ready_i = '1') then
        if (complete = '1') then
          header <= last_i;
          part   <= 0;
        else
          part <= part + 1;
        end if;
      end if;
    end if;
  end process count;

end architecture stream_narrow_rtl;
