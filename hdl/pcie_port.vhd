-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- One PCIe port: transaction layer, configuration space and MSI-X of its functions --
-- -------------------------------------------------------------------------------- --
-- What remains for the functions themselves is BAR0 and the reasons to interrupt.  --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

library work;
use work.cosim_pkg.all;

entity pcie_port is
  generic (
    DATA_WIDTH_G : positive; -- bits of a beat
    FUNCTIONS_G  : positive; -- functions, 1 to 8
    VECTORS_G    : positive; -- MSI-X vectors of a function
    QUEUES_G     : positive; -- virtqueues of a function
    BAR0_BITS_G  : positive; -- log2 of BAR0's size in bytes
    BAR1_BITS_G  : positive; -- log2 of BAR1's size in bytes
    VIRTIO_G     : boolean   -- virtio functions
  );
  port (
    clk_i          : in  std_ulogic; -- clock, rising edge
    rst_i          : in  std_ulogic; -- reset, synchronous, high-active
    -- link --
    rx_data_i      : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    rx_keep_i      : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    rx_last_i      : in  std_ulogic;
    rx_valid_i     : in  std_ulogic;
    rx_ready_o     : out std_ulogic;
    tx_data_o      : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    tx_keep_o      : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    tx_last_o      : out std_ulogic;
    tx_valid_o     : out std_ulogic;
    tx_ready_i     : in  std_ulogic;
    -- functions --
    id_i           : in  word32_array_t(0 to FUNCTIONS_G-1);
    class_i        : in  word32_array_t(0 to FUNCTIONS_G-1);
    subsystem_i    : in  word32_array_t(0 to FUNCTIONS_G-1);
    intx_i         : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- wants INTA, if it has no MSI-X
    bus_master_o   : out std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    msix_enable_o  : out std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    mps_o          : out code3_array_t(0 to FUNCTIONS_G-1);
    mrrs_o         : out code3_array_t(0 to FUNCTIONS_G-1);
    flr_o          : out std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    requester_o    : out std_ulogic_vector(15 downto 0);
    -- accesses to BAR0 --
    acc_enable_o   : out std_ulogic;
    acc_write_o    : out std_ulogic;
    acc_function_o : out std_ulogic_vector(2 downto 0);
    acc_address_o  : out std_ulogic_vector(15 downto 0);
    acc_data_o     : out std_ulogic_vector(31 downto 0);
    acc_be_o       : out std_ulogic_vector(3 downto 0);
    acc_ack_i      : in  std_ulogic;
    acc_data_i     : in  std_ulogic_vector(31 downto 0);
    -- interrupts by MSI-X --
    irq_valid_i    : in  std_ulogic;
    irq_ready_o    : out std_ulogic;
    irq_function_i : in  std_ulogic_vector(2 downto 0);
    irq_vector_i   : in  std_ulogic_vector(15 downto 0);
    -- DMA engine --
    dma_data_i     : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    dma_keep_i     : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    dma_last_i     : in  std_ulogic;
    dma_valid_i    : in  std_ulogic;
    dma_ready_o    : out std_ulogic;
    cpl_data_o     : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    cpl_keep_o     : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    cpl_last_o     : out std_ulogic;
    cpl_valid_o    : out std_ulogic;
    cpl_ready_i    : in  std_ulogic;
    -- status --
    busy_o         : out std_ulogic
  );
end entity pcie_port;

architecture pcie_port_rtl of pcie_port is

  -- requests and completions --
  signal req_valid, req_ready : std_ulogic;
  signal req_header           : tlp_header_t;
  signal req_data             : std_ulogic_vector(63 downto 0);
  signal req_dwords           : std_ulogic_vector(1 downto 0);
  signal cpl_valid, cpl_ready : std_ulogic;
  signal cpl_header           : tlp_header_t;
  signal cpl_data             : std_ulogic_vector(63 downto 0);

  -- accesses --
  signal acc_config, acc_bar1, acc_write : std_ulogic;
  signal acc_function                    : std_ulogic_vector(2 downto 0);
  signal acc_address                     : std_ulogic_vector(15 downto 0);
  signal acc_data                        : std_ulogic_vector(31 downto 0);
  signal acc_be                          : std_ulogic_vector(3 downto 0);
  signal config_ack, bar1_ack            : std_ulogic;
  signal config_data, bar1_data          : std_ulogic_vector(31 downto 0);

  -- settings --
  signal memory_enable, bus_master, intx_disable : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal msix_enable, msix_mask, flr             : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal bar0, bar1                              : word32_array_t(0 to FUNCTIONS_G-1);
  signal window_bar                              : word16_array_t(0 to FUNCTIONS_G-1);
  signal window_offset, window_length            : word32_array_t(0 to FUNCTIONS_G-1);
  signal requester                               : std_ulogic_vector(15 downto 0);

  -- INTx --
  signal intx_level                           : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal intx_pending, intx_valid, intx_ready : std_ulogic;
  signal intx_header                          : tlp_header_t;

  -- MSI-X --
  signal msix_valid, msix_ready : std_ulogic;
  signal msix_header            : tlp_header_t;
  signal msix_data              : std_ulogic_vector(31 downto 0);

  signal rx_busy, msix_busy, tx_busy : std_ulogic;

