-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Data of a reorder buffer: 512 rows of 32 bytes with an enable per DW             --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity dma_slot_ram is
  port (
    clk_i   : in  std_ulogic;
    we_i    : in  std_ulogic_vector(7 downto 0); -- one bit per DW
    waddr_i : in  std_ulogic_vector(8 downto 0);
    wdata_i : in  std_ulogic_vector(255 downto 0);
    re_i    : in  std_ulogic;
    raddr_i : in  std_ulogic_vector(8 downto 0);
    rdata_o : out std_ulogic_vector(255 downto 0) -- one cycle after re_i, kept until the next
  );
end entity dma_slot_ram;

architecture rtl of dma_slot_ram is

  type memory_t is array (0 to 511) of std_ulogic_vector(255 downto 0);

begin

  memory: process(clk_i)
    variable memory_v : memory_t;
  begin
    if rising_edge(clk_i) then
      if re_i = '1' then
        rdata_o <= memory_v(to_integer(unsigned(raddr_i)));
      end if;
      for i in 0 to 7 loop
        if we_i(i) = '1' then
          memory_v(to_integer(unsigned(waddr_i)))(32*i+31 downto 32*i) := wdata_i(32*i+31 downto 32*i);
        end if;
      end loop;
    end if;
  end process memory;

end architecture rtl;
