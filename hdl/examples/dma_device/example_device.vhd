-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Example of a user's own design: registers, a copier and an interrupt             --
-- ================================================================================ --
-- One PCIe port with the pins of hdl/CONTRACT.md; the register map is in           --
-- example_registers.vhd.                                                           --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use work.example_pkg.all;

entity example_device is
  port (
    clk_i : in std_logic;
    rst_i : in std_logic;
    busy_o : out std_logic;
    p0_rx_data_i : in std_logic_vector(255 downto 0);
    p0_rx_keep_i : in std_logic_vector(7 downto 0);
    p0_rx_last_i : in std_logic;
    p0_rx_valid_i : in std_logic;
    p0_rx_ready_o : out std_logic;
    p0_tx_data_o : out std_logic_vector(255 downto 0);
    p0_tx_keep_o : out std_logic_vector(7 downto 0);
    p0_tx_last_o : out std_logic;
    p0_tx_valid_o : out std_logic;
    p0_tx_ready_i : in std_logic
  );
end entity;

architecture rtl of example_device is

  -- receive: completions go to the copier, everything else to the registers --
  signal in_packet, held_completion, is_completion : std_logic;
  signal registers_rx, copier_rx : beat_t;
  signal registers_rx_ready, copier_rx_ready, rx_ready : std_logic;

  -- transmit: a whole packet at a time --
  type owner_t is (O_NONE, O_REGISTERS, O_COPIER);
  signal owner : owner_t;
  signal registers_tx, copier_tx, tx : beat_t;
  signal registers_tx_ready, copier_tx_ready : std_logic;

  signal registers_busy, copier_busy, start, done, failed : std_logic;
  signal id, dwords : std_logic_vector(15 downto 0);
  signal source, destination : std_logic_vector(63 downto 0);

begin

  busy_o <= '1' when registers_busy = '1' or copier_busy = '1' or in_packet = '1' or owner /= O_NONE else '0';

  -- -------------------------------------------------------------------------------- --
  -- Receive                                                                          --
  -- -------------------------------------------------------------------------------- --

  is_completion <= held_completion when in_packet = '1' else
                   '1' when p0_rx_data_i(31) = '0' and p0_rx_data_i(28 downto 25) = "0101" else '0';

  registers_rx <= (data => p0_rx_data_i, keep => p0_rx_keep_i, last => p0_rx_last_i, valid => p0_rx_valid_i and not is_completion);
  copier_rx <= (data => p0_rx_data_i, keep => p0_rx_keep_i, last => p0_rx_last_i, valid => p0_rx_valid_i and is_completion);
  rx_ready <= copier_rx_ready when is_completion = '1' else registers_rx_ready;
  p0_rx_ready_o <= rx_ready;

  receive : process(clk_i)
  begin
    if rising_edge(clk_i) then
      if p0_rx_valid_i = '1' and rx_ready = '1' then
        in_packet <= not p0_rx_last_i;
        held_completion <= is_completion;
      end if;
      if rst_i = '1' then
        in_packet <= '0';
        held_completion <= '0';
      end if;
    end if;
  end process;

  -- -------------------------------------------------------------------------------- --
  -- Transmit                                                                         --
  -- -------------------------------------------------------------------------------- --

  tx <= registers_tx when owner = O_REGISTERS else copier_tx when owner = O_COPIER else NO_BEAT_C;
  registers_tx_ready <= p0_tx_ready_i when owner = O_REGISTERS else '0';
  copier_tx_ready <= p0_tx_ready_i when owner = O_COPIER else '0';
  p0_tx_data_o <= tx.data;
  p0_tx_keep_o <= tx.keep;
  p0_tx_last_o <= tx.last;
  p0_tx_valid_o <= tx.valid;

  arbitrate : process(clk_i)
  begin
    if rising_edge(clk_i) then
      if owner = O_NONE then
        if registers_tx.valid = '1' then
          owner <= O_REGISTERS;
        elsif copier_tx.valid = '1' then
          owner <= O_COPIER;
        end if;
      elsif tx.valid = '1' and tx.last = '1' and p0_tx_ready_i = '1' then
        owner <= O_NONE;
      end if;
      if rst_i = '1' then
        owner <= O_NONE;
      end if;
    end if;
  end process;

  -- -------------------------------------------------------------------------------- --
  -- The device                                                                       --
  -- -------------------------------------------------------------------------------- --

  registers : entity work.example_registers
    port map (
      clk_i => clk_i,
      rst_i => rst_i,
      rx_i => registers_rx,
      rx_ready_o => registers_rx_ready,
      tx_o => registers_tx,
      tx_ready_i => registers_tx_ready,
      busy_o => registers_busy,
      start_o => start,
      id_o => id,
      source_o => source,
      destination_o => destination,
      dwords_o => dwords,
      copier_busy_i => copier_busy,
      done_i => done,
      error_i => failed
    );

  copier : entity work.example_copier
    port map (
      clk_i => clk_i,
      rst_i => rst_i,
      start_i => start,
      id_i => id,
      source_i => source,
      destination_i => destination,
      dwords_i => dwords,
      busy_o => copier_busy,
      done_o => done,
      error_o => failed,
      rx_i => copier_rx,
      rx_ready_o => copier_rx_ready,
      tx_o => copier_tx,
      tx_ready_i => copier_tx_ready
    );

end architecture;
