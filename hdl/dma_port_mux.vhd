-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Joins the reads and the writes of one port to one stream of packets              --
-- -------------------------------------------------------------------------------- --
-- Reads go first: they are one beat long and keep the writes fed.                  --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

library work;
use work.cosim_pkg.all;

entity dma_port_mux is
  port (
    clk_i         : in  std_ulogic;
    rst_i         : in  std_ulogic;
    -- reads: a header is the packet --
    read_header_i : in  tlp_header_t;
    read_valid_i  : in  std_ulogic;
    read_ready_o  : out std_ulogic;
    -- writes --
    write_data_i  : in  std_ulogic_vector(255 downto 0);
    write_keep_i  : in  std_ulogic_vector(7 downto 0);
    write_last_i  : in  std_ulogic;
    write_valid_i : in  std_ulogic;
    write_ready_o : out std_ulogic;
    -- both --
    tx_data_o     : out std_ulogic_vector(255 downto 0);
    tx_keep_o     : out std_ulogic_vector(7 downto 0);
    tx_last_o     : out std_ulogic;
    tx_valid_o    : out std_ulogic;
    tx_ready_i    : in  std_ulogic
  );
end entity dma_port_mux;

architecture rtl of dma_port_mux is

  signal writing_q : std_ulogic; -- a write is offered or under way: it stays selected to its end
  signal reading   : std_ulogic;

begin

  reading <= read_valid_i and not writing_q;
  read_ready_o <= reading and tx_ready_i;
  write_ready_o <= tx_ready_i and not reading;
  tx_valid_o <= reading or write_valid_i;

  pick: process(reading, read_header_i, write_valid_i, write_data_i, write_keep_i, write_last_i)
  begin
    -- zero while idle, so that nothing behind it moves when the other port is busy --
    tx_data_o <= (others => '0');
    tx_keep_o <= (others => '0');
    tx_last_o <= '0';
    if reading = '1' then
      tx_data_o <= x"00000000000000000000000000000000" & read_header_i;
      tx_keep_o <= header_keep_f(read_header_i, 256);
      tx_last_o <= '1';
    elsif write_valid_i = '1' then
      tx_data_o <= write_data_i;
      tx_keep_o <= write_keep_i;
      tx_last_o <= write_last_i;
    end if;
  end process pick;

  hold: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if reading = '0' and write_valid_i = '1' then
        writing_q <= not (write_last_i and tx_ready_i);
      end if;
      if rst_i = '1' then
        writing_q <= '0';
      end if;
    end if;
  end process hold;

end architecture rtl;
