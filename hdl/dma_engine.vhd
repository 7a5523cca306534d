-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- DMA engine: copies between the memories of both hosts and scratch                --
-- -------------------------------------------------------------------------------- --
-- commands > dma_issue > reads        dma_drain > dma_align > writes               --
--                  |                     ^            ^                            --
--                  +-- commands begun ---+            |                            --
--                  +-- slots > dma_reorder (a port) --+ < completions              --
-- CONTRACT.md, 4 says what a command means.                                        --
-- A command's reads keep the Max_Read_Request_Size of its start. When Bus Master    --
-- Enable falls, requests already made (one read, two writes) still leave.          --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.dma_pkg.all;

entity dma_engine is
  generic (
    DATA_WIDTH_G    : positive := 256;
    FUNCTIONS_G     : positive := 2;     -- of port 0
    SCRATCH_BYTES_G : positive := 65536; -- a power of two, at most 512 KiB
    TIMEOUT_G       : positive := 65536  -- cycles a read may take, 2048 or more (the engine waits up to 1/64 longer)
  );
  port (
    clk_i           : in  std_ulogic;
    rst_i           : in  std_ulogic;
    -- commands from the management port and their ends --
    command_i       : in  dma_command_t;
    command_valid_i : in  std_ulogic;
    command_ready_o : out std_ulogic;
    done_o          : out dma_done_t;
    done_valid_o    : out std_ulogic;
    done_ready_i    : in  std_ulogic;
    -- scratch --
    scratch_re_o    : out std_ulogic;
    scratch_raddr_o : out std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    scratch_rdata_i : in  std_ulogic_vector(255 downto 0);
    scratch_we_o    : out std_ulogic;
    scratch_waddr_o : out std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    scratch_wbe_o   : out std_ulogic_vector(31 downto 0);
    scratch_wdata_o : out std_ulogic_vector(255 downto 0);
    -- port 0 --
    p0_bme_i        : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    p0_mps_i        : in  code3_array_t(0 to FUNCTIONS_G-1);
    p0_mrrs_i       : in  code3_array_t(0 to FUNCTIONS_G-1);
    p0_requester_i  : in  std_ulogic_vector(15 downto 0); -- function 0
    p0_tx_data_o    : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p0_tx_keep_o    : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p0_tx_last_o    : out std_ulogic;
    p0_tx_valid_o   : out std_ulogic;
    p0_tx_ready_i   : in  std_ulogic;
    p0_cpl_data_i   : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p0_cpl_keep_i   : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p0_cpl_last_i   : in  std_ulogic;
    p0_cpl_valid_i  : in  std_ulogic;
    p0_cpl_ready_o  : out std_ulogic;
    -- port 1 --
    p1_bme_i        : in  std_ulogic;
    p1_mps_i        : in  std_ulogic_vector(2 downto 0);
    p1_mrrs_i       : in  std_ulogic_vector(2 downto 0);
    p1_requester_i  : in  std_ulogic_vector(15 downto 0);
    p1_tx_data_o    : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p1_tx_keep_o    : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p1_tx_last_o    : out std_ulogic;
    p1_tx_valid_o   : out std_ulogic;
    p1_tx_ready_i   : in  std_ulogic;
    p1_cpl_data_i   : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    p1_cpl_keep_i   : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    p1_cpl_last_i   : in  std_ulogic;
    p1_cpl_valid_i  : in  std_ulogic;
    p1_cpl_ready_o  : out std_ulogic;
    busy_o          : out std_ulogic
  );
end entity dma_engine;

