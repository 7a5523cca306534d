-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Bench of dma_engine: random copies between all spaces, errors, speed             --
-- -------------------------------------------------------------------------------- --
-- Ends with the line "dma_engine_tb: passed"; a simulation that does not print it  --
-- has failed, whatever its exit code.                                              --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library std;
use std.env.all;
use std.textio.all;

library work;
use work.cosim_pkg.all;
use work.dma_pkg.all;
use work.dma_tb_pkg.all;
use work.dma_tb_memory_pkg.all;

entity dma_engine_tb is
  generic (
    SEED_G     : positive := 1;
    COMMANDS_G : positive := 400 -- per round
  );
end entity dma_engine_tb;

architecture sim of dma_engine_tb is

  constant FUNCTIONS_C : positive := 4; -- of port 0; function 3 has no Bus Master Enable
  constant SCRATCH_BYTES_C : positive := 65536;
  constant TIMEOUT_C : positive := 2048;
  constant ROW_BITS_C : positive := index_bits_f(SCRATCH_BYTES_C/32);

  signal clk : std_ulogic := '0';
  signal rst : std_ulogic := '1';
  signal cycle : natural := 0;
  signal stop_clock : boolean := false;

  signal latency : natural := 5;
  signal stress  : std_ulogic := '0';

  signal command       : dma_command_t;
  signal command_valid : std_ulogic := '0';
  signal command_ready : std_ulogic;
  signal done          : dma_done_t;
  signal done_valid    : std_ulogic;
  signal done_ready    : std_ulogic := '0';
  signal busy          : std_ulogic;

  signal scratch_re    : std_ulogic;
  signal scratch_raddr : std_ulogic_vector(ROW_BITS_C-1 downto 0);
  signal scratch_rdata : std_ulogic_vector(255 downto 0);
  signal scratch_we    : std_ulogic;
  signal scratch_waddr : std_ulogic_vector(ROW_BITS_C-1 downto 0);
  signal scratch_wbe   : std_ulogic_vector(31 downto 0);
  signal scratch_wdata : std_ulogic_vector(255 downto 0);
  signal mem_re        : std_ulogic := '0';
  signal mem_raddr     : std_ulogic_vector(ROW_BITS_C-1 downto 0) := (others => '0');
  signal mem_rdata     : std_ulogic_vector(255 downto 0);

  signal p0_bme  : std_ulogic_vector(FUNCTIONS_C-1 downto 0) := "0111";
  signal p0_mps  : code3_array_t(0 to FUNCTIONS_C-1) := ("000", "001", "001", "000");
  signal p0_mrrs : code3_array_t(0 to FUNCTIONS_C-1) := ("010", "000", "101", "001");
  signal p1_bme  : std_ulogic := '1';
  signal p1_mps  : std_ulogic_vector(2 downto 0) := "001";
  signal p1_mrrs : std_ulogic_vector(2 downto 0) := "010";

  type word256_array_t is array (0 to 1) of std_ulogic_vector(255 downto 0);
  type word8_array_t is array (0 to 1) of std_ulogic_vector(7 downto 0);
  signal tx_data   : word256_array_t;
  signal tx_keep   : word8_array_t;
  signal tx_last   : std_ulogic_vector(1 downto 0);
  signal tx_valid  : std_ulogic_vector(1 downto 0);
  signal tx_ready  : std_ulogic_vector(1 downto 0);
  signal cpl_data  : word256_array_t;
  signal cpl_keep  : word8_array_t;
  signal cpl_last  : std_ulogic_vector(1 downto 0);
  signal cpl_valid : std_ulogic_vector(1 downto 0);
  signal cpl_ready : std_ulogic_vector(1 downto 0);

  -- cycles of the last packets, for latencies --
  signal mrd_cycle  : natural := 0;
  signal mwr_cycle  : natural := 0;
  signal cpl_cycle  : natural := 0;
  signal mwr_inside : std_ulogic_vector(1 downto 0) := "00";