begin

  -- Receive ----------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  rx_inst: entity work.pcie_rx
  generic map (
    DATA_WIDTH_G => DATA_WIDTH_G
  )
  port map (
    clk_i        => clk_i,
    rst_i        => rst_i,
    rx_data_i    => rx_data_i,
    rx_keep_i    => rx_keep_i,
    rx_last_i    => rx_last_i,
    rx_valid_i   => rx_valid_i,
    rx_ready_o   => rx_ready_o,
    cpl_data_o   => cpl_data_o,
    cpl_keep_o   => cpl_keep_o,
    cpl_last_o   => cpl_last_o,
    cpl_valid_o  => cpl_valid_o,
    cpl_ready_i  => cpl_ready_i,
    req_valid_o  => req_valid,
    req_ready_i  => req_ready,
    req_header_o => req_header,
    req_data_o   => req_data,
    req_dwords_o => req_dwords,
    busy_o       => rx_busy
  );

  completer_inst: entity work.pcie_completer
  generic map (
    FUNCTIONS_G => FUNCTIONS_G,
    BAR0_BITS_G => BAR0_BITS_G,
    BAR1_BITS_G => BAR1_BITS_G,
    VIRTIO_G    => VIRTIO_G
  )
  port map (
    clk_i           => clk_i,
    rst_i           => rst_i,
    req_valid_i     => req_valid,
    req_ready_o     => req_ready,
    req_header_i    => req_header,
    req_data_i      => req_data,
    req_dwords_i    => req_dwords,
    cpl_valid_o     => cpl_valid,
    cpl_ready_i     => cpl_ready,
    cpl_header_o    => cpl_header,
    cpl_data_o      => cpl_data,
    memory_enable_i => memory_enable,
    bar0_i          => bar0,
    bar1_i          => bar1,
    window_bar_i    => window_bar,
    window_offset_i => window_offset,
    window_length_i => window_length,
    acc_config_o    => acc_config,
    acc_bar0_o      => acc_enable_o,
    acc_bar1_o      => acc_bar1,
    acc_write_o     => acc_write,
    acc_function_o  => acc_function,
    acc_address_o   => acc_address,
    acc_data_o      => acc_data,
    acc_be_o        => acc_be,
    config_ack_i    => config_ack,
    config_data_i   => config_data,
    bar0_ack_i      => acc_ack_i,
    bar0_data_i     => acc_data_i,
    bar1_ack_i      => bar1_ack,
    bar1_data_i     => bar1_data,
    requester_o     => requester
  );

  acc_write_o    <= acc_write;
  acc_function_o <= acc_function;
  acc_address_o  <= acc_address;
  acc_data_o     <= acc_data;
  acc_be_o       <= acc_be;
  requester_o    <= requester;


  -- Configuration space ----------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  config_inst: entity work.pci_config_space
  generic map (
    FUNCTIONS_G => FUNCTIONS_G,
    VECTORS_G   => VECTORS_G,
    QUEUES_G    => QUEUES_G,
    BAR0_BITS_G => BAR0_BITS_G,
    BAR1_BITS_G => BAR1_BITS_G,
    VIRTIO_G    => VIRTIO_G
  )
  port map (
    clk_i           => clk_i,
    rst_i           => rst_i,
    acc_enable_i    => acc_config,
    acc_write_i     => acc_write,
    acc_function_i  => acc_function,
    acc_address_i   => acc_address,
    acc_data_i      => acc_data,
    acc_be_i        => acc_be,
    acc_ack_o       => config_ack,
    acc_data_o      => config_data,
    id_i            => id_i,
    class_i         => class_i,
    subsystem_i     => subsystem_i,
    intx_i          => intx_i,
    memory_enable_o => memory_enable,
    bus_master_o    => bus_master,
    intx_disable_o  => intx_disable,
    bar0_o          => bar0,
    bar1_o          => bar1,
    mps_o           => mps_o,
    mrrs_o          => mrrs_o,
    msix_enable_o   => msix_enable,
    msix_mask_o     => msix_mask,
    window_bar_o    => window_bar,
    window_offset_o => window_offset,
    window_length_o => window_length,
    flr_o           => flr
  );

  bus_master_o  <= bus_master;
  msix_enable_o <= msix_enable;
  flr_o         <= flr;


  -- Interrupts -------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  intx_level <= intx_i and (not msix_enable) and (not intx_disable);

  intx_inst: entity work.intx_messages
  generic map (
    FUNCTIONS_G => FUNCTIONS_G
  )
  port map (
    clk_i       => clk_i,
    rst_i       => rst_i,
    level_i     => intx_level,
    requester_i => requester,
    pending_o   => intx_pending,
    valid_o     => intx_valid,
    ready_i     => intx_ready,
    header_o    => intx_header
  );

  msix_inst: entity work.msix_table
  generic map (
    FUNCTIONS_G => FUNCTIONS_G,
    VECTORS_G   => VECTORS_G
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst_i,
    acc_enable_i   => acc_bar1,
    acc_write_i    => acc_write,
    acc_function_i => acc_function,
    acc_address_i  => acc_address,
    acc_data_i     => acc_data,
    acc_be_i       => acc_be,
    acc_ack_o      => bar1_ack,
    acc_data_o     => bar1_data,
    enable_i       => msix_enable,
    mask_i         => msix_mask,
    bus_master_i   => bus_master,
    flr_i          => flr,
    requester_i    => requester,
    irq_valid_i    => irq_valid_i,
    irq_ready_o    => irq_ready_o,
    irq_function_i => irq_function_i,
    irq_vector_i   => irq_vector_i,
    msg_valid_o    => msix_valid,
    msg_ready_i    => msix_ready,
    msg_header_o   => msix_header,
    msg_data_o     => msix_data,
    busy_o         => msix_busy
  );


  -- Transmit ---------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  tx_inst: entity work.pcie_tx
  generic map (
    DATA_WIDTH_G => DATA_WIDTH_G
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst_i,
    intx_pending_i => intx_pending,
    intx_valid_i   => intx_valid,
    intx_ready_o   => intx_ready,
    intx_header_i  => intx_header,
    cpl_valid_i    => cpl_valid,
    cpl_ready_o    => cpl_ready,
    cpl_header_i   => cpl_header,
    cpl_data_i     => cpl_data,
    msix_valid_i   => msix_valid,
    msix_ready_o   => msix_ready,
    msix_header_i  => msix_header,
    msix_data_i    => msix_data,
    dma_data_i     => dma_data_i,
    dma_keep_i     => dma_keep_i,
    dma_last_i     => dma_last_i,
    dma_valid_i    => dma_valid_i,
    dma_ready_o    => dma_ready_o,
    tx_data_o      => tx_data_o,
    tx_keep_o      => tx_keep_o,
    tx_last_o      => tx_last_o,
    tx_valid_o     => tx_valid_o,
    tx_ready_i     => tx_ready_i,
    busy_o         => tx_busy
  );

  busy_o <= rx_busy or intx_pending or msix_busy or tx_busy;


  -- Rules ------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  completion_rules: entity work.completion_assert
  port map (
    clk_i        => clk_i,
    rst_i        => rst_i,
    req_valid_i  => req_valid,
    req_ready_i  => req_ready,
    req_header_i => req_header,
    req_dwords_i => req_dwords,
    cpl_valid_i  => cpl_valid,
    cpl_ready_i  => cpl_ready,
    cpl_header_i => cpl_header
  );

  -- in VHDL simulators only, for the time it takes --
  -- pragma translate_off
  cpl_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => 192
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst_i,
    data_i  => cpl_header & cpl_data,
    valid_i => cpl_valid,
    ready_i => cpl_ready
  );

  msix_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => 160
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst_i,
    data_i  => msix_header & msix_data,
    valid_i => msix_valid,
    ready_i => msix_ready
  );

  intx_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => 128
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst_i,
    data_i  => intx_header,
    valid_i => intx_valid,
    ready_i => intx_ready
  );
  -- pragma translate_on

end architecture pcie_port_rtl;
