-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- One register stage in a stream of beats                                          --
-- -------------------------------------------------------------------------------- --
-- Stands at the pins, so that nothing but registers hangs on what comes in. Takes  --
-- a beat in every cycle; takes none in reset.                                      --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity stream_register is
  generic (
    DATA_WIDTH_G : positive
  );
  port (
    clk_i   : in  std_ulogic; -- clock, rising edge
    rst_i   : in  std_ulogic; -- reset, synchronous, high-active
    -- in --
    data_i  : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    keep_i  : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    last_i  : in  std_ulogic;
    valid_i : in  std_ulogic;
    ready_o : out std_ulogic;
    -- out --
    data_o  : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    keep_o  : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    last_o  : out std_ulogic;
    valid_o : out std_ulogic;
    ready_i : in  std_ulogic
  );
end entity stream_register;

architecture stream_register_rtl of stream_register is

  signal full  : std_ulogic;
  signal ready : std_ulogic;

begin

  ready <= (ready_i or not full) and not rst_i;

  stage: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        full <= '0';
      elsif (ready = '1') then
        full <= valid_i;
        if (valid_i = '1') then
          data_o <= data_i;
          keep_o <= keep_i;
          last_o <= last_i;
        end if;
      end if;
    end if;
  end process stage;

  valid_o <= full;
  ready_o <= ready;

end architecture stream_register_rtl;
