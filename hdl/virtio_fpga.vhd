-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- The virtio FPGA                                                                  --
-- -------------------------------------------------------------------------------- --
-- Port 0: FUNCTIONS_G virtio functions. Port 1: the back-end endpoint. Port 2: the --
-- management port, which has the registers, the DMA engine and the events.         --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.dma_pkg.all;

entity virtio_fpga is
  generic (
    DATA_WIDTH_G    : positive; -- bits of a beat, a multiple of 256
    FUNCTIONS_G     : positive; -- virtio functions, 1 to 8
    QUEUES_G        : positive; -- queues of a function, 1 to 64
    VECTORS_G       : positive; -- MSI-X vectors of a function
    SCRATCH_BYTES_G : positive; -- a power of two
    DMA_TIMEOUT_G   : positive; -- cycles the DMA engine waits for a completion
    BE_VENDOR_G     : natural;  -- of the back-end endpoint
    BE_DEVICE_G     : natural
  );
  port (
    clk_i         : in  std_ulogic; -- clock, rising edge
    rst_i         : in  std_ulogic; -- reset, synchronous, high-active
    busy_o        : out std_ulogic; -- there is work: the clock must run
    -- port 0: host 1 --
    p0_rx_data_i  : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p0_rx_keep_i  : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p0_rx_last_i  : in  std_ulogic;
    p0_rx_valid_i : in  std_ulogic;
    p0_rx_ready_o : out std_ulogic;
    p0_tx_data_o  : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p0_tx_keep_o  : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p0_tx_last_o  : out std_ulogic;
    p0_tx_valid_o : out std_ulogic;
    p0_tx_ready_i : in  std_ulogic;
    -- port 1: host 2 --
    p1_rx_data_i  : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p1_rx_keep_i  : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p1_rx_last_i  : in  std_ulogic;
    p1_rx_valid_i : in  std_ulogic;
    p1_rx_ready_o : out std_ulogic;
    p1_tx_data_o  : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p1_tx_keep_o  : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p1_tx_last_o  : out std_ulogic;
    p1_tx_valid_o : out std_ulogic;
    p1_tx_ready_i : in  std_ulogic;
    -- port 2: management --
    p2_rx_data_i  : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p2_rx_keep_i  : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p2_rx_last_i  : in  std_ulogic;
    p2_rx_valid_i : in  std_ulogic;
    p2_rx_ready_o : out std_ulogic;
    p2_tx_data_o  : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p2_tx_keep_o  : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p2_tx_last_o  : out std_ulogic;
    p2_tx_valid_o : out std_ulogic;
    p2_tx_ready_i : in  std_ulogic
  );
end entity virtio_fpga;

