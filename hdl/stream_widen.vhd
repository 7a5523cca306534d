-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- From the 256 bits of the core to wide pins                                       --
-- -------------------------------------------------------------------------------- --
-- Beat 0 is a header and leaves alone; beats of payload are gathered. The beat     --
-- that completes a wide one is taken from the core when that one leaves.           --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity stream_widen is
  generic (
    DATA_WIDTH_G : positive -- of the pins: a multiple of 256
  );
  port (
    clk_i   : in  std_ulogic; -- clock, rising edge
    rst_i   : in  std_ulogic; -- reset, synchronous, high-active
    -- 256 bits --
    data_i  : in  std_ulogic_vector(255 downto 0);
    keep_i  : in  std_ulogic_vector(7 downto 0);
    last_i  : in  std_ulogic;
    valid_i : in  std_ulogic;
    ready_o : out std_ulogic;
    -- wide --
    data_o  : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    keep_o  : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    last_o  : out std_ulogic;
    valid_o : out std_ulogic;
    ready_i : in  std_ulogic
  );
end entity stream_widen;

architecture stream_widen_rtl of stream_widen is

  constant PARTS_C : positive := DATA_WIDTH_G/256;

  signal header   : std_ulogic;                                 -- beat 0
  signal part     : natural range 0 to PARTS_C-1;
  signal gathered : std_ulogic_vector(DATA_WIDTH_G-1 downto 0); -- parts before this one
  signal complete : std_ulogic;                                 -- this part completes a beat
  signal ready    : std_ulogic;

begin

  complete <= '1' when (header = '1') or (last_i = '1') or (part = PARTS_C-1) else '0';
  ready <= ready_i or not complete;

  join: process(all)
  begin
    data_o <= (others => '0');
    keep_o <= (others => '0');
    for p in 0 to PARTS_C-1 loop
      if (p < part) then
        data_o(256*p+255 downto 256*p) <= gathered(256*p+255 downto 256*p);
        keep_o(8*p+7 downto 8*p)       <= (others => '1');
      elsif (p = part) then
        data_o(256*p+255 downto 256*p) <= data_i;
        keep_o(8*p+7 downto 8*p)       <= keep_i;
      end if;
    end loop;
  end process join;

  last_o  <= last_i;
  valid_o <= valid_i and complete;
  ready_o <= ready;

  gather: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        header <= '1';
        part   <= 0;
      elsif (valid_i = '1') and (ready = '1') then
        for p in 0 to PARTS_C-1 loop
          if (p = part) then
            gathered(256*p+255 downto 256*p) <= data_i;
          end if;
        end loop;
        if (complete = '1') then
          header <= last_i;
          part   <= 0;
        else
          part <= part + 1;
        end if;
      end if;
    end if;
  end process gather;

end architecture stream_widen_rtl;
