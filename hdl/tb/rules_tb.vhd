-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- The rules that the FPGA asserts (CONTRACT.md, 6), each of them broken once       --
-- -------------------------------------------------------------------------------- --
-- CASE_G names what is done; the simulation must then end at the assertion of that --
-- rule. The empty case is legal traffic and ends with "rules_tb: passed".          --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library std;
use std.textio.all;
use std.env.finish;

library work;
use work.cosim_pkg.all;
use work.cosim_regs_pkg.all;
use work.dma_pkg.all;

entity rules_tb is
  generic (
    CASE_G : string := ""
  );
end entity rules_tb;

architecture rules_tb_sim of rules_tb is

  constant SCRATCH_C : positive := 1024; -- bytes

  signal clk : std_ulogic := '0';
  signal rst : std_ulogic := '1';

  -- a stream, as TLPs and as packets of the management port, and as requests --
  signal data        : std_ulogic_vector(255 downto 0) := (others => '0');
  signal keep        : std_ulogic_vector(7 downto 0) := x"00";
  signal last        : std_ulogic := '0';
  signal valid       : std_ulogic := '0'; -- TLPs
  signal mgmt_valid  : std_ulogic := '0';
  signal ready       : std_ulogic := '1';
  signal mps         : code3_array_t(0 to 1) := ("000", "000");
  signal mrrs        : code3_array_t(0 to 1) := ("010", "010");
  signal making      : std_ulogic := '0';

  -- a handshake --
  signal word       : std_ulogic_vector(7 downto 0) := x"00";
  signal word_valid : std_ulogic := '0';
  signal word_ready : std_ulogic := '1';

  -- a request and its completion --
  signal req_valid, req_ready, cpl_valid : std_ulogic := '0';
  signal req_header, cpl_header          : tlp_header_t := (others => '0');
  signal req_dwords                      : std_ulogic_vector(1 downto 0) := "00";

  -- busy --
  signal busy    : std_ulogic := '1';
  signal offered : std_ulogic := '0';
  signal waiting : std_ulogic := '0';

  -- parts of the DMA engine --
  signal put, get      : std_ulogic := '0';
  signal alloc         : std_ulogic := '0';
  signal free          : slot_pointer_t := (others => '0');
  signal cpl_in        : std_ulogic_vector(255 downto 0) := (others => '0');
  signal cpl_last      : std_ulogic := '0';
  signal cpl_in_valid  : std_ulogic := '0';
  signal row           : dma_write_t := (
    from_port => '0', source_port => 0, to_port => '0', destination_port => 0, header => (others => '0'), beats => 1, first => 0,
    first_after => 32, shift => 32, source_row => (others => '0'), row_before => '0', slot => (others => '0'), read_size => 0,
    slot_after => (others => '0'), destination_row => (others => '0'), final => '0');
  signal write_valid   : std_ulogic := '0';
  signal mem_data      : std_ulogic_vector(255 downto 0) := (others => '0');
  signal mem_last      : std_ulogic := '0';
  signal mem_valid     : std_ulogic := '0';

  constant NO_FLIGHT_C : dma_flight_t := (
    tag => (others => '0'), length => (others => '0'), status => "000", give_back => '0', source_space => "10", destination_space => "10",
    destination_function => (others => '0'), source_address => (others => '0'), read_size => "00", destination_address => (others => '0'));

