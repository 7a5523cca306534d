-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Bench of mgmt_port with the DMA engine and scratch behind it                     --
-- -------------------------------------------------------------------------------- --
-- Every packet that comes out is kept; the bench waits for the answer it wants and --
-- checks events, which run all the time, by their number. Ends with the line       --
-- "mgmt_port_tb: passed"; a simulation that does not print it has failed.          --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library std;
use std.env.all;
use std.textio.all;

library work;
use work.cosim_pkg.all;
use work.cosim_regs_pkg.all;
use work.dma_pkg.all;
use work.dma_tb_pkg.all;
use work.dma_tb_memory_pkg.all;

entity mgmt_port_tb is
  generic (
    SEED_G   : positive := 1;
    ROUNDS_G : positive := 150
  );
end entity mgmt_port_tb;

architecture sim of mgmt_port_tb is

  constant SCRATCH_BYTES_C : positive := 16384;
  constant ROW_BITS_C : positive := index_bits_f(SCRATCH_BYTES_C/32);

  signal clk : std_ulogic := '0';
  signal rst : std_ulogic := '1';
  signal stop_clock : boolean := false;
  signal latency : natural := 20;
  signal stress  : std_ulogic := '1';

  signal rx_data  : std_ulogic_vector(255 downto 0) := (others => '0');
  signal rx_keep  : std_ulogic_vector(7 downto 0) := x"00";
  signal rx_last  : std_ulogic := '0';
  signal rx_valid : std_ulogic := '0';
  signal rx_ready : std_ulogic;
  signal tx_data  : std_ulogic_vector(255 downto 0);
  signal tx_keep  : std_ulogic_vector(7 downto 0);
  signal tx_last  : std_ulogic;
  signal tx_valid : std_ulogic;
  signal tx_ready : std_ulogic := '0';

  signal reg_addr, reg_wdata, reg_rdata : std_ulogic_vector(31 downto 0);
  signal reg_we, reg_re : std_ulogic;
  signal reg_ack        : std_ulogic := '0';
  signal int_valid      : std_ulogic;
  signal int_ready      : std_ulogic := '0';
  signal int_port       : std_ulogic_vector(3 downto 0);
  signal int_function   : std_ulogic_vector(7 downto 0);
  signal int_index      : std_ulogic_vector(15 downto 0);
  signal int_count      : natural := 0;
  signal ev_valid       : std_ulogic := '0';
  signal ev_ready       : std_ulogic;
  signal ev_dw2, ev_dw3, ev_dw4 : std_ulogic_vector(31 downto 0) := (others => '0');
  signal events_sent    : natural := 0;
  signal events_wanted  : boolean := true;

  signal command : dma_command_t;
  signal command_valid, command_ready : std_ulogic;
  signal done : dma_done_t;
  signal done_valid, done_ready : std_ulogic;
  signal engine_busy, port_busy : std_ulogic;

  signal scratch_re, scratch_we : std_ulogic;
  signal scratch_raddr, scratch_waddr : std_ulogic_vector(ROW_BITS_C-1 downto 0);
  signal scratch_rdata, scratch_wdata : std_ulogic_vector(255 downto 0);
  signal scratch_wbe : std_ulogic_vector(31 downto 0);
  signal mem_re, mem_we, mem_wready : std_ulogic;
  signal mem_raddr, mem_waddr : std_ulogic_vector(ROW_BITS_C-1 downto 0);
  signal mem_rdata, mem_wdata : std_ulogic_vector(255 downto 0);
  signal mem_wbe : std_ulogic_vector(31 downto 0);

  type word256_array_t is array (0 to 1) of std_ulogic_vector(255 downto 0);
  type word8_array_t is array (0 to 1) of std_ulogic_vector(7 downto 0);
  signal ptx_data, cpl_data : word256_array_t;
  signal ptx_keep, cpl_keep : word8_array_t;
  signal ptx_last, ptx_valid, ptx_ready, cpl_last, cpl_valid, cpl_ready : std_ulogic_vector(1 downto 0);
  constant MPS_C : code3_array_t(0 to 0) := (0 => "001");
  constant MRRS_C : code3_array_t(0 to 0) := (0 => "010");

  -- Packets that came out --
  type packets_t is protected
    procedure dw(value : std_ulogic_vector(31 downto 0)); -- next DW of the packet under way
    procedure finish;
    impure function count return natural;
    impure function length(packet : natural) return natural; -- DWs, header included
    impure function get(packet : natural; index : natural) return std_ulogic_vector;
  end protected packets_t;

  type packets_t is protected body
    type dws_t is array (0 to 1048575) of std_ulogic_vector(31 downto 0);
    type starts_t is array (0 to 16384) of natural;
    variable dws_v    : dws_t;
    variable starts_v : starts_t := (others => 0);
    variable used_v   : natural := 0;
    variable count_v  : natural := 0;

    procedure dw(value : std_ulogic_vector(31 downto 0)) is
    begin
      dws_v(used_v) := value;
      used_v := used_v + 1;
    end procedure dw;

    procedure finish is
    begin
      count_v := count_v + 1;
      starts_v(count_v) := used_v;
    end procedure finish;

    impure function count return natural is
    begin
      return count_v;
    end function count;

    impure function length(packet : natural) return natural is
    begin
      return starts_v(packet+1) - starts_v(packet);
    end function length;

    impure function get(packet : natural; index : natural) return std_ulogic_vector is
    begin
      return dws_v(starts_v(packet) + index);
    end function get;
  end protected body packets_t;

  shared variable packets : packets_t;