architecture rtl of dma_engine is

  -- commands waiting, and begun --
  signal command_bits : std_ulogic_vector(DMA_COMMAND_BITS_C-1 downto 0);
  signal waiting      : std_ulogic;
  signal begin_ready  : std_ulogic;
  signal begun        : dma_flight_t;
  signal begun_valid  : std_ulogic;
  signal begun_ready  : std_ulogic;
  signal flight_bits  : std_ulogic_vector(DMA_FLIGHT_BITS_C-1 downto 0);
  signal flight_valid : std_ulogic;
  signal flight_ready : std_ulogic;
  signal abort        : std_ulogic;
  signal aborted      : std_ulogic;

  -- slots; vectors have one bit per port --
  signal alloc_ready    : std_ulogic_vector(1 downto 0);
  signal alloc          : std_ulogic_vector(1 downto 0);
  signal alloc_place    : natural range 0 to 127;
  signal alloc_length   : natural range 0 to 128;
  signal alloc_lead     : natural range 0 to 3;
  signal alloc_bytes    : natural range 0 to 512;
  signal alloc_last     : std_ulogic;
  signal alloc_refuse   : std_ulogic;
  signal p0_alloc_tag   : unsigned(4 downto 0);
  signal p1_alloc_tag   : unsigned(4 downto 0);
  signal p0_look        : slot_pointer_t;
  signal p1_look        : slot_pointer_t;
  signal look_done      : std_ulogic_vector(1 downto 0);
  signal look_last      : std_ulogic_vector(1 downto 0);
  signal look_empty     : std_ulogic_vector(1 downto 0);
  signal p0_look_status : dma_status_t;
  signal p1_look_status : dma_status_t;
  signal discard        : std_ulogic_vector(1 downto 0);
  signal p0_free        : slot_pointer_t;
  signal p1_free        : slot_pointer_t;
  signal slot_re        : std_ulogic_vector(1 downto 0);
  signal slot_raddr     : std_ulogic_vector(8 downto 0);
  signal p0_rdata       : row_t;
  signal p1_rdata       : row_t;

  -- MRd --
  signal read_header : tlp_header_t;
  signal read_valid  : std_ulogic_vector(1 downto 0);
  signal read_ready  : std_ulogic_vector(1 downto 0);

  -- writes and their beats --
  signal write       : dma_write_t;
  signal write_valid : std_ulogic;
  signal write_ready : std_ulogic;
  signal write_final : std_ulogic;
  signal align_idle  : std_ulogic;
  signal beat_data   : std_ulogic_vector(255 downto 0);
  signal beat_keep   : std_ulogic_vector(7 downto 0);
  signal beat_last   : std_ulogic;
  signal beat_valid  : std_ulogic_vector(1 downto 0);
  signal beat_ready  : std_ulogic_vector(1 downto 0);

  -- busy --
  signal issue_busy : std_ulogic;
  signal drain_busy : std_ulogic;
  signal slots_busy : std_ulogic_vector(1 downto 0);