architecture virtio_fpga_rtl of virtio_fpga is

  constant CORE_WIDTH_C : positive := 256; -- inside, whatever the pins have
  constant BE_VECTORS_C : positive := 1 + FUNCTIONS_G*QUEUES_G; -- at most 512: the table ends where the PBA begins
  constant BE_ID_C      : std_ulogic_vector(31 downto 0) :=
    std_ulogic_vector(to_unsigned(BE_DEVICE_G, 16)) & std_ulogic_vector(to_unsigned(BE_VENDOR_G, 16));

  constant SCRATCH_BITS_C : positive := index_bits_f(SCRATCH_BYTES_G/32);

  -- what comes in, after its register, and what goes out --
  signal rst : std_ulogic := '1';
  signal p0_in_data             : std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
  signal p0_in_keep             : std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
  signal p0_in_last, p0_in_valid, p0_in_ready : std_ulogic;
  signal p0_rx_data, p0_tx_data : std_ulogic_vector(CORE_WIDTH_C-1 downto 0);
  signal p0_rx_keep, p0_tx_keep : std_ulogic_vector(CORE_WIDTH_C/32-1 downto 0);
  signal p0_rx_last, p0_rx_valid, p0_rx_ready : std_ulogic;
  signal p0_tx_last, p0_tx_valid, p0_tx_ready : std_ulogic;
  signal p1_in_data             : std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
  signal p1_in_keep             : std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
  signal p1_in_last, p1_in_valid, p1_in_ready : std_ulogic;
  signal p1_rx_data, p1_tx_data : std_ulogic_vector(CORE_WIDTH_C-1 downto 0);
  signal p1_rx_keep, p1_tx_keep : std_ulogic_vector(CORE_WIDTH_C/32-1 downto 0);
  signal p1_rx_last, p1_rx_valid, p1_rx_ready : std_ulogic;
  signal p1_tx_last, p1_tx_valid, p1_tx_ready : std_ulogic;
  signal p2_in_data             : std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
  signal p2_in_keep             : std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
  signal p2_in_last, p2_in_valid, p2_in_ready : std_ulogic;
  signal p2_rx_data, p2_tx_data : std_ulogic_vector(CORE_WIDTH_C-1 downto 0);
  signal p2_rx_keep, p2_tx_keep : std_ulogic_vector(CORE_WIDTH_C/32-1 downto 0);
  signal p2_rx_last, p2_rx_valid, p2_rx_ready : std_ulogic;
  signal p2_tx_last, p2_tx_valid, p2_tx_ready : std_ulogic;

  -- a PCIe port as this entity sees it --
  signal p0_id, p0_class, p0_subsystem    : word32_array_t(0 to FUNCTIONS_G-1);
  signal p0_intx, p0_bme, p0_msix, p0_flr : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal p0_mps, p0_mrrs                  : code3_array_t(0 to FUNCTIONS_G-1);
  signal p1_intx, p1_bme, p1_msix, p1_flr : std_ulogic_vector(0 downto 0);
  signal p1_mps, p1_mrrs                  : code3_array_t(0 to 0);
  signal p0_requester, p1_requester       : std_ulogic_vector(15 downto 0);
  signal p0_busy, p1_busy                 : std_ulogic;

  -- accesses to BAR0 --
  signal p0_acc_enable, p0_acc_write, p0_acc_ack    : std_ulogic;
  signal p0_acc_function                            : std_ulogic_vector(2 downto 0);
  signal p0_acc_address                             : std_ulogic_vector(15 downto 0);
  signal p0_acc_wdata, p0_acc_rdata                 : std_ulogic_vector(31 downto 0);
  signal p0_acc_be                                  : std_ulogic_vector(3 downto 0);
  signal p1_acc_enable, p1_acc_write, p1_acc_ack    : std_ulogic;
  signal p1_acc_address                             : std_ulogic_vector(15 downto 0);
  signal p1_acc_wdata, p1_acc_rdata                 : std_ulogic_vector(31 downto 0);
  signal p1_acc_be                                  : std_ulogic_vector(3 downto 0);

  -- interrupts by MSI-X --
  signal p0_irq_valid, p0_irq_ready : std_ulogic;
  signal p0_irq_function            : std_ulogic_vector(2 downto 0);
  signal p0_irq_vector              : std_ulogic_vector(15 downto 0);
  signal p1_irq_valid, p1_irq_ready : std_ulogic;
  signal p1_irq_vector              : std_ulogic_vector(15 downto 0);

  -- DMA streams --
  signal p0_dma_data, p0_cpl_data   : std_ulogic_vector(CORE_WIDTH_C-1 downto 0);
  signal p0_dma_keep, p0_cpl_keep   : std_ulogic_vector(CORE_WIDTH_C/32-1 downto 0);
  signal p0_dma_last, p0_dma_valid, p0_dma_ready : std_ulogic;
  signal p0_cpl_last, p0_cpl_valid, p0_cpl_ready : std_ulogic;
  signal p1_dma_data, p1_cpl_data   : std_ulogic_vector(CORE_WIDTH_C-1 downto 0);
  signal p1_dma_keep, p1_cpl_keep   : std_ulogic_vector(CORE_WIDTH_C/32-1 downto 0);
  signal p1_dma_last, p1_dma_valid, p1_dma_ready : std_ulogic;
  signal p1_cpl_last, p1_cpl_valid, p1_cpl_ready : std_ulogic;

  -- registers --
  signal reg_addr, reg_wdata, reg_rdata : std_ulogic_vector(31 downto 0);
  signal reg_we, reg_re, reg_ack        : std_ulogic;
  signal bus_write                      : std_ulogic;
  signal bus_address, bus_data          : std_ulogic_vector(31 downto 0);
  signal mg_enable, mg_ack              : std_ulogic;
  signal mg_data                        : std_ulogic_vector(31 downto 0);
  signal fn_enable, fn_ack              : std_ulogic;
  signal fn_data                        : std_ulogic_vector(31 downto 0);

  -- interrupt commands --
  signal int_valid, int_ready           : std_ulogic;
  signal int_port                       : std_ulogic_vector(3 downto 0);
  signal int_function                   : std_ulogic_vector(7 downto 0);
  signal int_index                      : std_ulogic_vector(15 downto 0);
  signal p0_int_valid, p0_int_ready     : std_ulogic;
  signal p1_int_valid, p1_int_ready     : std_ulogic;

  -- events --
  signal p0_ev_valid, p0_ev_ready       : std_ulogic;
  signal p0_ev_opcode                   : std_ulogic_vector(7 downto 0);
  signal p0_ev_dw2, p0_ev_dw3, p0_ev_dw4 : std_ulogic_vector(31 downto 0);
  signal p1_ev_valid, p1_ev_ready       : std_ulogic;
  signal p1_ev_opcode                   : std_ulogic_vector(7 downto 0);
  signal p1_ev_dw2, p1_ev_dw3, p1_ev_dw4 : std_ulogic_vector(31 downto 0);
  signal ev_valid, ev_ready             : std_ulogic;
  signal ev_opcode                      : std_ulogic_vector(7 downto 0);
  signal ev_dw2, ev_dw3, ev_dw4         : std_ulogic_vector(31 downto 0);

  -- DMA commands --
  signal command                        : dma_command_t;
  signal command_valid, command_ready   : std_ulogic;
  signal done                           : dma_done_t;
  signal done_valid, done_ready         : std_ulogic;

  -- scratch --
  signal scratch_re, scratch_we, mem_re, mem_we, mem_wready : std_ulogic;
  signal scratch_raddr, scratch_waddr, mem_raddr, mem_waddr : std_ulogic_vector(SCRATCH_BITS_C-1 downto 0);
  signal scratch_rdata, scratch_wdata, mem_rdata, mem_wdata : std_ulogic_vector(255 downto 0);
  signal scratch_wbe, mem_wbe                               : std_ulogic_vector(31 downto 0);

  -- who is busy --
  signal functions_busy, backend_busy, mgmt_busy, dma_busy : std_ulogic;

