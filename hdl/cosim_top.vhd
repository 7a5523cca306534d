-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Top of the virtio FPGA: the pins of CONTRACT.md and nothing but std_logic        --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity cosim_top is
  generic (
    DATA_WIDTH_G    : integer := 256;     -- bits of a beat, a multiple of 256
    FUNCTIONS_G     : integer := 2;       -- virtio functions on port 0, 1 to 8
    QUEUES_G        : integer := 8;       -- queues of a function, 1 to 64
    VECTORS_G       : integer := 0;       -- MSI-X vectors of a function, 0: queues + 1
    SCRATCH_BYTES_G : integer := 65536;   -- a power of two
    DMA_TIMEOUT_G   : integer := 65536;   -- cycles the DMA engine waits for a completion
    BE_VENDOR_G     : integer := 16#0C05#; -- PCI ids of the back-end endpoint
    BE_DEVICE_G     : integer := 16#5101#
  );
  port (
    clk_i         : in  std_logic;
    rst_i         : in  std_logic;
    busy_o        : out std_logic;
    -- port 0: host 1 --
    p0_rx_data_i  : in  std_logic_vector(DATA_WIDTH_G-1 downto 0);
    p0_rx_keep_i  : in  std_logic_vector(DATA_WIDTH_G/32-1 downto 0);
    p0_rx_last_i  : in  std_logic;
    p0_rx_valid_i : in  std_logic;
    p0_rx_ready_o : out std_logic;
    p0_tx_data_o  : out std_logic_vector(DATA_WIDTH_G-1 downto 0);
    p0_tx_keep_o  : out std_logic_vector(DATA_WIDTH_G/32-1 downto 0);
    p0_tx_last_o  : out std_logic;
    p0_tx_valid_o : out std_logic;
    p0_tx_ready_i : in  std_logic;
    -- port 1: host 2 --
    p1_rx_data_i  : in  std_logic_vector(DATA_WIDTH_G-1 downto 0);
    p1_rx_keep_i  : in  std_logic_vector(DATA_WIDTH_G/32-1 downto 0);
    p1_rx_last_i  : in  std_logic;
    p1_rx_valid_i : in  std_logic;
    p1_rx_ready_o : out std_logic;
    p1_tx_data_o  : out std_logic_vector(DATA_WIDTH_G-1 downto 0);
    p1_tx_keep_o  : out std_logic_vector(DATA_WIDTH_G/32-1 downto 0);
    p1_tx_last_o  : out std_logic;
    p1_tx_valid_o : out std_logic;
    p1_tx_ready_i : in  std_logic;
    -- port 2: management --
    p2_rx_data_i  : in  std_logic_vector(DATA_WIDTH_G-1 downto 0);
    p2_rx_keep_i  : in  std_logic_vector(DATA_WIDTH_G/32-1 downto 0);
    p2_rx_last_i  : in  std_logic;
    p2_rx_valid_i : in  std_logic;
    p2_rx_ready_o : out std_logic;
    p2_tx_data_o  : out std_logic_vector(DATA_WIDTH_G-1 downto 0);
    p2_tx_keep_o  : out std_logic_vector(DATA_WIDTH_G/32-1 downto 0);
    p2_tx_last_o  : out std_logic;
    p2_tx_valid_o : out std_logic;
    p2_tx_ready_i : in  std_logic
  );
end entity cosim_top;

architecture cosim_top_rtl of cosim_top is

  function vectors_f return positive is
  begin
    if VECTORS_G > 0 then
      return VECTORS_G;
    else
      return QUEUES_G + 1;
    end if;
  end function vectors_f;

begin

  assert (DATA_WIDTH_G > 0) and (DATA_WIDTH_G mod 256 = 0)
    report "cosim_top: DATA_WIDTH_G must be a multiple of 256" severity failure;
  assert (FUNCTIONS_G >= 1) and (FUNCTIONS_G <= 8)
    report "cosim_top: FUNCTIONS_G must be 1 to 8" severity failure;
  assert (QUEUES_G >= 1) and (QUEUES_G <= 64)
    report "cosim_top: QUEUES_G must be 1 to 64" severity failure;
  assert FUNCTIONS_G*QUEUES_G <= 511
    report "cosim_top: FUNCTIONS_G*QUEUES_G must be at most 511, a vector of the back-end endpoint for each" severity failure;
  assert (VECTORS_G >= 0) and (VECTORS_G <= 512)
    report "cosim_top: VECTORS_G must be 0 to 512" severity failure;

  fpga_inst: entity work.virtio_fpga
  generic map (
    DATA_WIDTH_G    => DATA_WIDTH_G,
    FUNCTIONS_G     => FUNCTIONS_G,
    QUEUES_G        => QUEUES_G,
    VECTORS_G       => vectors_f,
    SCRATCH_BYTES_G => SCRATCH_BYTES_G,
    DMA_TIMEOUT_G   => DMA_TIMEOUT_G,
    BE_VENDOR_G     => BE_VENDOR_G,
    BE_DEVICE_G     => BE_DEVICE_G
  )
  port map (
    clk_i         => clk_i,
    rst_i         => rst_i,
    busy_o        => busy_o,
    p0_rx_data_i  => p0_rx_data_i,
    p0_rx_keep_i  => p0_rx_keep_i,
    p0_rx_last_i  => p0_rx_last_i,
    p0_rx_valid_i => p0_rx_valid_i,
    p0_rx_ready_o => p0_rx_ready_o,
    p0_tx_data_o  => p0_tx_data_o,
    p0_tx_keep_o  => p0_tx_keep_o,
    p0_tx_last_o  => p0_tx_last_o,
    p0_tx_valid_o => p0_tx_valid_o,
    p0_tx_ready_i => p0_tx_ready_i,
    p1_rx_data_i  => p1_rx_data_i,
    p1_rx_keep_i  => p1_rx_keep_i,
    p1_rx_last_i  => p1_rx_last_i,
    p1_rx_valid_i => p1_rx_valid_i,
    p1_rx_ready_o => p1_rx_ready_o,
    p1_tx_data_o  => p1_tx_data_o,
    p1_tx_keep_o  => p1_tx_keep_o,
    p1_tx_last_o  => p1_tx_last_o,
    p1_tx_valid_o => p1_tx_valid_o,
    p1_tx_ready_i => p1_tx_ready_i,
    p2_rx_data_i  => p2_rx_data_i,
    p2_rx_keep_i  => p2_rx_keep_i,
    p2_rx_last_i  => p2_rx_last_i,
    p2_rx_valid_i => p2_rx_valid_i,
    p2_rx_ready_o => p2_rx_ready_o,
    p2_tx_data_o  => p2_tx_data_o,
    p2_tx_keep_o  => p2_tx_keep_o,
    p2_tx_last_o  => p2_tx_last_o,
    p2_tx_valid_o => p2_tx_valid_o,
    p2_tx_ready_i => p2_tx_ready_i
  );

end architecture cosim_top_rtl;