begin

  clk <= not clk after 5 ns when not stop_clock else '0';

  dut: entity work.mgmt_port
  generic map (
    SCRATCH_BYTES_G => SCRATCH_BYTES_C
  )
  port map (
    clk_i => clk, rst_i => rst,
    rx_data_i => rx_data, rx_keep_i => rx_keep, rx_last_i => rx_last, rx_valid_i => rx_valid, rx_ready_o => rx_ready,
    tx_data_o => tx_data, tx_keep_o => tx_keep, tx_last_o => tx_last, tx_valid_o => tx_valid, tx_ready_i => tx_ready,
    reg_addr_o => reg_addr, reg_we_o => reg_we, reg_re_o => reg_re, reg_wdata_o => reg_wdata, reg_rdata_i => reg_rdata, reg_ack_i => reg_ack,
    int_valid_o => int_valid, int_ready_i => int_ready, int_port_o => int_port, int_function_o => int_function, int_index_o => int_index,
    ev_valid_i => ev_valid, ev_ready_o => ev_ready, ev_opcode_i => std_ulogic_vector(to_unsigned(OP_NOTIFY_C, 8)),
    ev_dw2_i => ev_dw2, ev_dw3_i => ev_dw3, ev_dw4_i => ev_dw4,
    command_o => command, command_valid_o => command_valid, command_ready_i => command_ready,
    done_i => done, done_valid_i => done_valid, done_ready_o => done_ready,
    mem_re_o => mem_re, mem_raddr_o => mem_raddr, mem_rdata_i => mem_rdata,
    mem_we_o => mem_we, mem_wready_i => mem_wready, mem_waddr_o => mem_waddr, mem_wbe_o => mem_wbe, mem_wdata_o => mem_wdata,
    busy_o => port_busy
  );

  engine: entity work.dma_engine
  generic map (
    FUNCTIONS_G     => 1,
    SCRATCH_BYTES_G => SCRATCH_BYTES_C,
    TIMEOUT_G       => 20000
  )
  port map (
    clk_i => clk, rst_i => rst,
    command_i => command, command_valid_i => command_valid, command_ready_o => command_ready,
    done_o => done, done_valid_o => done_valid, done_ready_i => done_ready,
    scratch_re_o => scratch_re, scratch_raddr_o => scratch_raddr, scratch_rdata_i => scratch_rdata,
    scratch_we_o => scratch_we, scratch_waddr_o => scratch_waddr, scratch_wbe_o => scratch_wbe, scratch_wdata_o => scratch_wdata,
    p0_bme_i => "1", p0_mps_i => MPS_C, p0_mrrs_i => MRRS_C, p0_requester_i => x"0100",
    p0_tx_data_o => ptx_data(0), p0_tx_keep_o => ptx_keep(0), p0_tx_last_o => ptx_last(0), p0_tx_valid_o => ptx_valid(0), p0_tx_ready_i => ptx_ready(0),
    p0_cpl_data_i => cpl_data(0), p0_cpl_keep_i => cpl_keep(0), p0_cpl_last_i => cpl_last(0), p0_cpl_valid_i => cpl_valid(0), p0_cpl_ready_o => cpl_ready(0),
    p1_bme_i => '1', p1_mps_i => MPS_C(0), p1_mrrs_i => MRRS_C(0), p1_requester_i => x"0100",
    p1_tx_data_o => ptx_data(1), p1_tx_keep_o => ptx_keep(1), p1_tx_last_o => ptx_last(1), p1_tx_valid_o => ptx_valid(1), p1_tx_ready_i => ptx_ready(1),
    p1_cpl_data_i => cpl_data(1), p1_cpl_keep_i => cpl_keep(1), p1_cpl_last_i => cpl_last(1), p1_cpl_valid_i => cpl_valid(1), p1_cpl_ready_o => cpl_ready(1),
    busy_o => engine_busy
  );

  scratch: entity work.scratch_ram
  generic map (
    SCRATCH_BYTES_G => SCRATCH_BYTES_C
  )
  port map (
    clk_i => clk,
    scratch_re_i => scratch_re, scratch_raddr_i => scratch_raddr, scratch_rdata_o => scratch_rdata,
    scratch_we_i => scratch_we, scratch_waddr_i => scratch_waddr, scratch_wbe_i => scratch_wbe, scratch_wdata_i => scratch_wdata,
    mem_re_i => mem_re, mem_raddr_i => mem_raddr, mem_rdata_o => mem_rdata,
    mem_we_i => mem_we, mem_wready_o => mem_wready, mem_waddr_i => mem_waddr, mem_wbe_i => mem_wbe, mem_wdata_i => mem_wdata
  );

  hosts: for p in 0 to 1 generate
    host: entity work.dma_host_model
    generic map (
      PORT_G      => p,
      FUNCTIONS_G => 1,
      SEED_G      => SEED_G + p
    )
    port map (
      clk_i => clk, latency_i => latency, stress_i => stress, bme_i => "1", mps_i => MPS_C, mrrs_i => MRRS_C, requester_i => x"0100",
      tx_data_i => ptx_data(p), tx_keep_i => ptx_keep(p), tx_last_i => ptx_last(p), tx_valid_i => ptx_valid(p), tx_ready_o => ptx_ready(p),
      cpl_data_o => cpl_data(p), cpl_keep_o => cpl_keep(p), cpl_last_o => cpl_last(p), cpl_valid_o => cpl_valid(p), cpl_ready_i => cpl_ready(p)
    );
  end generate hosts;

  -- 64 registers; each access is acknowledged 1 to 4 cycles later
  registers: process
    type values_t is array (0 to 63) of std_ulogic_vector(31 downto 0);
    variable values_v : values_t := (others => x"00000000");
    variable seed1    : positive := SEED_G;
    variable seed2    : positive := 5;
    variable delay_v  : integer;
    variable read_v   : boolean;
  begin
    wait until rising_edge(clk) and (reg_we = '1' or reg_re = '1');
    assert reg_we /= reg_re report "read and write strobe at once" severity failure;
    read_v := reg_re = '1';
    if not read_v then
      values_v(to_integer(unsigned(reg_addr(7 downto 2)))) := reg_wdata;
    end if;
    draw(seed1, seed2, 0, 3, delay_v);
    for i in 1 to delay_v loop
      wait until rising_edge(clk);
      assert reg_we = '0' and reg_re = '0' report "access before the acknowledge of the one before" severity failure;
    end loop;
    reg_ack <= '1';
    reg_rdata <= (others => 'X');
    if read_v then
      reg_rdata <= values_v(to_integer(unsigned(reg_addr(7 downto 2))));
    end if;
    wait until rising_edge(clk);
    assert reg_we = '0' and reg_re = '0' report "access before the acknowledge of the one before" severity failure;
    reg_ack <= '0';
  end process registers;

  -- interrupts: number n for port n mod 16, function n mod 256, index n
  interrupts: process
    variable seed1  : positive := SEED_G;
    variable seed2  : positive := 6;
    variable dice_v : integer;
  begin
    wait until rising_edge(clk);
    if int_valid = '1' and int_ready = '1' then
      assert unsigned(int_index) = int_count and unsigned(int_port) = int_count mod 16 and unsigned(int_function) = int_count mod 256
        report "interrupt " & to_string(int_count) & ": wrong fields" severity failure;
      int_count <= int_count + 1;
    end if;
    draw(seed1, seed2, 0, 2, dice_v);
    int_ready <= '1' when dice_v = 0 else '0';
  end process interrupts;

  -- events: number n in DW4
  events: process
    variable seed1  : positive := SEED_G;
    variable seed2  : positive := 7;
    variable dice_v : integer;
  begin
    wait until rising_edge(clk);
    if ev_valid = '1' and ev_ready = '1' then
      ev_valid <= '0';
      events_sent <= events_sent + 1;
    end if;
    draw(seed1, seed2, 0, 19, dice_v);
    if rst = '0' and events_wanted and dice_v = 0 and (ev_valid = '0') then
      ev_valid <= '1';
      ev_dw2 <= x"0000AB00";
      ev_dw3 <= x"12340000";
      ev_dw4 <= std_ulogic_vector(to_unsigned(events_sent, 32));
    end if;
  end process events;

  -- packets out
  collect: process
    variable seed1  : positive := SEED_G;
    variable seed2  : positive := 8;
    variable dice_v : integer;
    variable begin_v : boolean := true;
    variable left_v  : natural;
    variable held_v  : boolean := false;
    variable held_data_v : std_ulogic_vector(255 downto 0);
    variable events_v : natural := 0;
    variable opcode_v : natural;
  begin
    wait until rising_edge(clk);
    assert not held_v or (tx_valid = '1' and tx_data = held_data_v) report "beat not held until ready" severity failure;
    held_v := tx_valid = '1' and tx_ready = '0';
    held_data_v := tx_data;
    if tx_valid = '1' and tx_ready = '1' then
      if begin_v then
        assert tx_keep = x"FF" report "header beat: keep" severity failure;
        opcode_v := to_integer(unsigned(tx_data(7 downto 0)));
        if opcode_v = OP_NOTIFY_C then
          assert tx_last = '1' and tx_data(31 downto 8) = x"000000" and tx_data(63 downto 32) = x"00000000" and tx_data(95 downto 64) = x"0000AB00" and
                 tx_data(127 downto 96) = x"12340000" and unsigned(tx_data(159 downto 128)) = events_v and tx_data(255 downto 160) = (255 downto 160 => '0')
            report "event " & to_string(events_v) & " lost or changed" severity failure;
          events_v := events_v + 1;
        end if;
      end if;
      for i in 0 to 7 loop
        if tx_keep(i) = '1' then
          packets.dw(tx_data(32*i+31 downto 32*i));
        end if;
        assert tx_last = '1' or tx_keep(i) = '1' report "keep not full before the last beat" severity failure;
      end loop;
      begin_v := false;
      if tx_last = '1' then
        packets.finish;
        begin_v := true;
      end if;
    end if;
    draw(seed1, seed2, 0, 3, dice_v);
    tx_ready <= '1' when dice_v /= 0 or stress = '0' else '0';
  end process collect;

  main: process
    variable seed1  : positive := SEED_G;
    variable seed2  : positive := 9;
    variable dice   : integer;
    variable line_v : line;

    type dws_t is array (0 to 1100) of std_ulogic_vector(31 downto 0);
    variable payload : dws_t;

    variable tag     : natural := 0;
    variable seen    : natural := 0;  -- packets looked at
    variable answer  : natural;       -- the one wanted
    variable length, offset, index, space, count : integer;
    variable ints    : natural := 0;
    variable dones   : natural;

    function hex(value : natural) return std_ulogic_vector is
    begin
      return std_ulogic_vector(to_unsigned(value, 32));
    end function hex;

    procedure put_beat(data : std_ulogic_vector(255 downto 0); keep : std_ulogic_vector(7 downto 0); last : std_ulogic) is
      variable patience : natural := 100000;
    begin
      draw(seed1, seed2, 0, 3, dice);
      while dice = 0 loop
        wait until rising_edge(clk);
        draw(seed1, seed2, 0, 3, dice);
      end loop;
      rx_data <= data;
      rx_keep <= keep;
      rx_last <= last;
      rx_valid <= '1';
      loop
        wait until rising_edge(clk);
        exit when rx_ready = '1';
        assert patience /= 0 report "commands no longer taken" severity failure;
        patience := patience - 1;
      end loop;
      rx_valid <= '0';
    end procedure put_beat;

    -- header and the first `dws` of payload
    procedure send(opcode : natural; dw1, dw2, dw3, dw4, dw5, dw6, dw7 : std_ulogic_vector(31 downto 0); dws : natural := 0) is
      variable data_v : std_ulogic_vector(255 downto 0);
      variable keep_v : std_ulogic_vector(7 downto 0);
      variable sent_v : natural := 0;
      variable last_v : std_ulogic;
    begin
      tag := (tag + 1) mod 65536;
      data_v := dw7 & dw6 & dw5 & dw4 & dw3 & dw2 & dw1 & std_ulogic_vector(to_unsigned(tag, 16)) & x"00" & std_ulogic_vector(to_unsigned(opcode, 8));
      last_v := '1' when dws = 0 else '0';
      put_beat(data_v, x"FF", last_v);
      while sent_v < dws loop
        data_v := (others => 'X');
        keep_v := x"00";
        for i in 0 to 7 loop
          if sent_v < dws then
            data_v(32*i+31 downto 32*i) := payload(sent_v);
            keep_v(i) := '1';
            sent_v := sent_v + 1;
          end if;
        end loop;
        last_v := '1' when sent_v = dws else '0';
        put_beat(data_v, keep_v, last_v);
      end loop;
    end procedure send;

    -- next packet that is no event, into `answer`
    procedure next_answer is
      variable patience : natural := 200000;
    begin
      loop
        while packets.count = seen loop
          wait until rising_edge(clk);
          assert patience /= 0 report "no answer to command " & to_string(tag) severity failure;
          patience := patience - 1;
        end loop;
        answer := seen;
        seen := seen + 1;
        exit when packets.get(answer, 0)(7 downto 0) /= std_ulogic_vector(to_unsigned(OP_NOTIFY_C, 8));
      end loop;
    end procedure next_answer;

    procedure want(opcode : natural; status : natural; dw1, dw2 : std_ulogic_vector(31 downto 0); dws : natural; of_tag : natural) is
      variable dw0_v : std_ulogic_vector(31 downto 0);
    begin
      next_answer;
      dw0_v := std_ulogic_vector(to_unsigned(of_tag, 16)) & std_ulogic_vector(to_unsigned(status, 8)) & std_ulogic_vector(to_unsigned(opcode, 8));
      assert packets.get(answer, 0) = dw0_v and packets.get(answer, 1) = dw1 and packets.get(answer, 2) = dw2
        report "answer " & to_hstring(packets.get(answer, 0)) & " " & to_hstring(packets.get(answer, 1)) & " " & to_hstring(packets.get(answer, 2)) &
               ", expected " & to_hstring(dw0_v) & " " & to_hstring(dw1) & " " & to_hstring(dw2) severity failure;
      assert packets.length(answer) = 8 + dws
        report "answer of " & to_string(packets.length(answer)) & " DWs, expected " & to_string(8 + dws) severity failure;
    end procedure want;

    procedure want_payload(of_space : natural; from : natural; bytes : natural) is
      variable dw_v : std_ulogic_vector(31 downto 0);
    begin
      for i in 0 to bytes - 1 loop
        dw_v := packets.get(answer, 8 + i / 4);
        assert to_integer(unsigned(dw_v(8*(i mod 4)+7 downto 8*(i mod 4)))) = expected.get(of_space, from + i)
          report "payload byte " & to_string(i) & " is " & to_hstring(dw_v(8*(i mod 4)+7 downto 8*(i mod 4))) & ", expected " &
                 to_string(expected.get(of_space, from + i)) severity failure;
      end loop;
    end procedure want_payload;

    procedure reg_write(address : natural; value : std_ulogic_vector(31 downto 0)) is
    begin
      send(OP_REG_WRITE_C, hex(0), hex(address), hex(0), value, hex(0), hex(0), hex(0));
    end procedure reg_write;

    procedure mem_write(at : natural; bytes : natural; sent_dws : natural) is
    begin
      for i in 0 to sent_dws - 1 loop
        draw(seed1, seed2, 0, 65535, dice);
        payload(i)(15 downto 0) := std_ulogic_vector(to_unsigned(dice, 16));
        draw(seed1, seed2, 0, 65535, dice);
        payload(i)(31 downto 16) := std_ulogic_vector(to_unsigned(dice, 16));
      end loop;
      send(OP_MEM_WRITE_C, hex(bytes), hex(at), hex(0), hex(0), hex(0), hex(0), hex(0), sent_dws);
      if bytes mod 4 = 0 and bytes <= 4096 and at mod 32 = 0 and at + bytes <= SCRATCH_BYTES_C then
        for i in 0 to minimum(bytes, 4 * sent_dws) - 1 loop
          expected.put(SCRATCH_C, at + i, to_integer(unsigned(payload(i/4)(8*(i mod 4)+7 downto 8*(i mod 4)))));
        end loop;
      end if;
    end procedure mem_write;

    procedure mem_read(at : natural; bytes : natural) is
    begin
      send(OP_MEM_READ_C, hex(bytes), hex(at), hex(0), hex(0), hex(0), hex(0), hex(0));
    end procedure mem_read;

    procedure dma(bytes : natural; spaces : std_ulogic_vector(7 downto 0); give_back : natural; source : natural; target : natural) is
    begin
      send(OP_DMA_C, hex(bytes), x"000000" & spaces, hex(give_back), hex(source), hex(0), hex(target), hex(0));
    end procedure dma;

  begin
    write(line_v, "mgmt_port_tb: seed " & to_string(SEED_G));
    writeline(output, line_v);
    for p in 0 to 1 loop
      for i in 0 to BYTES_C - 1 loop
        draw(seed1, seed2, 0, 255, dice);
        memory.put(p, i, dice);
        expected.put(p, i, dice);
      end loop;
    end loop;
    for i in 1 to 5 loop
      wait until rising_edge(clk);
    end loop;
    rst <= '0';
    wait until rising_edge(clk);

    -- all commands, one after the other --
    for k in 1 to ROUNDS_G loop
      draw(seed1, seed2, 0, 9, dice);
      case dice is

        when 0 => -- registers; beats that do not belong to a command are skipped
          draw(seed1, seed2, 0, 63, index);
          reg_write(4 * index, hex(1000 * k + index));
          reg_write(4 * ((index + 1) mod 64), x"DEADBEEF");
          draw(seed1, seed2, 0, 20, count);
          send(OP_REG_READ_C, hex(0), hex(4 * index), hex(0), hex(0), hex(0), hex(0), hex(0), count);
          want(OP_REG_DATA_C, 0, hex(0), hex(4 * index), 0, tag);
          assert packets.get(answer, 4) = hex(1000 * k + index) report "REG_DATA: value" severity failure;

        when 1 | 2 | 3 => -- scratch; the read follows on the heels of the write and is followed by another write
          draw(seed1, seed2, 1, 1024, length);
          draw(seed1, seed2, 0, (SCRATCH_BYTES_C - 4 * length) / 32, offset);
          mem_write(32 * offset, 4 * length, length);
          mem_read(32 * offset, 4 * length);
          count := tag;
          for i in 0 to length - 1 loop -- the answer is what was there before this
            payload(i) := x"5A5A5A5A";
          end loop;
          send(OP_MEM_WRITE_C, hex(4 * length), hex(32 * offset), hex(0), hex(0), hex(0), hex(0), hex(0), length);
          want(OP_MEM_DATA_C, 0, hex(4 * length), hex(32 * offset), length, count);
          want_payload(SCRATCH_C, 32 * offset, 4 * length);
          for i in 0 to 4 * length - 1 loop
            expected.put(SCRATCH_C, 32 * offset + i, 16#5A#);
          end loop;

        when 4 => -- wrong in length, offset or range
          mem_write(SCRATCH_BYTES_C - 32, 64, 16);
          mem_write(SCRATCH_BYTES_C, 4, 1);
          mem_write(64, 6, 2);
          mem_write(68, 8, 2);
          mem_write(64, 4100, 1025);
          mem_write(64, 64, 3);  -- shorter than it says
          mem_write(128, 8, 40); -- longer than it says
          mem_read(64, 96);
          want(OP_MEM_DATA_C, 0, hex(96), hex(64), 24, tag);
          want_payload(SCRATCH_C, 64, 96);
          mem_read(SCRATCH_BYTES_C - 32, 64);
          want(OP_MEM_DATA_C, 0, hex(64), hex(SCRATCH_BYTES_C - 32), 16, tag);
          for i in 8 to 23 loop
            assert packets.get(answer, i) = x"00000000" report "outside scratch: not zero" severity failure;
          end loop;
          mem_read(4, 70);
          want(OP_MEM_DATA_C, 0, hex(68), hex(4), 17, tag);
          mem_read(0, 3);
          want(OP_MEM_DATA_C, 0, hex(0), hex(0), 0, tag);
          mem_read(0, 4100);
          want(OP_MEM_DATA_C, 0, hex(4096), hex(0), 1024, tag);
          for i in 8 to 1031 loop
            assert packets.get(answer, i) = x"00000000" report "wrong length: not zero" severity failure;
          end loop;

        when 5 => -- no such command, with and without payload
          send(16#7F#, hex(8), hex(0), hex(0), hex(0), hex(0), hex(0), hex(0));
          send(16#82#, hex(8), hex(0), hex(0), hex(0), hex(0), hex(0), hex(0), 20);

        when 6 => -- interrupts
          draw(seed1, seed2, 1, 6, count);
          for i in 1 to count loop
            send(OP_INTERRUPT_C, hex(0), hex((ints mod 16) + 256 * (ints mod 256)), hex(ints), hex(0), hex(0), hex(0), hex(0));
            ints := ints + 1;
          end loop;

        when 7 | 8 => -- into scratch and back
          draw(seed1, seed2, 1, 4096, length);
          draw(seed1, seed2, 0, (SCRATCH_BYTES_C - length) / 32, offset);
          draw(seed1, seed2, 0, 1, space);
          draw(seed1, seed2, 0, GOOD_C - length, index);
          for i in 0 to length - 1 loop
            expected.put(SCRATCH_C, 32 * offset + i, expected.get(space, index + i));
          end loop;
          dma(length, x"2" & std_ulogic_vector(to_unsigned(space, 4)), 1, index, 32 * offset);
          want(OP_DMA_DONE_C, 0, hex(length), hex(0), (length + 3) / 4, tag);
          want_payload(SCRATCH_C, 32 * offset, 4 * ((length + 3) / 4));

        when others => -- refused by the host: no payload
          dma(100, x"20", 1, UR_C + 10, 64);
          want(OP_DMA_DONE_C, 1, hex(100), hex(0), 0, tag);
          dma(100, x"20", 1, 0, 68);
          want(OP_DMA_DONE_C, 4, hex(100), hex(0), 0, tag);

      end case;
    end loop;

    -- 33 DMA commands are queued while the host is slow; what follows overtakes them --
    latency <= 3000;
    count := tag + 1;
    for i in 0 to 32 loop
      dma(33, x"10", 0, 100 * i + 3, TARGET_C + 64 * i + 1);
      for b in 0 to 32 loop
        expected.put(1, TARGET_C + 64 * i + 1 + b, expected.get(0, 100 * i + 3 + b));
      end loop;
    end loop;
    reg_write(8, x"76543210");
    send(OP_REG_READ_C, hex(0), hex(8), hex(0), hex(0), hex(0), hex(0), hex(0));
    want(OP_REG_DATA_C, 0, hex(0), hex(8), 0, tag);
    mem_read(0, 4);
    want(OP_MEM_DATA_C, 0, hex(4), hex(0), 1, tag);
    assert engine_busy = '1' report "not busy with 33 commands unfinished" severity failure;
    for i in 0 to 32 loop
      want(OP_DMA_DONE_C, 0, hex(33), hex(0), 0, count + i);
    end loop;

    -- quiet in the end --
    events_wanted <= false;
    for i in 1 to 200 loop
      wait until rising_edge(clk);
    end loop;
    assert engine_busy = '0' and port_busy = '0' report "busy in the end" severity failure;
    assert int_count = ints report to_string(int_count) & " interrupts, expected " & to_string(ints) severity failure;
    assert events_sent > ROUNDS_G report "hardly an event got through: " & to_string(events_sent) severity failure;
    for p in 0 to 1 loop
      for i in 0 to BYTES_C - 1 loop
        assert memory.get(p, i) = expected.get(p, i) report "port " & to_string(p) & " byte " & to_string(i) severity failure;
      end loop;
    end loop;
    seen := packets.count;
    dones := 0;
    for i in 0 to seen - 1 loop
      if packets.get(i, 0)(7 downto 0) = std_ulogic_vector(to_unsigned(OP_NOTIFY_C, 8)) then
        dones := dones + 1;
      end if;
    end loop;
    assert dones = events_sent report to_string(dones) & " events came out, sent " & to_string(events_sent) severity failure;

    write(line_v, string'("mgmt_port_tb: passed"));
    writeline(output, line_v);
    stop_clock <= true;
    finish(0);
    wait;
  end process main;

end architecture sim;