begin

  busy_o <= p0_rx_valid or p1_rx_valid or p2_rx_valid or p0_busy or p1_busy or functions_busy or backend_busy or
            ev_valid or mgmt_busy or dma_busy;


  -- Inputs are registered at once ------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  reset_register: process(clk_i)
  begin
    if rising_edge(clk_i) then
      rst <= rst_i;
    end if;
  end process reset_register;

  p0_rx_inst: entity work.stream_register
  generic map (
    DATA_WIDTH_G => DATA_WIDTH_G
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p0_rx_data_i,
    keep_i  => p0_rx_keep_i,
    last_i  => p0_rx_last_i,
    valid_i => p0_rx_valid_i,
    ready_o => p0_rx_ready_o,
    data_o  => p0_in_data,
    keep_o  => p0_in_keep,
    last_o  => p0_in_last,
    valid_o => p0_in_valid,
    ready_i => p0_in_ready
  );

  p1_rx_inst: entity work.stream_register
  generic map (
    DATA_WIDTH_G => DATA_WIDTH_G
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p1_rx_data_i,
    keep_i  => p1_rx_keep_i,
    last_i  => p1_rx_last_i,
    valid_i => p1_rx_valid_i,
    ready_o => p1_rx_ready_o,
    data_o  => p1_in_data,
    keep_o  => p1_in_keep,
    last_o  => p1_in_last,
    valid_o => p1_in_valid,
    ready_i => p1_in_ready
  );

  p2_rx_inst: entity work.stream_register
  generic map (
    DATA_WIDTH_G => DATA_WIDTH_G
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p2_rx_data_i,
    keep_i  => p2_rx_keep_i,
    last_i  => p2_rx_last_i,
    valid_i => p2_rx_valid_i,
    ready_o => p2_rx_ready_o,
    data_o  => p2_in_data,
    keep_o  => p2_in_keep,
    last_o  => p2_in_last,
    valid_o => p2_in_valid,
    ready_i => p2_in_ready
  );


  -- From the pins' width to the core's and back ----------------------------------------
  -- ------------------------------------------------------------------------------------
  same_width: if DATA_WIDTH_G = CORE_WIDTH_C generate
    p0_rx_data  <= p0_in_data;
    p0_rx_keep  <= p0_in_keep;
    p0_rx_last  <= p0_in_last;
    p0_rx_valid <= p0_in_valid;
    p0_in_ready <= p0_rx_ready;
    p0_tx_data_o  <= p0_tx_data;
    p0_tx_keep_o  <= p0_tx_keep;
    p0_tx_last_o  <= p0_tx_last;
    p0_tx_valid_o <= p0_tx_valid;
    p0_tx_ready <= p0_tx_ready_i;
    p1_rx_data  <= p1_in_data;
    p1_rx_keep  <= p1_in_keep;
    p1_rx_last  <= p1_in_last;
    p1_rx_valid <= p1_in_valid;
    p1_in_ready <= p1_rx_ready;
    p1_tx_data_o  <= p1_tx_data;
    p1_tx_keep_o  <= p1_tx_keep;
    p1_tx_last_o  <= p1_tx_last;
    p1_tx_valid_o <= p1_tx_valid;
    p1_tx_ready <= p1_tx_ready_i;
    p2_rx_data  <= p2_in_data;
    p2_rx_keep  <= p2_in_keep;
    p2_rx_last  <= p2_in_last;
    p2_rx_valid <= p2_in_valid;
    p2_in_ready <= p2_rx_ready;
    p2_tx_data_o  <= p2_tx_data;
    p2_tx_keep_o  <= p2_tx_keep;
    p2_tx_last_o  <= p2_tx_last;
    p2_tx_valid_o <= p2_tx_valid;
    p2_tx_ready <= p2_tx_ready_i;
  else generate
    p0_narrow_inst: entity work.stream_narrow
    generic map (
      DATA_WIDTH_G => DATA_WIDTH_G
    )
    port map (
      clk_i   => clk_i,
      rst_i   => rst,
      data_i  => p0_in_data,
      keep_i  => p0_in_keep,
      last_i  => p0_in_last,
      valid_i => p0_in_valid,
      ready_o => p0_in_ready,
      data_o  => p0_rx_data,
      keep_o  => p0_rx_keep,
      last_o  => p0_rx_last,
      valid_o => p0_rx_valid,
      ready_i => p0_rx_ready
    );

    p0_widen_inst: entity work.stream_widen
    generic map (
      DATA_WIDTH_G => DATA_WIDTH_G
    )
    port map (
      clk_i   => clk_i,
      rst_i   => rst,
      data_i  => p0_tx_data,
      keep_i  => p0_tx_keep,
      last_i  => p0_tx_last,
      valid_i => p0_tx_valid,
      ready_o => p0_tx_ready,
      data_o  => p0_tx_data_o,
      keep_o  => p0_tx_keep_o,
      last_o  => p0_tx_last_o,
      valid_o => p0_tx_valid_o,
      ready_i => p0_tx_ready_i
    );

    p1_narrow_inst: entity work.stream_narrow
    generic map (
      DATA_WIDTH_G => DATA_WIDTH_G
    )
    port map (
      clk_i   => clk_i,
      rst_i   => rst,
      data_i  => p1_in_data,
      keep_i  => p1_in_keep,
      last_i  => p1_in_last,
      valid_i => p1_in_valid,
      ready_o => p1_in_ready,
      data_o  => p1_rx_data,
      keep_o  => p1_rx_keep,
      last_o  => p1_rx_last,
      valid_o => p1_rx_valid,
      ready_i => p1_rx_ready
    );

    p1_widen_inst: entity work.stream_widen
    generic map (
      DATA_WIDTH_G => DATA_WIDTH_G
    )
    port map (
      clk_i   => clk_i,
      rst_i   => rst,
      data_i  => p1_tx_data,
      keep_i  => p1_tx_keep,
      last_i  => p1_tx_last,
      valid_i => p1_tx_valid,
      ready_o => p1_tx_ready,
      data_o  => p1_tx_data_o,
      keep_o  => p1_tx_keep_o,
      last_o  => p1_tx_last_o,
      valid_o => p1_tx_valid_o,
      ready_i => p1_tx_ready_i
    );

    p2_narrow_inst: entity work.stream_narrow
    generic map (
      DATA_WIDTH_G => DATA_WIDTH_G
    )
    port map (
      clk_i   => clk_i,
      rst_i   => rst,
      data_i  => p2_in_data,
      keep_i  => p2_in_keep,
      last_i  => p2_in_last,
      valid_i => p2_in_valid,
      ready_o => p2_in_ready,
      data_o  => p2_rx_data,
      keep_o  => p2_rx_keep,
      last_o  => p2_rx_last,
      valid_o => p2_rx_valid,
      ready_i => p2_rx_ready
    );

    p2_widen_inst: entity work.stream_widen
    generic map (
      DATA_WIDTH_G => DATA_WIDTH_G
    )
    port map (
      clk_i   => clk_i,
      rst_i   => rst,
      data_i  => p2_tx_data,
      keep_i  => p2_tx_keep,
      last_i  => p2_tx_last,
      valid_i => p2_tx_valid,
      ready_o => p2_tx_ready,
      data_o  => p2_tx_data_o,
      keep_o  => p2_tx_keep_o,
      last_o  => p2_tx_last_o,
      valid_o => p2_tx_valid_o,
      ready_i => p2_tx_ready_i
    );
  end generate same_width;


  -- Port 0: the virtio functions -------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  port0_inst: entity work.pcie_port
  generic map (
    DATA_WIDTH_G => CORE_WIDTH_C,
    FUNCTIONS_G  => FUNCTIONS_G,
    VECTORS_G    => VECTORS_G,
    QUEUES_G     => QUEUES_G,
    BAR0_BITS_G  => 14,
    BAR1_BITS_G  => 14,
    VIRTIO_G     => true
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst,
    rx_data_i      => p0_rx_data,
    rx_keep_i      => p0_rx_keep,
    rx_last_i      => p0_rx_last,
    rx_valid_i     => p0_rx_valid,
    rx_ready_o     => p0_rx_ready,
    tx_data_o      => p0_tx_data,
    tx_keep_o      => p0_tx_keep,
    tx_last_o      => p0_tx_last,
    tx_valid_o     => p0_tx_valid,
    tx_ready_i     => p0_tx_ready,
    id_i           => p0_id,
    class_i        => p0_class,
    subsystem_i    => p0_subsystem,
    intx_i         => p0_intx,
    bus_master_o   => p0_bme,
    msix_enable_o  => p0_msix,
    mps_o          => p0_mps,
    mrrs_o         => p0_mrrs,
    flr_o          => p0_flr,
    requester_o    => p0_requester,
    acc_enable_o   => p0_acc_enable,
    acc_write_o    => p0_acc_write,
    acc_function_o => p0_acc_function,
    acc_address_o  => p0_acc_address,
    acc_data_o     => p0_acc_wdata,
    acc_be_o       => p0_acc_be,
    acc_ack_i      => p0_acc_ack,
    acc_data_i     => p0_acc_rdata,
    irq_valid_i    => p0_irq_valid,
    irq_ready_o    => p0_irq_ready,
    irq_function_i => p0_irq_function,
    irq_vector_i   => p0_irq_vector,
    dma_data_i     => p0_dma_data,
    dma_keep_i     => p0_dma_keep,
    dma_last_i     => p0_dma_last,
    dma_valid_i    => p0_dma_valid,
    dma_ready_o    => p0_dma_ready,
    cpl_data_o     => p0_cpl_data,
    cpl_keep_o     => p0_cpl_keep,
    cpl_last_o     => p0_cpl_last,
    cpl_valid_o    => p0_cpl_valid,
    cpl_ready_i    => p0_cpl_ready,
    busy_o         => p0_busy
  );

  functions_inst: entity work.virtio_functions
  generic map (
    FUNCTIONS_G => FUNCTIONS_G,
    QUEUES_G    => QUEUES_G,
    VECTORS_G   => VECTORS_G
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst,
    acc_enable_i   => p0_acc_enable,
    acc_write_i    => p0_acc_write,
    acc_function_i => p0_acc_function,
    acc_address_i  => p0_acc_address,
    acc_data_i     => p0_acc_wdata,
    acc_be_i       => p0_acc_be,
    acc_ack_o      => p0_acc_ack,
    acc_data_o     => p0_acc_rdata,
    reg_enable_i   => fn_enable,
    reg_write_i    => bus_write,
    reg_address_i  => bus_address,
    reg_data_i     => bus_data,
    reg_ack_o      => fn_ack,
    reg_data_o     => fn_data,
    int_valid_i    => p0_int_valid,
    int_ready_o    => p0_int_ready,
    int_function_i => int_function,
    int_index_i    => int_index,
    ev_valid_o     => p0_ev_valid,
    ev_ready_i     => p0_ev_ready,
    ev_opcode_o    => p0_ev_opcode,
    ev_dw2_o       => p0_ev_dw2,
    ev_dw3_o       => p0_ev_dw3,
    ev_dw4_o       => p0_ev_dw4,
    irq_valid_o    => p0_irq_valid,
    irq_ready_i    => p0_irq_ready,
    irq_function_o => p0_irq_function,
    irq_vector_o   => p0_irq_vector,
    bus_master_i   => p0_bme,
    msix_enable_i  => p0_msix,
    flr_i          => p0_flr,
    isr_o          => p0_intx,
    id_o           => p0_id,
    class_o        => p0_class,
    subsystem_o    => p0_subsystem,
    busy_o         => functions_busy
  );


  -- Port 1: the back-end endpoint ------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  port1_inst: entity work.pcie_port
  generic map (
    DATA_WIDTH_G => CORE_WIDTH_C,
    FUNCTIONS_G  => 1,
    VECTORS_G    => BE_VECTORS_C,
    QUEUES_G     => QUEUES_G,
    BAR0_BITS_G  => 16,
    BAR1_BITS_G  => 14,
    VIRTIO_G     => false
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst,
    rx_data_i      => p1_rx_data,
    rx_keep_i      => p1_rx_keep,
    rx_last_i      => p1_rx_last,
    rx_valid_i     => p1_rx_valid,
    rx_ready_o     => p1_rx_ready,
    tx_data_o      => p1_tx_data,
    tx_keep_o      => p1_tx_keep,
    tx_last_o      => p1_tx_last,
    tx_valid_o     => p1_tx_valid,
    tx_ready_i     => p1_tx_ready,
    id_i(0)        => BE_ID_C,
    class_i(0)     => x"FF000000",
    subsystem_i(0) => BE_ID_C,
    intx_i         => p1_intx,
    bus_master_o   => p1_bme,
    msix_enable_o  => p1_msix,
    mps_o          => p1_mps,
    mrrs_o         => p1_mrrs,
    flr_o          => p1_flr,
    requester_o    => p1_requester,
    acc_enable_o   => p1_acc_enable,
    acc_write_o    => p1_acc_write,
    acc_function_o => open,
    acc_address_o  => p1_acc_address,
    acc_data_o     => p1_acc_wdata,
    acc_be_o       => p1_acc_be,
    acc_ack_i      => p1_acc_ack,
    acc_data_i     => p1_acc_rdata,
    irq_valid_i    => p1_irq_valid,
    irq_ready_o    => p1_irq_ready,
    irq_function_i => "000",
    irq_vector_i   => p1_irq_vector,
    dma_data_i     => p1_dma_data,
    dma_keep_i     => p1_dma_keep,
    dma_last_i     => p1_dma_last,
    dma_valid_i    => p1_dma_valid,
    dma_ready_o    => p1_dma_ready,
    cpl_data_o     => p1_cpl_data,
    cpl_keep_o     => p1_cpl_keep,
    cpl_last_o     => p1_cpl_last,
    cpl_valid_o    => p1_cpl_valid,
    cpl_ready_i    => p1_cpl_ready,
    busy_o         => p1_busy
  );

  backend_inst: entity work.backend_endpoint
  generic map (
    DATA_WIDTH_G    => DATA_WIDTH_G,
    FUNCTIONS_G     => FUNCTIONS_G,
    QUEUES_G        => QUEUES_G,
    VECTORS_G       => VECTORS_G,
    BE_VECTORS_G    => BE_VECTORS_C,
    SCRATCH_BYTES_G => SCRATCH_BYTES_G
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst,
    acc_enable_i   => p1_acc_enable,
    acc_write_i    => p1_acc_write,
    acc_address_i  => p1_acc_address,
    acc_data_i     => p1_acc_wdata,
    acc_be_i       => p1_acc_be,
    acc_ack_o      => p1_acc_ack,
    acc_data_o     => p1_acc_rdata,
    reg_enable_i   => mg_enable,
    reg_write_i    => bus_write,
    reg_address_i  => bus_address,
    reg_data_i     => bus_data,
    reg_ack_o      => mg_ack,
    reg_data_o     => mg_data,
    int_valid_i    => p1_int_valid,
    int_ready_o    => p1_int_ready,
    int_function_i => int_function,
    int_index_i    => int_index,
    ev_valid_o     => p1_ev_valid,
    ev_ready_i     => p1_ev_ready,
    ev_opcode_o    => p1_ev_opcode,
    ev_dw2_o       => p1_ev_dw2,
    ev_dw3_o       => p1_ev_dw3,
    ev_dw4_o       => p1_ev_dw4,
    irq_valid_o    => p1_irq_valid,
    irq_ready_i    => p1_irq_ready,
    irq_vector_o   => p1_irq_vector,
    msix_enable_i  => p1_msix(0),
    flr_i          => p1_flr(0),
    isr_o          => p1_intx(0),
    busy_o         => backend_busy
  );


  -- Port 2: management -----------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  mgmt_inst: entity work.mgmt_port
  generic map (
    DATA_WIDTH_G    => CORE_WIDTH_C,
    SCRATCH_BYTES_G => SCRATCH_BYTES_G
  )
  port map (
    clk_i           => clk_i,
    rst_i           => rst,
    rx_data_i       => p2_rx_data,
    rx_keep_i       => p2_rx_keep,
    rx_last_i       => p2_rx_last,
    rx_valid_i      => p2_rx_valid,
    rx_ready_o      => p2_rx_ready,
    tx_data_o       => p2_tx_data,
    tx_keep_o       => p2_tx_keep,
    tx_last_o       => p2_tx_last,
    tx_valid_o      => p2_tx_valid,
    tx_ready_i      => p2_tx_ready,
    reg_addr_o      => reg_addr,
    reg_we_o        => reg_we,
    reg_re_o        => reg_re,
    reg_wdata_o     => reg_wdata,
    reg_rdata_i     => reg_rdata,
    reg_ack_i       => reg_ack,
    int_valid_o     => int_valid,
    int_ready_i     => int_ready,
    int_port_o      => int_port,
    int_function_o  => int_function,
    int_index_o     => int_index,
    ev_valid_i      => ev_valid,
    ev_ready_o      => ev_ready,
    ev_opcode_i     => ev_opcode,
    ev_dw2_i        => ev_dw2,
    ev_dw3_i        => ev_dw3,
    ev_dw4_i        => ev_dw4,
    command_o       => command,
    command_valid_o => command_valid,
    command_ready_i => command_ready,
    done_i          => done,
    done_valid_i    => done_valid,
    done_ready_o    => done_ready,
    mem_re_o        => mem_re,
    mem_raddr_o     => mem_raddr,
    mem_rdata_i     => mem_rdata,
    mem_we_o        => mem_we,
    mem_wready_i    => mem_wready,
    mem_waddr_o     => mem_waddr,
    mem_wbe_o       => mem_wbe,
    mem_wdata_o     => mem_wdata,
    busy_o          => mgmt_busy
  );

  register_bus_inst: entity work.register_bus
  port map (
    clk_i       => clk_i,
    rst_i       => rst,
    reg_addr_i  => reg_addr,
    reg_we_i    => reg_we,
    reg_re_i    => reg_re,
    reg_wdata_i => reg_wdata,
    reg_rdata_o => reg_rdata,
    reg_ack_o   => reg_ack,
    write_o     => bus_write,
    address_o   => bus_address,
    data_o      => bus_data,
    mg_enable_o => mg_enable,
    mg_ack_i    => mg_ack,
    mg_data_i   => mg_data,
    fn_enable_o => fn_enable,
    fn_ack_i    => fn_ack,
    fn_data_i   => fn_data
  );

  -- an interrupt command for a port that is not there vanishes --
  p0_int_valid <= int_valid when (unsigned(int_port) = 0) else '0';
  p1_int_valid <= int_valid when (unsigned(int_port) = 1) else '0';
  int_ready    <= p0_int_ready when (unsigned(int_port) = 0) else
                  p1_int_ready when (unsigned(int_port) = 1) else '1';

  event_arbiter_inst: entity work.event_arbiter
  port map (
    clk_i       => clk_i,
    rst_i       => rst,
    a_valid_i   => p0_ev_valid,
    a_ready_o   => p0_ev_ready,
    a_opcode_i  => p0_ev_opcode,
    a_dw2_i     => p0_ev_dw2,
    a_dw3_i     => p0_ev_dw3,
    a_dw4_i     => p0_ev_dw4,
    b_valid_i   => p1_ev_valid,
    b_ready_o   => p1_ev_ready,
    b_opcode_i  => p1_ev_opcode,
    b_dw2_i     => p1_ev_dw2,
    b_dw3_i     => p1_ev_dw3,
    b_dw4_i     => p1_ev_dw4,
    ev_valid_o  => ev_valid,
    ev_ready_i  => ev_ready,
    ev_opcode_o => ev_opcode,
    ev_dw2_o    => ev_dw2,
    ev_dw3_o    => ev_dw3,
    ev_dw4_o    => ev_dw4
  );


  -- DMA --------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  dma_inst: entity work.dma_engine
  generic map (
    DATA_WIDTH_G    => CORE_WIDTH_C,
    FUNCTIONS_G     => FUNCTIONS_G,
    SCRATCH_BYTES_G => SCRATCH_BYTES_G,
    TIMEOUT_G       => DMA_TIMEOUT_G
  )
  port map (
    clk_i           => clk_i,
    rst_i           => rst,
    command_i       => command,
    command_valid_i => command_valid,
    command_ready_o => command_ready,
    done_o          => done,
    done_valid_o    => done_valid,
    done_ready_i    => done_ready,
    scratch_re_o    => scratch_re,
    scratch_raddr_o => scratch_raddr,
    scratch_rdata_i => scratch_rdata,
    scratch_we_o    => scratch_we,
    scratch_waddr_o => scratch_waddr,
    scratch_wbe_o   => scratch_wbe,
    scratch_wdata_o => scratch_wdata,
    p0_bme_i        => p0_bme,
    p0_mps_i        => p0_mps,
    p0_mrrs_i       => p0_mrrs,
    p0_requester_i  => p0_requester,
    p0_tx_data_o    => p0_dma_data,
    p0_tx_keep_o    => p0_dma_keep,
    p0_tx_last_o    => p0_dma_last,
    p0_tx_valid_o   => p0_dma_valid,
    p0_tx_ready_i   => p0_dma_ready,
    p0_cpl_data_i   => p0_cpl_data,
    p0_cpl_keep_i   => p0_cpl_keep,
    p0_cpl_last_i   => p0_cpl_last,
    p0_cpl_valid_i  => p0_cpl_valid,
    p0_cpl_ready_o  => p0_cpl_ready,
    p1_bme_i        => p1_bme(0),
    p1_mps_i        => p1_mps(0),
    p1_mrrs_i       => p1_mrrs(0),
    p1_requester_i  => p1_requester,
    p1_tx_data_o    => p1_dma_data,
    p1_tx_keep_o    => p1_dma_keep,
    p1_tx_last_o    => p1_dma_last,
    p1_tx_valid_o   => p1_dma_valid,
    p1_tx_ready_i   => p1_dma_ready,
    p1_cpl_data_i   => p1_cpl_data,
    p1_cpl_keep_i   => p1_cpl_keep,
    p1_cpl_last_i   => p1_cpl_last,
    p1_cpl_valid_i  => p1_cpl_valid,
    p1_cpl_ready_o  => p1_cpl_ready,
    busy_o          => dma_busy
  );

  scratch_inst: entity work.scratch_ram
  generic map (
    SCRATCH_BYTES_G => SCRATCH_BYTES_G
  )
  port map (
    clk_i           => clk_i,
    scratch_re_i    => scratch_re,
    scratch_raddr_i => scratch_raddr,
    scratch_rdata_o => scratch_rdata,
    scratch_we_i    => scratch_we,
    scratch_waddr_i => scratch_waddr,
    scratch_wbe_i   => scratch_wbe,
    scratch_wdata_i => scratch_wdata,
    mem_re_i        => mem_re,
    mem_raddr_i     => mem_raddr,
    mem_rdata_o     => mem_rdata,
    mem_we_i        => mem_we,
    mem_wready_o    => mem_wready,
    mem_waddr_i     => mem_waddr,
    mem_wbe_i       => mem_wbe,
    mem_wdata_i     => mem_wdata
  );


  -- Rules ------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  p0_tx_rules: entity work.stream_assert
  generic map (
    TLP_G => true
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p0_tx_data,
    keep_i  => p0_tx_keep,
    last_i  => p0_tx_last,
    valid_i => p0_tx_valid,
    ready_i => p0_tx_ready
  );

  p1_tx_rules: entity work.stream_assert
  generic map (
    TLP_G => true
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p1_tx_data,
    keep_i  => p1_tx_keep,
    last_i  => p1_tx_last,
    valid_i => p1_tx_valid,
    ready_i => p1_tx_ready
  );

  p2_tx_rules: entity work.stream_assert
  generic map (
    TLP_G => false
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p2_tx_data,
    keep_i  => p2_tx_keep,
    last_i  => p2_tx_last,
    valid_i => p2_tx_valid,
    ready_i => p2_tx_ready
  );

  -- in VHDL simulators only, for the time it takes --
  -- pragma translate_off
  p0_dma_rules: entity work.stream_assert
  generic map (
    TLP_G => true
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p0_dma_data,
    keep_i  => p0_dma_keep,
    last_i  => p0_dma_last,
    valid_i => p0_dma_valid,
    ready_i => p0_dma_ready
  );

  p1_dma_rules: entity work.stream_assert
  generic map (
    TLP_G => true
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p1_dma_data,
    keep_i  => p1_dma_keep,
    last_i  => p1_dma_last,
    valid_i => p1_dma_valid,
    ready_i => p1_dma_ready
  );

  p0_request_rules: entity work.request_assert
  generic map (
    FUNCTIONS_G => FUNCTIONS_G
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p0_tx_data,
    last_i  => p0_tx_last,
    valid_i => p0_tx_valid,
    ready_i => p0_tx_ready,
    mps_i   => p0_mps,
    mrrs_i  => p0_mrrs,
    busy_i  => dma_busy
  );

  p1_request_rules: entity work.request_assert
  generic map (
    FUNCTIONS_G => 1
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p1_tx_data,
    last_i  => p1_tx_last,
    valid_i => p1_tx_valid,
    ready_i => p1_tx_ready,
    mps_i   => p1_mps,
    mrrs_i  => p1_mrrs,
    busy_i  => dma_busy
  );

  p0_irq_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => 19
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p0_irq_function & p0_irq_vector,
    valid_i => p0_irq_valid,
    ready_i => p0_irq_ready
  );

  p1_irq_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => 16
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => p1_irq_vector,
    valid_i => p1_irq_valid,
    ready_i => p1_irq_ready
  );

  -- what is merged into an event that is shown may change its value --
  event_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => 40
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => ev_opcode & ev_dw2,
    valid_i => ev_valid,
    ready_i => ev_ready
  );

  interrupt_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => 28
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => int_port & int_function & int_index,
    valid_i => int_valid,
    ready_i => int_ready
  );

  command_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => DMA_COMMAND_BITS_C
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => to_bits_f(command),
    valid_i => command_valid,
    ready_i => command_ready
  );

  done_rules: entity work.handshake_assert
  generic map (
    WIDTH_G => DMA_DONE_BITS_C
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst,
    data_i  => to_bits_f(done),
    valid_i => done_valid,
    ready_i => done_ready
  );
  -- pragma translate_on

  busy_rules: entity work.busy_assert
  port map (
    clk_i     => clk_i,
    rst_i     => rst,
    busy_i    => busy_o,
    offered_i => p0_rx_valid_i or p1_rx_valid_i or p2_rx_valid_i,
    waiting_i => p0_in_valid or p1_in_valid or p2_in_valid or p0_tx_valid or p1_tx_valid or p2_tx_valid or
                 p0_dma_valid or p1_dma_valid or command_valid or done_valid or p0_ev_valid or p1_ev_valid or
                 p0_irq_valid or p1_irq_valid or int_valid
  );

end architecture virtio_fpga_rtl;