begin

  clk <= not clk after 5 ns when not stop_clock else '0';

  dut: entity work.dma_engine
  generic map (
    FUNCTIONS_G     => FUNCTIONS_C,
    SCRATCH_BYTES_G => SCRATCH_BYTES_C,
    TIMEOUT_G       => TIMEOUT_C
  )
  port map (
    clk_i           => clk,
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
    p0_requester_i  => x"0100",
    p0_tx_data_o    => tx_data(0),
    p0_tx_keep_o    => tx_keep(0),
    p0_tx_last_o    => tx_last(0),
    p0_tx_valid_o   => tx_valid(0),
    p0_tx_ready_i   => tx_ready(0),
    p0_cpl_data_i   => cpl_data(0),
    p0_cpl_keep_i   => cpl_keep(0),
    p0_cpl_last_i   => cpl_last(0),
    p0_cpl_valid_i  => cpl_valid(0),
    p0_cpl_ready_o  => cpl_ready(0),
    p1_bme_i        => p1_bme,
    p1_mps_i        => p1_mps,
    p1_mrrs_i       => p1_mrrs,
    p1_requester_i  => x"0100",
    p1_tx_data_o    => tx_data(1),
    p1_tx_keep_o    => tx_keep(1),
    p1_tx_last_o    => tx_last(1),
    p1_tx_valid_o   => tx_valid(1),
    p1_tx_ready_i   => tx_ready(1),
    p1_cpl_data_i   => cpl_data(1),
    p1_cpl_keep_i   => cpl_keep(1),
    p1_cpl_last_i   => cpl_last(1),
    p1_cpl_valid_i  => cpl_valid(1),
    p1_cpl_ready_o  => cpl_ready(1),
    busy_o          => busy
  );

  scratch: entity work.scratch_ram
  generic map (
    SCRATCH_BYTES_G => SCRATCH_BYTES_C
  )
  port map (
    clk_i           => clk,
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
    mem_we_i        => '0',
    mem_wready_o    => open,
    mem_waddr_i     => (others => '0'),
    mem_wbe_i       => (others => '0'),
    mem_wdata_i     => (others => '0')
  );

  host0: entity work.dma_host_model
  generic map (
    PORT_G      => 0,
    FUNCTIONS_G => FUNCTIONS_C,
    SEED_G      => SEED_G
  )
  port map (
    clk_i       => clk,
    latency_i   => latency,
    stress_i    => stress,
    bme_i       => p0_bme,
    mps_i       => p0_mps,
    mrrs_i      => p0_mrrs,
    requester_i => x"0100",
    tx_data_i   => tx_data(0),
    tx_keep_i   => tx_keep(0),
    tx_last_i   => tx_last(0),
    tx_valid_i  => tx_valid(0),
    tx_ready_o  => tx_ready(0),
    cpl_data_o  => cpl_data(0),
    cpl_keep_o  => cpl_keep(0),
    cpl_last_o  => cpl_last(0),
    cpl_valid_o => cpl_valid(0),
    cpl_ready_i => cpl_ready(0)
  );

  host1: entity work.dma_host_model
  generic map (
    PORT_G      => 1,
    FUNCTIONS_G => 1,
    SEED_G      => SEED_G + 1
  )
  port map (
    clk_i       => clk,
    latency_i   => latency,
    stress_i    => stress,
    bme_i(0)    => p1_bme,
    mps_i(0)    => p1_mps,
    mrrs_i(0)   => p1_mrrs,
    requester_i => x"0100",
    tx_data_i   => tx_data(1),
    tx_keep_i   => tx_keep(1),
    tx_last_i   => tx_last(1),
    tx_valid_i  => tx_valid(1),
    tx_ready_o  => tx_ready(1),
    cpl_data_o  => cpl_data(1),
    cpl_keep_o  => cpl_keep(1),
    cpl_last_o  => cpl_last(1),
    cpl_valid_o => cpl_valid(1),
    cpl_ready_i => cpl_ready(1)
  );

  clocks: process(clk)
  begin
    if rising_edge(clk) then
      cycle <= cycle + 1;
      for p in 0 to 1 loop
        if tx_valid(p) = '1' and tx_ready(p) = '1' then
          if mwr_inside(p) = '0' and tx_last(p) = '1' then
            mrd_cycle <= cycle;
          elsif mwr_inside(p) = '0' then
            mwr_cycle <= cycle;
          end if;
          mwr_inside(p) <= not tx_last(p);
        end if;
        if cpl_valid(p) = '1' and cpl_last(p) = '1' then
          cpl_cycle <= cycle;
        end if;
      end loop;
    end if;
  end process clocks;

  main: process

    type kind_t is (K_GOOD, K_ANY, K_PAGES);

    type counts_t is array (0 to 1) of natural;
    type wanted_t is record
      tag    : natural;
      length : std_ulogic_vector(31 downto 0);
      status : natural;
      writes : counts_t; -- MWr of a port up to its end, where nothing fails
    end record wanted_t;
    type wanted_array_t is array (0 to 4095) of wanted_t;
    variable wanted : wanted_array_t;
    variable sent, finished : natural := 0;

    variable seed1 : positive := SEED_G;
    variable seed2 : positive := 4711;
    variable dice  : integer;
    variable line_v : line;

    -- TLPs that copies take, where nothing fails --
    variable counted : boolean := false;
    variable want_reads, want_writes : counts_t := (0, 0);
    variable seen_reads, seen_writes : counts_t := (0, 0);

    -- command being made --
    variable source_space, target_space : natural;
    variable source_fn, target_fn : natural;
    variable source_index, target_index : natural; -- byte in the memory of the space
    variable length_v : natural;
    variable start_cycle : natural;
    variable wanted_source, wanted_target : natural;

    function minimum_of(a : natural; b : natural) return natural is
    begin
      if a < b then
        return a;
      end if;
      return b;
    end function minimum_of;

    function address_of(space : natural; index : natural) return std_ulogic_vector is
      variable address_v : std_ulogic_vector(63 downto 0);
    begin
      address_v := std_ulogic_vector(to_unsigned(0, 32)) & std_ulogic_vector(to_unsigned(index, 32));
      if space /= SCRATCH_C and index >= PART_BYTES_C then
        address_v := HIGH_C & std_ulogic_vector(to_unsigned(index - PART_BYTES_C, 32));
      end if;
      return address_v;
    end function address_of;

    -- pieces of index..index+length-1 that end at multiples of size --
    function pieces_of(index : natural; length : natural; size : natural) return natural is
    begin
      return (index + length - 1) / size - index / size + 1;
    end function pieces_of;

    impure function read_size_of(space : natural; fn : natural) return natural is
    begin
      if space = 1 then
        return 512;
      end if;
      return minimum_of(512, 128 * 2**to_integer(unsigned(p0_mrrs(fn))));
    end function read_size_of;

    impure function payload_of(space : natural; fn : natural) return natural is
    begin
      if space = 1 then
        return 128 * 2**to_integer(unsigned(p1_mps));
      end if;
      return 128 * 2**to_integer(unsigned(p0_mps(fn)));
    end function payload_of;

    -- the command as it was drawn, onto the pins and into what is expected --
    procedure offer(give_back : std_ulogic; status : natural; moved : natural) is
    begin
      command.tag <= std_ulogic_vector(to_unsigned(sent, 16));
      command.length <= std_ulogic_vector(to_unsigned(length_v, 32));
      command.give_back <= give_back;
      command.source_space <= std_ulogic_vector(to_unsigned(source_space, 4));
      command.destination_space <= std_ulogic_vector(to_unsigned(target_space, 4));
      command.source_function <= std_ulogic_vector(to_unsigned(source_fn, 8));
      command.destination_function <= std_ulogic_vector(to_unsigned(target_fn, 8));
      command.source_address <= address_of(source_space, source_index);
      command.destination_address <= address_of(target_space, target_index);
      command_valid <= '1';
      for i in 0 to moved - 1 loop
        expected.put(target_space, target_index + i, expected.get(source_space, source_index + i));
      end loop;
      if status = 0 then
        if source_space /= SCRATCH_C then
          want_reads(source_space) := want_reads(source_space) + pieces_of(source_index, length_v, read_size_of(source_space, source_fn));
        end if;
        if target_space /= SCRATCH_C then
          want_writes(target_space) := want_writes(target_space) + pieces_of(target_index, length_v, payload_of(target_space, target_fn));
        end if;
      end if;
      wanted(sent) := (sent, std_ulogic_vector(to_unsigned(length_v, 32)), status, want_writes);
    end procedure offer;

    procedure draw_command(kind : kind_t) is
      variable status_v : natural;
      variable moved_v  : natural;
      variable give_back_v : std_ulogic;
    begin
      draw(seed1, seed2, 0, 2, source_space);
      draw(seed1, seed2, 0, 2, target_space);
      draw(seed1, seed2, 0, 9, dice);
      if dice < 4 then
        draw(seed1, seed2, 1, 64, length_v);
      elsif dice < 7 then
        draw(seed1, seed2, 1, 600, length_v);
      else
        draw(seed1, seed2, 1, 5000, length_v);
      end if;
      source_fn := 0;
      target_fn := 0;
      if source_space = 0 then
        draw(seed1, seed2, 0, 2, source_fn);
      end if;
      if target_space = 0 then
        draw(seed1, seed2, 0, 2, target_fn);
      end if;
      if source_space = SCRATCH_C then
        draw(seed1, seed2, 0, SCRATCH_BYTES_C - length_v, source_index);
      else
        draw(seed1, seed2, 0, GOOD_C - length_v, source_index);
        draw(seed1, seed2, 0, 1, dice);
        source_index := source_index + dice * PART_BYTES_C;
      end if;
      if target_space = SCRATCH_C then
        draw(seed1, seed2, 0, SCRATCH_BYTES_C - length_v, target_index);
        if source_space = SCRATCH_C then -- the two halves do not meet
          length_v := minimum_of(length_v, 2000);
          source_index := source_index mod 30000;
          target_index := 32768 + target_index mod 30000;
        end if;
      else
        draw(seed1, seed2, TARGET_C, PART_BYTES_C - length_v, target_index);
        draw(seed1, seed2, 0, 1, dice);
        target_index := target_index + dice * PART_BYTES_C;
      end if;

      status_v := 0;
      moved_v := length_v;
      give_back_v := '0';
      if kind /= K_GOOD then
        draw(seed1, seed2, 0, 19, dice);
        if dice >= 6 and kind = K_PAGES and source_space /= SCRATCH_C then -- into a page that fails
          draw(seed1, seed2, 0, 8, dice);
          case dice is
            when 0      => source_index := SILENT_C;
            when 1 to 4 => source_index := UR_C;
            when others => source_index := CA_C;
          end case;
          draw(seed1, seed2, 0, minimum_of(length_v + 100, 4000), dice);
          source_index := source_index + 100 - dice;
          draw(seed1, seed2, 0, 1, dice);
          source_index := source_index + dice * PART_BYTES_C;
          for i in 0 to length_v - 1 loop
            if page_status_f(source_index + i) /= 0 then
              moved_v := i;
              status_v := page_status_f(source_index + i);
              exit;
            end if;
          end loop;
        elsif dice = 0 then
          length_v := 0;
          status_v := 4;
        elsif dice = 1 then
          length_v := 1048577;
          status_v := 4;
        elsif dice = 2 and target_space = 0 then
          target_fn := 3;
          status_v := 3;
        elsif dice = 2 then
          source_space := 3;
          status_v := 4;
        elsif dice = 3 and source_space = 0 then
          source_fn := 3;
          status_v := 3;
        elsif dice = 3 and source_space = 1 then
          source_fn := 1;
          status_v := 4;
        elsif dice = 4 and target_space = SCRATCH_C then
          target_index := SCRATCH_BYTES_C - length_v + 1;
          status_v := 4;
        elsif dice = 4 then
          give_back_v := '1';
          status_v := 4;
        elsif dice = 5 and target_space = SCRATCH_C then
          give_back_v := '1';
          if length_v > 4096 or target_index mod 32 /= 0 then
            status_v := 4;
          end if;
        end if;
        if status_v > 2 then
          moved_v := 0;
        end if;
      end if;
      offer(give_back_v, status_v, moved_v);
    end procedure draw_command;

    -- one cycle: a command that is on the pins may be taken, an end may come --
    procedure step is
    begin
      wait until rising_edge(clk);
      if command_valid = '1' and command_ready = '1' then
        command_valid <= '0';
        sent := sent + 1;
      end if;
      if done_valid = '1' and done_ready = '1' then
        assert to_integer(unsigned(done.tag)) = finished
          report "DMA_DONE of command " & to_string(to_integer(unsigned(done.tag))) & ", expected " & to_string(finished) severity failure;
        assert to_integer(unsigned(done.status)) = wanted(finished).status
          report "command " & to_string(finished) & ": status " & to_string(to_integer(unsigned(done.status))) & ", expected " &
                 to_string(wanted(finished).status) severity failure;
        for p in 0 to 1 loop
          assert not counted or writes.get(p) - seen_writes(p) >= wanted(finished).writes(p)
            report "command " & to_string(finished) & " ended before its last MWr" severity failure;
        end loop;
        assert done.length = wanted(finished).length report "DMA_DONE: length" severity failure;
        finished := finished + 1;
      end if;
      if stress = '1' then
        draw(seed1, seed2, 0, 2, dice);
        done_ready <= '1' when dice = 0 else '0';
      else
        done_ready <= '1';
      end if;
    end procedure step;

    -- all that was sent, within `cycles` --
    procedure finish_all(cycles : natural) is
      variable patience : natural;
    begin
      patience := cycles;
      while command_valid = '1' or finished < sent loop
        step;
        assert patience /= 0 report "hangs: " & to_string(finished) & " of " & to_string(sent) & " commands finished" severity failure;
        patience := patience - 1;
      end loop;
    end procedure finish_all;

    -- all bytes of all memories --
    procedure compare(what : string) is
    begin
      for i in 0 to 20 loop
        step;
      end loop;
      assert busy = '0' report what & ": busy after the last command" severity failure;
      for p in 0 to 1 loop
        for i in 0 to BYTES_C - 1 loop
          assert memory.get(p, i) = expected.get(p, i)
            report what & ": port " & to_string(p) & " byte " & to_string(i) & " is " & to_string(memory.get(p, i)) & ", expected " &
                   to_string(expected.get(p, i)) severity failure;
        end loop;
      end loop;
      for row in 0 to SCRATCH_BYTES_C/32 - 1 loop
        mem_raddr <= std_ulogic_vector(to_unsigned(row, ROW_BITS_C));
        mem_re <= '1';
        wait until rising_edge(clk);
        mem_re <= '0';
        wait until rising_edge(clk);
        for i in 0 to 31 loop
          assert to_integer(unsigned(mem_rdata(8*i+7 downto 8*i))) = expected.get(SCRATCH_C, 32*row + i)
            report what & ": scratch byte " & to_string(32*row + i) & " is " & to_hstring(mem_rdata(8*i+7 downto 8*i)) & ", expected " &
                   to_string(expected.get(SCRATCH_C, 32*row + i)) severity failure;
        end loop;
      end loop;
      write(line_v, what & ": " & to_string(sent) & " commands, cycle " & to_string(cycle));
      writeline(output, line_v);
    end procedure compare;

    procedure round(what : string; kind : kind_t; delay : natural; stressed : std_ulogic; count : natural) is
    begin
      latency <= delay;
      stress <= stressed;
      for p in 0 to 1 loop
        want_reads(p) := 0;
        want_writes(p) := 0;
        seen_reads(p) := reads.get(p);
        seen_writes(p) := writes.get(p);
      end loop;
      sent := 0;
      finished := 0;
      counted := kind = K_GOOD;
      for i in 1 to count loop
        draw_command(kind);
        step;
        while command_valid = '1' loop
          step;
          assert cycle - start_cycle < 3000000 report what & ": hangs" severity failure;
        end loop;
        draw(seed1, seed2, 0, 19, dice);
        if dice = 0 then -- let it run dry
          draw(seed1, seed2, 1, 300, dice);
          for k in 1 to dice loop
            step;
          end loop;
        end if;
      end loop;
      finish_all(400000);
      counted := false;
      compare(what);
      if kind = K_GOOD then
        for p in 0 to 1 loop
          assert reads.get(p) - seen_reads(p) = want_reads(p)
            report what & ": " & to_string(reads.get(p) - seen_reads(p)) & " MRd, expected " & to_string(want_reads(p)) severity failure;
          assert writes.get(p) - seen_writes(p) = want_writes(p)
            report what & ": " & to_string(writes.get(p) - seen_writes(p)) & " MWr, expected " & to_string(want_writes(p)) severity failure;
        end loop;
      end if;
    end procedure round;

    -- short copies into scratch, each followed by one out of the same bytes --
    procedure chains(count : natural) is
    begin
      sent := 0;
      finished := 0;
      latency <= 5;
      stress <= '0';
      for i in 1 to count loop
        draw(seed1, seed2, 1, 80, length_v);
        source_space := 1;
        source_fn := 0;
        draw(seed1, seed2, 0, 60000, source_index);
        target_space := SCRATCH_C;
        target_fn := 0;
        draw(seed1, seed2, 0, 200, target_index);
        for k in 0 to 1 loop
          offer('0', 0, length_v);
          step;
          while command_valid = '1' loop
            step;
          end loop;
          source_space := SCRATCH_C;
          source_index := target_index;
          target_space := 0;
          draw(seed1, seed2, TARGET_C, TARGET_C + 60000, target_index);
        end loop;
      end loop;
      finish_all(20000);
      compare("through scratch");
    end procedure chains;

    procedure speed(what : string; from_space : natural; from_index : natural; to_space : natural; to_index : natural; limit : natural) is
    begin
      sent := 0;
      finished := 0;
      latency <= 250;
      stress <= '0';
      source_space := from_space;
      source_fn := 2 * boolean'pos(from_space = 0);
      source_index := from_index;
      target_space := to_space;
      target_fn := 2 * boolean'pos(to_space = 0);
      target_index := to_index;
      length_v := 65536;
      step;
      offer('0', 0, length_v);
      start_cycle := cycle;
      step;
      finish_all(20000);
      write(line_v, what & ": 65536 bytes in " & to_string(cycle - start_cycle) & " cycles");
      writeline(output, line_v);
      assert cycle - start_cycle <= limit report what & ": more than " & to_string(limit) & " cycles" severity failure;
    end procedure speed;

    -- Bus Master Enable falls in the middle of a copy: it stops there, and the next one goes on --
    procedure lose_master(from_space : natural; of_source : boolean; delay : natural) is
      variable moved_v : natural := 0;
    begin
      sent := 0;
      finished := 0;
      latency <= 30;
      source_space := from_space;
      target_space := 1 - from_space;
      source_fn := 2 * (1 - from_space); -- function 2 of port 0, function 0 of port 1
      target_fn := 2 * from_space;
      draw(seed1, seed2, 0, 60000, source_index);
      draw(seed1, seed2, TARGET_C, TARGET_C + 60000, target_index);
      wanted_source := source_index;
      wanted_target := target_index;
      length_v := 20000;
      step;
      offer('0', 3, 0);
      step;
      start_cycle := cycle;
      while cycle - start_cycle < delay loop
        step;
      end loop;
      if of_source = (from_space = 0) then
        p0_bme(2) <= '0';
      else
        p1_bme <= '0';
      end if;
      source_space := SCRATCH_C;
      source_index := 100;
      target_space := 0;
      target_fn := 1;
      target_index := PART_BYTES_C + TARGET_C + 77;
      length_v := 300;
      offer('0', 0, length_v);
      finish_all(20000);
      p0_bme(2) <= '1';
      p1_bme <= '1';
      -- all up to some byte and nothing after it --
      target_space := 1 - from_space;
      source_space := from_space;
      source_index := wanted_source;
      target_index := wanted_target;
      while moved_v < 20000 and memory.get(target_space, target_index + moved_v) = memory.get(source_space, source_index + moved_v) loop
        expected.put(target_space, target_index + moved_v, expected.get(source_space, source_index + moved_v));
        moved_v := moved_v + 1;
      end loop;
      assert moved_v < 20000 report "all bytes moved without Bus Master Enable" severity failure;
    end procedure lose_master;

    -- short copy on an idle engine --
    procedure short(length : natural) is
    begin
      sent := 0;
      finished := 0;
      latency <= 40;
      stress <= '0';
      source_space := 0;
      source_fn := 2;
      source_index := 16#123#;
      target_space := 1;
      target_fn := 0;
      target_index := TARGET_C + 16#345#;
      length_v := length;
      for i in 0 to 9 loop
        step;
      end loop;
      offer('0', 0, length_v);
      step;
      start_cycle := cycle;
      finish_all(2000);
      write(line_v, to_string(length) & " bytes: MRd " & to_string(mrd_cycle - start_cycle) & " cycles after the command, MWr " &
                    to_string(mwr_cycle - cpl_cycle) & " after the completion, end " & to_string(cycle - mwr_cycle) & " after the MWr");
      writeline(output, line_v);
      assert mrd_cycle - start_cycle <= 12 and mwr_cycle - cpl_cycle <= 12 report "short copy: more than 12 cycles" severity failure;
    end procedure short;

  begin
    write(line_v, "dma_engine_tb: seed " & to_string(SEED_G));
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
    for i in 1 to 40 loop -- the reorder buffers clear their slots
      wait until rising_edge(clk);
    end loop;
    start_cycle := cycle;

    short(2);
    short(16);
    short(64);
    speed("aligned", 0, 0, 1, TARGET_C, 2700);
    speed("unaligned", 0, 16#103#, 1, TARGET_C + 16#605#, 2700);
    speed("unaligned back", 1, 16#1FF#, 0, TARGET_C + 16#202#, 2700);
    speed("one port", 0, 16#FE#, 0, TARGET_C + 16#401#, 2850);
    speed("to scratch", 1, 16#11#, 2, 0, 2700);
    speed("from scratch", 2, 0, 1, TARGET_C + 3, 2400);
    compare("speed");

    start_cycle := cycle;
    chains(COMMANDS_G/4);
    round("good, latency 5", K_GOOD, 5, '0', COMMANDS_G);
    round("good, latency 250", K_GOOD, 250, '0', COMMANDS_G);
    round("good, stressed", K_GOOD, 60, '1', COMMANDS_G);
    round("wrong commands", K_ANY, 20, '1', COMMANDS_G);
    round("failing pages", K_PAGES, 30, '1', COMMANDS_G/4);
    round("failing pages, fast", K_PAGES, 5, '0', COMMANDS_G/4);
    for i in 1 to 12 loop
      stress <= '0' when i mod 2 = 0 else '1';
      draw(seed1, seed2, 10, 90, dice);
      lose_master(i mod 4 / 2, true, dice);
      draw(seed1, seed2, 10, 550, dice);
      lose_master(i mod 4 / 2, false, dice);
    end loop;
    compare("Bus Master Enable lost");
    round("good again", K_GOOD, 5, '1', COMMANDS_G);

    write(line_v, string'("dma_engine_tb: passed"));
    writeline(output, line_v);
    stop_clock <= true;
    finish(0);
    wait;
  end process main;

end architecture sim;