begin

  clk <= not clk after 2 ns;

  stream_rules: entity work.stream_assert
  generic map (TLP_G => true)
  port map (clk_i => clk, rst_i => rst, data_i => data, keep_i => keep, last_i => last, valid_i => valid, ready_i => ready);

  mgmt_rules: entity work.stream_assert
  generic map (TLP_G => false)
  port map (clk_i => clk, rst_i => rst, data_i => data, keep_i => keep, last_i => last, valid_i => mgmt_valid, ready_i => ready);

  request_rules: entity work.request_assert
  generic map (FUNCTIONS_G => 2)
  port map (clk_i => clk, rst_i => rst, data_i => data, last_i => last, valid_i => valid, ready_i => ready,
    mps_i => mps, mrrs_i => mrrs, busy_i => making);

  handshake_rules: entity work.handshake_assert
  generic map (WIDTH_G => 8)
  port map (clk_i => clk, rst_i => rst, data_i => word, valid_i => word_valid, ready_i => word_ready);

  completion_rules: entity work.completion_assert
  port map (clk_i => clk, rst_i => rst, req_valid_i => req_valid, req_ready_i => req_ready, req_header_i => req_header,
    req_dwords_i => req_dwords, cpl_valid_i => cpl_valid, cpl_ready_i => '1', cpl_header_i => cpl_header);

  busy_rules: entity work.busy_assert
  port map (clk_i => clk, rst_i => rst, busy_i => busy, offered_i => offered, waiting_i => waiting);

  fifo: entity work.dma_fifo
  generic map (WIDTH_G => 8, DEPTH_G => 4)
  port map (clk_i => clk, rst_i => rst, data_i => x"00", valid_i => put, ready_o => open, data_o => open, valid_o => open, ready_i => get);

  reorder: entity work.dma_reorder
  generic map (TIMEOUT_G => 65536)
  port map (clk_i => clk, rst_i => rst, alloc_ready_o => open, alloc_tag_o => open, alloc_i => alloc, alloc_place_i => 0,
    alloc_length_i => 16, alloc_lead_i => 0, alloc_bytes_i => 64, alloc_last_i => '0', alloc_refuse_i => '0',
    cpl_data_i => cpl_in, cpl_keep_i => x"FF", cpl_last_i => cpl_last, cpl_valid_i => cpl_in_valid, cpl_ready_o => open,
    look_i => free, look_done_o => open, look_status_o => open, look_last_o => open, look_empty_o => open, free_i => free,
    re_i => '0', raddr_i => (others => '0'), rdata_o => open, busy_o => open);

  drain: entity work.dma_drain
  generic map (FUNCTIONS_G => 1)
  port map (clk_i => clk, rst_i => rst, flight_i => NO_FLIGHT_C, flight_valid_i => '0', flight_ready_o => open, abort_o => open,
    aborted_i => '0', p0_bme_i => "1", p0_mps_i => (0 => "000"), p0_requester_i => x"0100", p1_bme_i => '1', p1_mps_i => "000",
    p1_requester_i => x"0100", p0_look_o => open, p1_look_o => open, look_done_i => "00", look_last_i => "00", look_empty_i => "00",
    p0_status_i => "000", p1_status_i => "000", write_o => open, write_valid_o => open, write_ready_i => '1', write_final_i => '0',
    align_idle_i => '1', discard_o => open, done_o => open, done_valid_o => open, done_ready_i => '0', busy_o => open);

  align: entity work.dma_align
  generic map (SCRATCH_BYTES_G => SCRATCH_C)
  port map (clk_i => clk, rst_i => rst, write_i => row, write_valid_i => write_valid, write_ready_o => open, write_final_o => open,
    idle_o => open, discard_i => "00", p0_free_o => open, p1_free_o => open, slot_re_o => open, slot_raddr_o => open,
    p0_rdata_i => (others => '0'), p1_rdata_i => (others => '0'), scratch_re_o => open, scratch_raddr_o => open,
    scratch_rdata_i => (others => '0'), scratch_we_o => open, scratch_waddr_o => open, scratch_wbe_o => open, data_o => open,
    keep_o => open, last_o => open, valid_o => open, ready_i => "11");

  mgmt: entity work.mgmt_port
  generic map (DATA_WIDTH_G => 256, SCRATCH_BYTES_G => SCRATCH_C)
  port map (clk_i => clk, rst_i => rst, rx_data_i => mem_data, rx_keep_i => x"FF", rx_last_i => mem_last, rx_valid_i => mem_valid,
    rx_ready_o => open, tx_data_o => open, tx_keep_o => open, tx_last_o => open, tx_valid_o => open, tx_ready_i => '1',
    reg_addr_o => open, reg_we_o => open, reg_re_o => open, reg_wdata_o => open, reg_rdata_i => (others => '0'), reg_ack_i => '1',
    int_valid_o => open, int_ready_i => '1', int_port_o => open, int_function_o => open, int_index_o => open,
    ev_valid_i => '0', ev_ready_o => open, ev_opcode_i => x"00", ev_dw2_i => (others => '0'), ev_dw3_i => (others => '0'),
    ev_dw4_i => (others => '0'), command_o => open, command_valid_o => open, command_ready_i => '1',
    done_i => (tag => (others => '0'), length => (others => '0'), status => "000", give_back => '0', offset => (others => '0')),
    done_valid_i => '0', done_ready_o => open, mem_re_o => open, mem_raddr_o => open, mem_rdata_i => (others => '0'),
    mem_we_o => open, mem_wready_i => '1', mem_waddr_o => open, mem_wbe_o => open, mem_wdata_o => open, busy_o => open);

  play: process

    variable line_v : line;

    procedure cycles(n : positive) is
    begin
      for k in 1 to n loop
        wait until falling_edge(clk);
      end loop;
    end procedure cycles;

    procedure beat(value : std_ulogic_vector(255 downto 0); lanes : std_ulogic_vector(7 downto 0); final : std_ulogic) is
    begin
      data  <= value;
      keep  <= lanes;
      last  <= final;
      valid <= '1';
      cycles(1);
      valid <= '0';
    end procedure beat;

    -- a MRd, or a MWr with its payload --
    procedure request(
      writes    : std_ulogic;
      address   : std_ulogic_vector(63 downto 0);
      length    : natural;
      last_be   : std_ulogic_vector(3 downto 0) := x"F";
      first_be  : std_ulogic_vector(3 downto 0) := x"F";
      requester : std_ulogic_vector(15 downto 0) := x"0100";
      tag       : std_ulogic_vector(7 downto 0) := x"00";
      wide      : boolean := false) is
      variable header_v : tlp_header_t;
      variable left_v   : natural := length;
      variable lanes_v  : std_ulogic_vector(7 downto 0);
    begin
      header_v := memory_header_f(writes, address, std_ulogic_vector(to_unsigned(length, 10)), requester, tag, last_be, first_be);
      if wide then
        header_v(29) := '1';
        header_v(127 downto 64) := address(31 downto 0) & address(63 downto 32);
      end if;
      beat(x"00000000000000000000000000000000" & header_v, header_keep_f(header_v, 256), not writes);
      while (writes = '1') and (left_v > 0) loop
        lanes_v := x"FF";
        if (left_v < 8) then
          lanes_v := std_ulogic_vector(to_unsigned(2**left_v - 1, 8));
        end if;
        if (left_v <= 8) then
          beat((others => '1'), lanes_v, '1');
          left_v := 0;
        else
          beat((others => '1'), lanes_v, '0');
          left_v := left_v - 8;
        end if;
      end loop;
      cycles(1);
    end procedure request;

    -- a request into the FPGA that gets n completions --
    procedure answered(kind : std_ulogic_vector(7 downto 0); n : natural; tag : std_ulogic_vector(7 downto 0) := x"07") is
    begin
      req_header <= (others => '0');
      req_header(31 downto 24) <= kind;
      req_header(9 downto 0) <= "0000000001";
      req_header(47 downto 40) <= x"07";
      req_header(35 downto 32) <= x"F";
      req_dwords <= '0' & kind(6);
      req_valid <= '1';
      cycles(2);
      for k in 1 to n loop
        cpl_header <= (others => '0');
        cpl_header(79 downto 72) <= tag;
        cpl_valid <= '1';
        cycles(1);
        cpl_valid <= '0';
        cycles(1);
      end loop;
      req_ready <= '1';
      cycles(1);
      req_valid <= '0';
      req_ready <= '0';
      cycles(2);
    end procedure answered;

    procedure allocate(n : natural) is
    begin
      alloc <= '1';
      cycles(n);
      alloc <= '0';
      cycles(2);
    end procedure allocate;

    -- MEM_WRITE of one row --
    procedure mem_write(offset : natural) is
    begin
      mem_data <= (others => '0');
      mem_data(7 downto 0) <= std_ulogic_vector(to_unsigned(OP_MEM_WRITE_C, 8));
      mem_data(63 downto 32) <= std_ulogic_vector(to_unsigned(32, 32));
      mem_data(95 downto 64) <= std_ulogic_vector(to_unsigned(offset, 32));
      mem_last <= '0';
      mem_valid <= '1';
      cycles(1);
      if (CASE_G = "mgmt outside") then
        << signal .rules_tb.mgmt.inside_q : std_ulogic >> <= force '1';
      end if;
      mem_last <= '1';
      cycles(1);
      mem_valid <= '0';
      cycles(2);
    end procedure mem_write;

    procedure scratch_write(number : natural) is
    begin
      row.destination_row <= to_unsigned(number, 15);
      write_valid <= '1';
      cycles(1);
      write_valid <= '0';
      cycles(6);
    end procedure scratch_write;

    constant LOW_C  : std_ulogic_vector(63 downto 0) := x"0000000000001000";
    constant HIGH_C : std_ulogic_vector(63 downto 0) := x"0000000100001000";

  begin
    cycles(4);
    rst <= '0';
    cycles(40); -- the slots are clean

    -- legal traffic --
    request('0', LOW_C, 128);
    request('1', LOW_C, 32);
    request('1', HIGH_C, 11, tag => x"00");
    request('0', x"0000000000001FFC", 1, last_be => x"0");
    making <= '1';
    mps <= ("001", "000");
    request('1', LOW_C, 64);
    mps <= ("000", "000");
    cycles(1);
    request('1', LOW_C, 64); -- may still have the old size
    making <= '0';
    cycles(2);
    ready <= '0';
    data <= (others => '0');
    keep <= x"07";
    last <= '1';
    data(31 downto 24) <= TLP_CPL_C;
    valid <= '1';
    cycles(3);
    ready <= '1';
    cycles(1);
    valid <= '0';
    keep <= x"FF";
    last <= '0';
    mgmt_valid <= '1';
    cycles(2);
    keep <= x"03";
    last <= '1';
    cycles(1);
    mgmt_valid <= '0';
    word_ready <= '0';
    word_valid <= '1';
    cycles(2);
    word_ready <= '1';
    cycles(1);
    word_valid <= '0';
    answered(TLP_CFGWR0_C, 1);
    answered(TLP_MRD32_C, 1);
    answered(TLP_MWR32_C, 0);
    busy <= '0';
    cycles(2);
    offered <= '1';
    cycles(1);
    offered <= '0';
    busy <= '1';
    waiting <= '1';
    cycles(2);
    waiting <= '0';
    put <= '1';
    cycles(8);
    put <= '0';
    get <= '1';
    cycles(8);
    get <= '0';
    allocate(1);
    cpl_in(31 downto 24) <= TLP_CPLD_C; -- 16 DWs, all of the slot
    cpl_in(9 downto 0) <= "0000010000";
    cpl_in(43 downto 32) <= x"040";
    cpl_in_valid <= '1';
    cycles(1);
    cycles(1);
    cpl_last <= '1';
    cycles(1);
    cpl_in_valid <= '0';
    cpl_last <= '0';
    free <= to_unsigned(1, 6);
    scratch_write(31);
    if (CASE_G /= "mgmt outside") then
      mem_write(992);
      mem_write(1024); -- ignored
    end if;

    -- what breaks a rule --
    if (CASE_G = "valid falls") then
      ready <= '0';
      beat((31 => '0', 27 => '1', 25 => '1', others => '0'), x"07", '1');
    elsif (CASE_G = "beat changes") then
      ready <= '0';
      beat((27 => '1', 25 => '1', others => '0'), x"07", '1');
      beat((27 => '1', 25 => '1', 70 => '1', others => '0'), x"07", '1');
    elsif (CASE_G = "header keep") then
      beat((27 => '1', 25 => '1', others => '0'), x"0F", '1');
    elsif (CASE_G = "payload missing") then
      beat((30 => '1', 27 => '1', 25 => '1', 0 => '1', others => '0'), x"07", '1');
    elsif (CASE_G = "payload short") then
      beat((30 => '1', 27 => '1', 25 => '1', 1 => '1', others => '0'), x"07", '0');
      beat((others => '0'), x"01", '1');
    elsif (CASE_G = "management keep") then
      mgmt_valid <= '1';
      keep <= x"FF";
      last <= '0';
      cycles(1);
      keep <= x"05";
      last <= '1';
      cycles(1);
    elsif (CASE_G = "write too long") then
      request('1', LOW_C, 33);
    elsif (CASE_G = "read too long") then
      mrrs <= ("000", "000");
      cycles(2);
      request('0', LOW_C, 33);
    elsif (CASE_G = "across 4 KiB") then
      request('0', x"0000000000001FFC", 2);
    elsif (CASE_G = "across 4 KiB above 4 GiB") then
      request('0', x"0000000100001FFC", 2);
    elsif (CASE_G = "byte enables") then
      request('0', LOW_C, 1);
    elsif (CASE_G = "4 DWs below 4 GiB") then
      request('0', LOW_C, 2, wide => true);
    elsif (CASE_G = "tag 32") then
      request('0', LOW_C, 2, tag => x"20");
    elsif (CASE_G = "function 2") then
      request('0', LOW_C, 2, requester => x"0102");
    elsif (CASE_G = "word falls") then
      word_ready <= '0';
      word_valid <= '1';
      cycles(1);
      word_valid <= '0';
    elsif (CASE_G = "word changes") then
      word_ready <= '0';
      word_valid <= '1';
      cycles(1);
      word <= x"01";
    elsif (CASE_G = "two completions") then
      answered(TLP_MRD32_C, 2);
    elsif (CASE_G = "completion of a write") then
      answered(TLP_MWR32_C, 1);
    elsif (CASE_G = "completion of nothing") then
      cpl_valid <= '1';
    elsif (CASE_G = "no completion") then
      answered(TLP_CFGRD0_C, 0);
    elsif (CASE_G = "foreign tag") then
      answered(TLP_CFGRD0_C, 1, x"08");
    elsif (CASE_G = "waits while idle") then
      busy <= '0';
      waiting <= '1';
    elsif (CASE_G = "wakes by itself") then
      busy <= '0';
      cycles(2);
      busy <= '1';
    elsif (CASE_G = "full FIFO") then
      put <= '1';
      cycles(6);
      << signal .rules_tb.fifo.ready_q : std_ulogic >> <= force '1';
      get <= '1';
    elsif (CASE_G = "tag in flight") then
      allocate(32);
      free <= to_unsigned(2, 6);
      allocate(1);
    elsif (CASE_G = "no free slot") then
      free <= to_unsigned(5, 6); -- four have not been handed out
    elsif (CASE_G = "end without room") then
      << signal .rules_tb.drain.done_room : std_ulogic >> <= force '0';
      << signal .rules_tb.drain.done_put_q : std_ulogic >> <= force '1';
    elsif (CASE_G = "align outside") then
      scratch_write(32);
    elsif (CASE_G = "mgmt outside") then
      mem_write(1024);
    elsif (CASE_G /= "") then
      report "rules_tb: there is no case '" & CASE_G & "'" severity failure;
    end if;
    cycles(4);
    if (CASE_G = "") then
      write(line_v, string'("rules_tb: passed"));
    else
      write(line_v, string'("rules_tb: nothing was asserted"));
    end if;
    writeline(output, line_v);
    finish(0);
    wait;
  end process play;

end architecture rules_tb_sim;
