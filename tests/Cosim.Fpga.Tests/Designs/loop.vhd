-- SPDX-License-Identifier: Apache-2.0
-- A combinational loop that finds no end once a packet comes.

library ieee;
use ieee.std_logic_1164.all;

entity endless is
  port (
    clk_i, rst_i : in std_logic;
    busy_o : out std_logic;
    p0_rx_data_i : in std_logic_vector(255 downto 0);
    p0_rx_keep_i : in std_logic_vector(7 downto 0);
    p0_rx_last_i, p0_rx_valid_i : in std_logic;
    p0_rx_ready_o : out std_logic;
    p0_tx_data_o : out std_logic_vector(255 downto 0);
    p0_tx_keep_o : out std_logic_vector(7 downto 0);
    p0_tx_last_o, p0_tx_valid_o : out std_logic;
    p0_tx_ready_i : in std_logic
  );
end entity;

architecture rtl of endless is
  signal x : std_logic := '0';
begin
  x <= not x when p0_rx_valid_i = '1' else '0';
  busy_o <= '0';
  p0_rx_ready_o <= '1';
  p0_tx_data_o <= (others => '0');
  p0_tx_keep_o <= (others => '0');
  p0_tx_last_o <= x;
  p0_tx_valid_o <= '0';
end architecture;