begin

  assert DATA_WIDTH_G = 256
    report "dma_engine: DATA_WIDTH_G is " & integer'image(DATA_WIDTH_G) & ", this engine is made for 256"
    severity failure;
  assert SCRATCH_BYTES_G >= 64 and SCRATCH_BYTES_G <= 524288
    report "dma_engine: SCRATCH_BYTES_G is " & integer'image(SCRATCH_BYTES_G) & ", expected 64 to 524288"
    severity failure;

  busy_o <= waiting or flight_valid or issue_busy or drain_busy or slots_busy(0) or slots_busy(1) or not align_idle;

  -- Commands -----------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  command_inst: entity work.dma_fifo
  generic map (
    WIDTH_G => DMA_COMMAND_BITS_C,
    DEPTH_G => 32
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst_i,
    data_i  => to_bits_f(command_i),
    valid_i => command_valid_i,
    ready_o => command_ready_o,
    data_o  => command_bits,
    valid_o => waiting,
    ready_i => begin_ready
  );

  flight_inst: entity work.dma_fifo
  generic map (
    WIDTH_G => DMA_FLIGHT_BITS_C,
    DEPTH_G => 32
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst_i,
    data_i  => to_bits_f(begun),
    valid_i => begun_valid,
    ready_o => begun_ready,
    data_o  => flight_bits,
    valid_o => flight_valid,
    ready_i => flight_ready
  );

  -- Reading side -------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  issue_inst: entity work.dma_issue
  generic map (
    FUNCTIONS_G     => FUNCTIONS_G,
    SCRATCH_BYTES_G => SCRATCH_BYTES_G
  )
  port map (
    clk_i           => clk_i,
    rst_i           => rst_i,
    command_i       => to_command_f(command_bits),
    command_valid_i => waiting,
    command_ready_o => begin_ready,
    p0_bme_i        => p0_bme_i,
    p0_mrrs_i       => p0_mrrs_i,
    p0_requester_i  => p0_requester_i,
    p1_bme_i        => p1_bme_i,
    p1_mrrs_i       => p1_mrrs_i,
    p1_requester_i  => p1_requester_i,
    flight_o        => begun,
    flight_valid_o  => begun_valid,
    flight_ready_i  => begun_ready,
    abort_i         => abort,
    aborted_o       => aborted,
    alloc_ready_i   => alloc_ready,
    p0_alloc_tag_i  => p0_alloc_tag,
    p1_alloc_tag_i  => p1_alloc_tag,
    alloc_o         => alloc,
    alloc_place_o   => alloc_place,
    alloc_length_o  => alloc_length,
    alloc_lead_o    => alloc_lead,
    alloc_bytes_o   => alloc_bytes,
    alloc_last_o    => alloc_last,
    alloc_refuse_o  => alloc_refuse,
    read_header_o   => read_header,
    read_valid_o    => read_valid,
    read_ready_i    => read_ready,
    busy_o          => issue_busy
  );

  -- Reorder buffers ----------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  p0_reorder_inst: entity work.dma_reorder
  generic map (
    TIMEOUT_G => TIMEOUT_G
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst_i,
    alloc_ready_o  => alloc_ready(0),
    alloc_tag_o    => p0_alloc_tag,
    alloc_i        => alloc(0),
    alloc_place_i  => alloc_place,
    alloc_length_i => alloc_length,
    alloc_lead_i   => alloc_lead,
    alloc_bytes_i  => alloc_bytes,
    alloc_last_i   => alloc_last,
    alloc_refuse_i => alloc_refuse,
    cpl_data_i     => p0_cpl_data_i,
    cpl_keep_i     => p0_cpl_keep_i,
    cpl_last_i     => p0_cpl_last_i,
    cpl_valid_i    => p0_cpl_valid_i,
    cpl_ready_o    => p0_cpl_ready_o,
    look_i         => p0_look,
    look_done_o    => look_done(0),
    look_status_o  => p0_look_status,
    look_last_o    => look_last(0),
    look_empty_o   => look_empty(0),
    free_i         => p0_free,
    re_i           => slot_re(0),
    raddr_i        => slot_raddr,
    rdata_o        => p0_rdata,
    busy_o         => slots_busy(0)
  );

  p1_reorder_inst: entity work.dma_reorder
  generic map (
    TIMEOUT_G => TIMEOUT_G
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst_i,
    alloc_ready_o  => alloc_ready(1),
    alloc_tag_o    => p1_alloc_tag,
    alloc_i        => alloc(1),
    alloc_place_i  => alloc_place,
    alloc_length_i => alloc_length,
    alloc_lead_i   => alloc_lead,
    alloc_bytes_i  => alloc_bytes,
    alloc_last_i   => alloc_last,
    alloc_refuse_i => alloc_refuse,
    cpl_data_i     => p1_cpl_data_i,
    cpl_keep_i     => p1_cpl_keep_i,
    cpl_last_i     => p1_cpl_last_i,
    cpl_valid_i    => p1_cpl_valid_i,
    cpl_ready_o    => p1_cpl_ready_o,
    look_i         => p1_look,
    look_done_o    => look_done(1),
    look_status_o  => p1_look_status,
    look_last_o    => look_last(1),
    look_empty_o   => look_empty(1),
    free_i         => p1_free,
    re_i           => slot_re(1),
    raddr_i        => slot_raddr,
    rdata_o        => p1_rdata,
    busy_o         => slots_busy(1)
  );

  -- Writing side -------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  drain_inst: entity work.dma_drain
  generic map (
    FUNCTIONS_G => FUNCTIONS_G
  )
  port map (
    clk_i          => clk_i,
    rst_i          => rst_i,
    flight_i       => to_flight_f(flight_bits),
    flight_valid_i => flight_valid,
    flight_ready_o => flight_ready,
    abort_o        => abort,
    aborted_i      => aborted,
    p0_bme_i       => p0_bme_i,
    p0_mps_i       => p0_mps_i,
    p0_requester_i => p0_requester_i,
    p1_bme_i       => p1_bme_i,
    p1_mps_i       => p1_mps_i,
    p1_requester_i => p1_requester_i,
    p0_look_o      => p0_look,
    p1_look_o      => p1_look,
    look_done_i    => look_done,
    look_last_i    => look_last,
    look_empty_i   => look_empty,
    p0_status_i    => p0_look_status,
    p1_status_i    => p1_look_status,
    write_o        => write,
    write_valid_o  => write_valid,
    write_ready_i  => write_ready,
    write_final_i  => write_final,
    align_idle_i   => align_idle,
    discard_o      => discard,
    done_o         => done_o,
    done_valid_o   => done_valid_o,
    done_ready_i   => done_ready_i,
    busy_o         => drain_busy
  );

  align_inst: entity work.dma_align
  generic map (
    SCRATCH_BYTES_G => SCRATCH_BYTES_G
  )
  port map (
    clk_i           => clk_i,
    rst_i           => rst_i,
    write_i         => write,
    write_valid_i   => write_valid,
    write_ready_o   => write_ready,
    write_final_o   => write_final,
    idle_o          => align_idle,
    discard_i       => discard,
    p0_free_o       => p0_free,
    p1_free_o       => p1_free,
    slot_re_o       => slot_re,
    slot_raddr_o    => slot_raddr,
    p0_rdata_i      => p0_rdata,
    p1_rdata_i      => p1_rdata,
    scratch_re_o    => scratch_re_o,
    scratch_raddr_o => scratch_raddr_o,
    scratch_rdata_i => scratch_rdata_i,
    scratch_we_o    => scratch_we_o,
    scratch_waddr_o => scratch_waddr_o,
    scratch_wbe_o   => scratch_wbe_o,
    data_o          => beat_data,
    keep_o          => beat_keep,
    last_o          => beat_last,
    valid_o         => beat_valid,
    ready_i         => beat_ready
  );

  scratch_wdata_o <= beat_data;

  -- Ports --------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  p0_mux_inst: entity work.dma_port_mux
  port map (
    clk_i         => clk_i,
    rst_i         => rst_i,
    read_header_i => read_header,
    read_valid_i  => read_valid(0),
    read_ready_o  => read_ready(0),
    write_data_i  => beat_data,
    write_keep_i  => beat_keep,
    write_last_i  => beat_last,
    write_valid_i => beat_valid(0),
    write_ready_o => beat_ready(0),
    tx_data_o     => p0_tx_data_o,
    tx_keep_o     => p0_tx_keep_o,
    tx_last_o     => p0_tx_last_o,
    tx_valid_o    => p0_tx_valid_o,
    tx_ready_i    => p0_tx_ready_i
  );

  p1_mux_inst: entity work.dma_port_mux
  port map (
    clk_i         => clk_i,
    rst_i         => rst_i,
    read_header_i => read_header,
    read_valid_i  => read_valid(1),
    read_ready_o  => read_ready(1),
    write_data_i  => beat_data,
    write_keep_i  => beat_keep,
    write_last_i  => beat_last,
    write_valid_i => beat_valid(1),
    write_ready_o => beat_ready(1),
    tx_data_o     => p1_tx_data_o,
    tx_keep_o     => p1_tx_keep_o,
    tx_last_o     => p1_tx_last_o,
    tx_valid_o    => p1_tx_valid_o,
    tx_ready_i    => p1_tx_ready_i
  );

end architecture rtl;
