-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- The management port's way to the registers                                       --
-- -------------------------------------------------------------------------------- --
-- Holds an access from its strobe to its acknowledge and shows it to the block it  --
-- is for: block MG below MG_FUNCTION, block FN from there on.                      --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_regs_pkg.all;

entity register_bus is
  port (
    clk_i         : in  std_ulogic; -- clock, rising edge
    rst_i         : in  std_ulogic; -- reset, synchronous, high-active
    -- management port --
    reg_addr_i    : in  std_ulogic_vector(31 downto 0);
    reg_we_i      : in  std_ulogic; -- strobe
    reg_re_i      : in  std_ulogic; -- strobe
    reg_wdata_i   : in  std_ulogic_vector(31 downto 0);
    reg_rdata_o   : out std_ulogic_vector(31 downto 0);
    reg_ack_o     : out std_ulogic;
    -- the access, held --
    write_o       : out std_ulogic;
    address_o     : out std_ulogic_vector(31 downto 0);
    data_o        : out std_ulogic_vector(31 downto 0);
    -- block MG --
    mg_enable_o   : out std_ulogic;
    mg_ack_i      : in  std_ulogic;
    mg_data_i     : in  std_ulogic_vector(31 downto 0);
    -- block FN --
    fn_enable_o   : out std_ulogic;
    fn_ack_i      : in  std_ulogic;
    fn_data_i     : in  std_ulogic_vector(31 downto 0)
  );
end entity register_bus;

architecture register_bus_rtl of register_bus is

  signal mg_enable : std_ulogic;
  signal fn_enable : std_ulogic;

begin

  hold: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        mg_enable <= '0';
        fn_enable <= '0';
      elsif (reg_we_i = '1') or (reg_re_i = '1') then
        write_o   <= reg_we_i;
        address_o <= reg_addr_i;
        data_o    <= reg_wdata_i;
        if (unsigned(reg_addr_i) < MG_FUNCTION_C) then
          mg_enable <= '1';
        else
          fn_enable <= '1';
        end if;
      elsif (mg_ack_i = '1') or (fn_ack_i = '1') then
        mg_enable <= '0';
        fn_enable <= '0';
      end if;
    end if;
  end process hold;

  mg_enable_o <= mg_enable;
  fn_enable_o <= fn_enable;

  reg_ack_o   <= mg_ack_i or fn_ack_i;
  reg_rdata_o <= mg_data_i when (mg_enable = '1') else fn_data_i;

end architecture register_bus_rtl;
