-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Scratch memory: rows of 32 bytes with byte enables                               --
-- -------------------------------------------------------------------------------- --
-- One write port shared by the DMA engine (which goes first) and the management    --
-- port; one read port each, data one cycle after the strobe and kept until the     --
-- next one. A row written and read in the same cycle reads as it was before.       --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;

entity scratch_ram is
  generic (
    SCRATCH_BYTES_G : positive := 65536 -- a power of two
  );
  port (
    clk_i            : in  std_ulogic;
    -- DMA engine --
    scratch_re_i     : in  std_ulogic;
    scratch_raddr_i  : in  std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    scratch_rdata_o  : out std_ulogic_vector(255 downto 0);
    scratch_we_i     : in  std_ulogic;
    scratch_waddr_i  : in  std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    scratch_wbe_i    : in  std_ulogic_vector(31 downto 0);
    scratch_wdata_i  : in  std_ulogic_vector(255 downto 0);
    -- management port --
    mem_re_i         : in  std_ulogic;
    mem_raddr_i      : in  std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    mem_rdata_o      : out std_ulogic_vector(255 downto 0);
    mem_we_i         : in  std_ulogic;
    mem_wready_o     : out std_ulogic;
    mem_waddr_i      : in  std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    mem_wbe_i        : in  std_ulogic_vector(31 downto 0);
    mem_wdata_i      : in  std_ulogic_vector(255 downto 0)
  );
end entity scratch_ram;

architecture rtl of scratch_ram is

  type memory_t is array (0 to SCRATCH_BYTES_G/32-1) of std_ulogic_vector(255 downto 0);

begin

  mem_wready_o <= not scratch_we_i;

  memory: process(clk_i)
    -- zero, as block RAM is after configuration. Hidden from synthesis, whose netlist would list every row; --
    -- a two-state simulation of that netlist starts at zero anyway.                                       --
    variable memory_v  : memory_t
    -- pragma translate_off
    := (others => (others => '0'))
    -- pragma translate_on
    ;
    variable address_v : std_ulogic_vector(scratch_waddr_i'range);
    variable data_v    : std_ulogic_vector(255 downto 0);
    variable be_v      : std_ulogic_vector(31 downto 0);
  begin
    if rising_edge(clk_i) then
      if scratch_re_i = '1' then
        scratch_rdata_o <= memory_v(to_integer(unsigned(scratch_raddr_i)));
      end if;
      if mem_re_i = '1' then
        mem_rdata_o <= memory_v(to_integer(unsigned(mem_raddr_i)));
      end if;
      address_v := mem_waddr_i;
      data_v := mem_wdata_i;
      be_v := mem_wbe_i;
      if scratch_we_i = '1' then
        address_v := scratch_waddr_i;
        data_v := scratch_wdata_i;
        be_v := scratch_wbe_i;
      end if;
      if scratch_we_i = '1' or mem_we_i = '1' then
        for i in 0 to 31 loop
          if be_v(i) = '1' then
            memory_v(to_integer(unsigned(address_v)))(8*i+7 downto 8*i) := data_v(8*i+7 downto 8*i);
          end if;
        end loop;
      end if;
    end if;
  end process memory;

end architecture rtl;
