-- SPDX-License-Identifier: Apache-2.0
-- Three ports that send back what they get, one cycle later. A packet whose DW 1 is 0xDEADDEAD on port 0 fails an assertion.

library ieee;
use ieee.std_logic_1164.all;

entity echo_port is
  port (
    clk_i, rst_i : in std_logic;
    busy_o : out std_logic;
    rx_data_i : in std_logic_vector(255 downto 0);
    rx_keep_i : in std_logic_vector(7 downto 0);
    rx_last_i, rx_valid_i : in std_logic;
    rx_ready_o : out std_logic;
    tx_data_o : out std_logic_vector(255 downto 0);
    tx_keep_o : out std_logic_vector(7 downto 0);
    tx_last_o, tx_valid_o : out std_logic;
    tx_ready_i : in std_logic
  );
end entity;

architecture rtl of echo_port is
  signal full : std_logic;
begin
  rx_ready_o <= not full or tx_ready_i;
  tx_valid_o <= full;
  busy_o <= full;

  process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (not full or tx_ready_i) = '1' then
        full <= rx_valid_i;
        tx_data_o <= rx_data_i;
        tx_keep_o <= rx_keep_i;
        tx_last_o <= rx_last_i;
      end if;
      if rst_i = '1' then
        full <= '0';
      end if;
    end if;
  end process;
end architecture;

library ieee;
use ieee.std_logic_1164.all;

entity Echo is
  port (
    CLK_I, Rst_i : in std_logic; -- spelt as users may
    busy_o : out std_logic;
    p0_rx_data_i, p1_rx_data_i, p2_rx_data_i : in std_logic_vector(255 downto 0);
    p0_rx_keep_i, p1_rx_keep_i, p2_rx_keep_i : in std_logic_vector(7 downto 0);
    p0_rx_last_i, p1_rx_last_i, p2_rx_last_i : in std_logic;
    p0_rx_valid_i, p1_rx_valid_i, p2_rx_valid_i : in std_logic;
    p0_rx_ready_o, p1_rx_ready_o, p2_rx_ready_o : out std_logic;
    p0_tx_data_o, p1_tx_data_o, p2_tx_data_o : out std_logic_vector(255 downto 0);
    p0_tx_keep_o, p1_tx_keep_o, p2_tx_keep_o : out std_logic_vector(7 downto 0);
    p0_tx_last_o, p1_tx_last_o, p2_tx_last_o : out std_logic;
    p0_tx_valid_o, p1_tx_valid_o, p2_tx_valid_o : out std_logic;
    p0_tx_ready_i, p1_tx_ready_i, p2_tx_ready_i : in std_logic
  );
end entity;

architecture rtl of Echo is
  signal busy : std_logic_vector(2 downto 0);
  signal poisoned : std_logic;
begin
  busy_o <= busy(0) or busy(1) or busy(2);

  port0 : entity work.echo_port port map (clk_i, rst_i, busy(0), p0_rx_data_i, p0_rx_keep_i, p0_rx_last_i, p0_rx_valid_i,
    p0_rx_ready_o, p0_tx_data_o, p0_tx_keep_o, p0_tx_last_o, p0_tx_valid_o, p0_tx_ready_i);
  port1 : entity work.echo_port port map (clk_i, rst_i, busy(1), p1_rx_data_i, p1_rx_keep_i, p1_rx_last_i, p1_rx_valid_i,
    p1_rx_ready_o, p1_tx_data_o, p1_tx_keep_o, p1_tx_last_o, p1_tx_valid_o, p1_tx_ready_i);
  port2 : entity work.echo_port port map (clk_i, rst_i, busy(2), p2_rx_data_i, p2_rx_keep_i, p2_rx_last_i, p2_rx_valid_i,
    p2_rx_ready_o, p2_tx_data_o, p2_tx_keep_o, p2_tx_last_o, p2_tx_valid_o, p2_tx_ready_i);

  process(clk_i)
  begin
    if rising_edge(clk_i) then
      poisoned <= '0';
      if p0_rx_valid_i = '1' and p0_rx_data_i(63 downto 32) = x"DEADDEAD" then
        poisoned <= '1';
      end if;
      assert rst_i = '1' or poisoned = '0' report "poisoned packet" severity failure;
    end if;
  end process;
end architecture;
