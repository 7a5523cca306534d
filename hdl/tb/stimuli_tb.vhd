-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Replays a recording (STIMULI.md) on the pins of cosim_top, cycle by cycle        --
-- -------------------------------------------------------------------------------- --
-- Every packet into the FPGA is offered at its cycle; every packet out of it must  --
-- come at its cycle with its words, and no other one. The first difference, or the --
-- first line that is not of the format, ends the simulation with severity failure. --
-- Data bits that are neither 0 nor 1 count as 0, valid and ready must be 0 or 1.   --
-- Ends with "stimuli_tb passed: N inputs, M outputs, C cycles" on the output;      --
-- without this line the replay failed, whatever the exit code says.                --
-- The generics of the top must be those in the file's head: tb/stimuli sees to it. --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

library std;
use std.textio.all;
use std.env.finish;

entity stimuli_tb is
  generic (
    FILE_G          : string   := "";      -- the recording, not compressed
    SILENCE_G       : positive := 1000000; -- cycles without a line: more than that is no recording
    FUNCTIONS_G     : integer  := 2;       -- as in cosim_top, from here on
    QUEUES_G        : integer  := 8;
    VECTORS_G       : integer  := 0;
    SCRATCH_BYTES_G : integer  := 65536;
    DMA_TIMEOUT_G   : integer  := 65536;
    BE_VENDOR_G     : integer  := 16#0C05#;
    BE_DEVICE_G     : integer  := 16#5101#
  );
end entity stimuli_tb;

architecture stimuli_tb_sim of stimuli_tb is

  constant PORTS_C        : positive := 3;
  constant RESET_CYCLES_C : positive := 8;
  constant LINE_CHARS_C   : positive := 16384;
  constant PAYLOAD_C      : positive := 1024; -- DWs

  -- packets as beats --
  subtype word_t is std_logic_vector(31 downto 0);
  subtype beat_t is std_logic_vector(255 downto 0);
  subtype keep_t is std_logic_vector(7 downto 0);
  type beats_t is array (natural range <>) of beat_t;
  type beats_p is access beats_t;
  subtype packet_t is beats_t(0 to PAYLOAD_C/8);
  type ports_beat_t is array (0 to PORTS_C-1) of beat_t;
  type ports_keep_t is array (0 to PORTS_C-1) of keep_t;
  type ports_packet_t is array (0 to PORTS_C-1) of packet_t;
  type ports_natural_t is array (0 to PORTS_C-1) of natural;
  type ports_flag_t is array (0 to PORTS_C-1) of boolean;
  type ports_line_t is array (0 to PORTS_C-1) of line;

  -- a packet that waits for its turn --
  type waiting_t;
  type waiting_p is access waiting_t;
  type waiting_t is record
    head   : keep_t;  -- keep of the header
    keep   : keep_t;  -- keep of the last beat
    last   : natural; -- number of the last beat
    beats  : beats_p;
    behind : waiting_p;
  end record;
  type ports_waiting_t is array (0 to PORTS_C-1) of waiting_p;

  -- keep of a beat with n words --
  type keeps_t is array (0 to 8) of keep_t;
  constant KEEP_C : keeps_t := (x"00", x"01", x"03", x"07", x"0F", x"1F", x"3F", x"7F", x"FF");

  -- words as text --
  type nibbles_t is array (0 to 15) of std_logic_vector(3 downto 0);
  constant NIBBLE_C : nibbles_t :=
    (x"0", x"1", x"2", x"3", x"4", x"5", x"6", x"7", x"8", x"9", x"A", x"B", x"C", x"D", x"E", x"F");
  constant HEX_C : string := "0123456789abcdef";
  type digits_t is array (character) of integer range -1 to 15;

  function digits_f return digits_t is
    variable res_v : digits_t := (others => -1);
  begin
    for k in 0 to 9 loop
      res_v(character'val(character'pos('0') + k)) := k;
    end loop;
    for k in 10 to 15 loop
      res_v(character'val(character'pos('a') + k - 10)) := k;
      res_v(character'val(character'pos('A') + k - 10)) := k;
    end loop;
    return res_v;
  end function digits_f;

  constant DIGIT_C : digits_t := digits_f;

  -- Back-pressure: numbers of 64 bits as five limbs of 13, whose products are integers --
  -- ------------------------------------------------------------------------------------
  type number_t is array (0 to 4) of natural;
  type xor_t is array (0 to 127, 0 to 127) of natural;

  function xor_f return xor_t is
    variable res_v : xor_t;
    variable a_v, b_v, x_v : natural;
  begin
    for a in 0 to 127 loop
      for b in 0 to 127 loop
        a_v := a;
        b_v := b;
        x_v := 0;
        for k in 0 to 6 loop
          if (a_v mod 2) /= (b_v mod 2) then
            x_v := x_v + 2**k;
          end if;
          a_v := a_v / 2;
          b_v := b_v / 2;
        end loop;
        res_v(a, b) := x_v;
      end loop;
    end loop;
    return res_v;
  end function xor_f;

  constant XOR_C : xor_t := xor_f;

  function number_f(bits : std_logic_vector(63 downto 0)) return number_t is
    variable res_v : number_t := (others => 0);
  begin
    for k in 63 downto 0 loop
      res_v(k/13) := 2*res_v(k/13);
      if (bits(k) = '1') then
        res_v(k/13) := res_v(k/13) + 1;
      end if;
    end loop;
    return res_v;
  end function number_f;

  function "+"(a, b : number_t) return number_t is
    variable res_v : number_t;
    variable sum_v : natural := 0;
  begin
    for k in 0 to 4 loop
      sum_v    := sum_v + a(k) + b(k);
      res_v(k) := sum_v mod 8192;
      sum_v    := sum_v / 8192;
    end loop;
    res_v(4) := res_v(4) mod 4096;
    return res_v;
  end function "+";

  function "*"(a, b : number_t) return number_t is
    variable res_v : number_t;
    variable sum_v : natural := 0;
  begin
    for k in 0 to 4 loop
      for j in 0 to k loop
        sum_v := sum_v + a(j)*b(k-j);
      end loop;
      res_v(k) := sum_v mod 8192;
      sum_v    := sum_v / 8192;
    end loop;
    res_v(4) := res_v(4) mod 4096;
    return res_v;
  end function "*";

  -- n below 2**31 --
  function number_f(n : natural) return number_t is
  begin
    return (n mod 8192, (n / 8192) mod 8192, n / 2**26, 0, 0);
  end function number_f;

  -- x xor (x >> (26 + shift)), shift 1 to 12 --
  function mixed_f(x : number_t; shift : positive) return number_t is
    variable res_v : number_t := x;
    variable y_v   : natural;
  begin
    for k in 0 to 2 loop
      y_v := x(k+2) / 2**shift;
      if (k < 2) then
        y_v := y_v + (x(k+3) mod 2**shift) * 2**(13-shift);
      end if;
      res_v(k) := 128*XOR_C(x(k)/128, y_v/128) + XOR_C(x(k) mod 128, y_v mod 128);
    end loop;
    return res_v;
  end function mixed_f;

  constant STEP_C   : number_t := number_f(std_logic_vector'(x"9E3779B97F4A7C15"));
  constant FIRST_C  : number_t := number_f(std_logic_vector'(x"BF58476D1CE4E5B9"));
  constant SECOND_C : number_t := number_f(std_logic_vector'(x"94D049BB133111EB"));
  type steps_t is array (0 to 2*PORTS_C) of number_t;
  constant STEPS_C : steps_t := (
    number_f(0)*STEP_C, STEP_C, number_f(2)*STEP_C, number_f(3)*STEP_C, number_f(4)*STEP_C, number_f(5)*STEP_C,
    number_f(6)*STEP_C);

  -- true: of 256 such choices, `share` --
  function pauses_f(state : number_t; lane : natural; share : natural) return boolean is
    variable x_v : number_t;
  begin
    x_v := state + STEPS_C(lane);
    x_v := mixed_f(x_v, 4) * FIRST_C;
    x_v := mixed_f(x_v, 1) * SECOND_C;
    return x_v(4)/16 < share;
  end function pauses_f;

  -- pins --
  signal clk  : std_logic := '0';
  signal rst  : std_logic := '0';
  signal busy : std_logic;

  signal rx_data  : ports_beat_t := (others => (others => '0'));
  signal rx_keep  : ports_keep_t := (others => (others => '0'));
  signal rx_last  : std_logic_vector(0 to PORTS_C-1) := (others => '0');
  signal rx_valid : std_logic_vector(0 to PORTS_C-1) := (others => '0');
  signal rx_ready : std_logic_vector(0 to PORTS_C-1);
  signal tx_data  : ports_beat_t;
  signal tx_keep  : ports_keep_t;
  signal tx_last  : std_logic_vector(0 to PORTS_C-1);
  signal tx_valid : std_logic_vector(0 to PORTS_C-1);
  signal tx_ready : std_logic_vector(0 to PORTS_C-1) := (others => '0');

begin

  dut: entity work.cosim_top
  generic map (
    FUNCTIONS_G     => FUNCTIONS_G,
    QUEUES_G        => QUEUES_G,
    VECTORS_G       => VECTORS_G,
    SCRATCH_BYTES_G => SCRATCH_BYTES_G,
    DMA_TIMEOUT_G   => DMA_TIMEOUT_G,
    BE_VENDOR_G     => BE_VENDOR_G,
    BE_DEVICE_G     => BE_DEVICE_G
  )
  port map (
    clk_i => clk, rst_i => rst, busy_o => busy,
    p0_rx_data_i => rx_data(0), p0_rx_keep_i => rx_keep(0), p0_rx_last_i => rx_last(0),
    p0_rx_valid_i => rx_valid(0), p0_rx_ready_o => rx_ready(0),
    p0_tx_data_o => tx_data(0), p0_tx_keep_o => tx_keep(0), p0_tx_last_o => tx_last(0),
    p0_tx_valid_o => tx_valid(0), p0_tx_ready_i => tx_ready(0),
    p1_rx_data_i => rx_data(1), p1_rx_keep_i => rx_keep(1), p1_rx_last_i => rx_last(1),
    p1_rx_valid_i => rx_valid(1), p1_rx_ready_o => rx_ready(1),
    p1_tx_data_o => tx_data(1), p1_tx_keep_o => tx_keep(1), p1_tx_last_o => tx_last(1),
    p1_tx_valid_o => tx_valid(1), p1_tx_ready_i => tx_ready(1),
    p2_rx_data_i => rx_data(2), p2_rx_keep_i => rx_keep(2), p2_rx_last_i => rx_last(2),
    p2_rx_valid_i => rx_valid(2), p2_rx_ready_o => rx_ready(2),
    p2_tx_data_o => tx_data(2), p2_tx_keep_o => tx_keep(2), p2_tx_last_o => tx_last(2),
    p2_tx_valid_o => tx_valid(2), p2_tx_ready_i => tx_ready(2)
  );

  replay: process

    file recording     : text;
    variable status_v  : file_open_status;
    variable line_v    : line;         -- the line that was read last
    variable number_v  : natural := 0; -- its number
    variable at_v      : positive;     -- where reading goes on in it
    variable first_v   : positive;     -- the field that was read last
    variable end_v     : natural;

    -- the fact in it --
    type fact_t is (FPGA_F, PORTS_F, TOP_F, GENERIC_F, PAUSE_F, START_F, RESET_F, IN_F, OUT_F, END_F);
    type once_t is array (fact_t) of boolean;
    variable fact_v    : fact_t;
    variable when_v    : natural := 0; -- its cycle
    variable port_v    : natural range 0 to PORTS_C-1;
    variable packet_v  : packet_t;
    variable head_v    : keep_t;       -- keep of the header
    variable keep_v    : keep_t;       -- keep of the last beat
    variable last_v    : natural;      -- number of the last beat

    -- what has been read so far --
    variable once_v     : once_t := (others => false);
    variable names_v    : line := new string'(" "); -- generics
    variable inputs_v   : natural := 0;
    variable outputs_v  : natural := 0;
    variable given_v    : natural := 0; -- from the first reset on
    variable checked_v  : natural := 0;
    variable seed_v     : number_t;
    variable rx_share_v : natural := 0;
    variable tx_share_v : natural := 0;

    -- the cycle whose inputs are on the pins --
    variable cycle_v    : natural;
    variable base_v     : natural;      -- the first cycle
    variable fact_at_v  : natural;      -- cycle of the last fact
    variable state_v    : number_t;     -- of back-pressure
    variable reset_v    : natural := 0; -- cycles of reset that are left
    variable idle_v     : boolean := false; -- busy_o was 0 in a cycle without traffic, and nothing was given since
    variable traffic_v  : boolean;

    -- into the FPGA --
    variable current_v  : ports_waiting_t; -- the packet on the pins
    variable queue_v    : ports_waiting_t;
    variable tail_v     : ports_waiting_t;
    variable beat_v     : ports_natural_t; -- number of the next beat
    variable valid_v    : ports_flag_t := (others => false);

    -- out of the FPGA --
    variable ready_v    : ports_flag_t := (others => false);
    variable got_v      : ports_packet_t; -- the packet under way
    variable beats_v    : ports_natural_t := (others => 0);
    variable due_v      : boolean; -- a packet is expected in this cycle
    variable done_v     : ports_flag_t;
    variable expect_v   : ports_packet_t;
    variable text_v     : ports_line_t; -- its line
    variable where_v    : ports_natural_t;
    variable heads_v    : ports_keep_t;
    variable keeps_v    : ports_keep_t;
    variable lasts_v    : ports_natural_t;

    -- Messages ---------------------------------------------------------------------------

    procedure malformed(expected : string) is
      constant SHOWN_C : natural := minimum(line_v'length, 200);
    begin
      report FILE_G & ":" & integer'image(number_v) & ": expected " & expected & ": " & line_v(1 to SHOWN_C) severity failure;
      wait;
    end procedure malformed;

    procedure wrong(what : string) is
    begin
      report "cycle " & integer'image(cycle_v) & what severity failure;
      wait;
    end procedure wrong;

    impure function expected_f(p : natural) return string is
    begin
      return LF & "  expected " & text_v(p).all & "   (" & FILE_G & ":" & integer'image(where_v(p)) & ")";
    end function expected_f;

    function clean_f(data : beat_t) return beat_t is
      variable res_v : beat_t := (others => '0');
    begin
      for k in data'range loop
        if (data(k) = '1') or (data(k) = 'H') then
          res_v(k) := '1';
        end if;
      end loop;
      return res_v;
    end function clean_f;

    -- as a recording writes it --
    function hex_f(value : word_t) return string is
      variable res_v : string(1 to 8);
    begin
      for d in 0 to 7 loop
        for n in NIBBLE_C'range loop
          if (value(31-4*d downto 28-4*d) = NIBBLE_C(n)) then
            res_v(d+1) := HEX_C(n+1);
          end if;
        end loop;
      end loop;
      return res_v;
    end function hex_f;

    procedure write_words(text : inout line; data : beat_t; keep : keep_t) is
      constant CLEAN_C : beat_t := clean_f(data);
    begin
      for k in 0 to 7 loop
        if (keep(k) = '1') then
          write(text, ' ' & hex_f(CLEAN_C(32*k+31 downto 32*k)));
        end if;
      end loop;
    end procedure write_words;

    -- the packet that came, as a line --
    impure function actual_f(p : natural; last : natural; head, keep : keep_t) return string is
      variable out_v : line;
    begin
      write(out_v, LF & "  actual   out " & integer'image(p) & ' ' & integer'image(cycle_v) & " :");
      write_words(out_v, got_v(p)(0), head);
      for k in 1 to last loop
        if (k = 1) then
          write(out_v, string'(" :"));
        end if;
        if (k = last) then
          write_words(out_v, got_v(p)(k), keep);
        else
          write_words(out_v, got_v(p)(k), x"FF");
        end if;
      end loop;
      return out_v.all;
    end function actual_f;

    -- Fields -----------------------------------------------------------------------------

    -- the next one; empty (end_v < first_v) where the line or its text before a comment ends --
    procedure next_field is
    begin
      while (at_v <= line_v'length) and (line_v(at_v) = ' ') loop
        at_v := at_v + 1;
      end loop;
      first_v := at_v;
      while (at_v <= line_v'length) and (line_v(at_v) /= ' ') and (line_v(at_v) /= '#') loop
        at_v := at_v + 1;
      end loop;
      end_v := at_v - 1;
    end procedure next_field;

    procedure end_of_line is
    begin
      next_field;
      if (end_v >= first_v) then
        malformed("the end of the line before '" & line_v(first_v to end_v) & "'");
      end if;
    end procedure end_of_line;

    procedure next_natural(what : string; value : out natural) is
      variable res_v   : natural := 0;
      variable digit_v : integer;
    begin
      next_field;
      if (end_v < first_v) then
        malformed(what);
      end if;
      for k in first_v to end_v loop
        digit_v := DIGIT_C(line_v(k));
        if (digit_v < 0) or (digit_v > 9) then
          malformed(what & ", a decimal number, not '" & line_v(first_v to end_v) & "'");
        end if;
        if (res_v > 214748364) or ((res_v = 214748364) and (digit_v > 7)) then
          malformed(what & " below 2147483648, where VHDL's integers end");
        end if;
        res_v := 10*res_v + digit_v;
      end loop;
      value := res_v;
    end procedure next_natural;

    procedure next_number(what : string; value : out number_t) is
      variable res_v   : number_t := (others => 0);
      variable digit_v : integer;
    begin
      next_field;
      if (end_v < first_v) or (end_v - first_v >= 20) then
        malformed(what);
      end if;
      for k in first_v to end_v loop
        digit_v := DIGIT_C(line_v(k));
        if (digit_v < 0) or (digit_v > 9) then
          malformed(what & ", a decimal number, not '" & line_v(first_v to end_v) & "'");
        end if;
        res_v := res_v*number_f(10) + number_f(digit_v);
      end loop;
      value := res_v;
    end procedure next_number;

    -- the word in the field that was read last --
    procedure word(value : out word_t) is
      variable digit_v : integer;
    begin
      if (end_v /= first_v + 7) then
        malformed("a word of 8 hexadecimal digits, not '" & line_v(first_v to end_v) & "'");
      end if;
      for k in 0 to 7 loop
        digit_v := DIGIT_C(line_v(first_v + k));
        if (digit_v < 0) then
          malformed("a word of 8 hexadecimal digits, not '" & line_v(first_v to end_v) & "'");
        end if;
        value(31-4*k downto 28-4*k) := NIBBLE_C(digit_v);
      end loop;
    end procedure word;

    impure function is_colon_f return boolean is
    begin
      return (end_v = first_v) and (line_v(first_v) = ':');
    end function is_colon_f;

    -- ": HEADER [: PAYLOAD]" up to the end of the line --
    procedure packet is
      variable words_v  : natural := 0;
      variable header_v : natural := 8;
    begin
      next_field;
      if not is_colon_f then
        malformed("':' before the header");
      end if;
      packet_v(0) := (others => '0');
      next_field;
      while (end_v >= first_v) and not is_colon_f loop
        if (words_v = 8) then
          malformed("at most 8 words of header");
        end if;
        word(packet_v(0)(32*words_v+31 downto 32*words_v));
        words_v := words_v + 1;
        next_field;
      end loop;
      if (port_v /= 2) then
        header_v := 3;
        if (packet_v(0)(29) = '1') then
          header_v := 4;
        end if;
      end if;
      if (words_v /= header_v) then
        malformed("a header of " & integer'image(header_v) & " words, not " & integer'image(words_v));
      end if;
      head_v  := KEEP_C(words_v);
      keep_v  := head_v;
      last_v  := 0;
      words_v := 0;
      if (end_v < first_v) then
        return;
      end if;
      next_field;
      while (end_v >= first_v) loop
        if (words_v = PAYLOAD_C) then
          malformed("at most " & integer'image(PAYLOAD_C) & " words of payload");
        end if;
        if (words_v mod 8 = 0) then
          last_v := last_v + 1;
          packet_v(last_v) := (others => '0');
        end if;
        word(packet_v(last_v)(32*(words_v mod 8)+31 downto 32*(words_v mod 8)));
        words_v := words_v + 1;
        next_field;
      end loop;
      if (words_v = 0) then
        malformed("a payload after the second ':'");
      end if;
      keep_v := KEEP_C((words_v-1) mod 8 + 1);
    end procedure packet;

    -- Lines ------------------------------------------------------------------------------

    -- the next line that says something; at_v is at its first field --
    procedure next_line is
    begin
      loop
        if endfile(recording) then
          report FILE_G & ": the recording was cut off: no 'end' after line " & integer'image(number_v) severity failure;
          wait;
        end if;
        readline(recording, line_v);
        number_v := number_v + 1;
        if (line_v'length > LINE_CHARS_C) then
          malformed("at most " & integer'image(LINE_CHARS_C) & " characters, not " & integer'image(line_v'length));
        end if;
        at_v := 1;
        next_field;
        exit when end_v >= first_v;
      end loop;
    end procedure next_line;

    procedure generic_value is
      variable value_v : natural;

      procedure check(name : string; actual : integer) is
      begin
        if (value_v /= actual) then
          malformed("the generic " & name & " of this bench, " & integer'image(actual) & " (pass -g" & name & "=" &
            integer'image(value_v) & ")");
        end if;
      end procedure check;

      variable first_name_v, end_name_v : natural;
    begin
      next_field;
      if (end_v < first_v) then
        malformed("the name of a generic");
      end if;
      first_name_v := first_v;
      end_name_v   := end_v;
      next_natural("the generic's value", value_v);
      for k in 1 to names_v'length - (end_name_v - first_name_v + 3) + 1 loop
        if (names_v(k to k + end_name_v - first_name_v + 2) = ' ' & line_v(first_name_v to end_name_v) & ' ') then
          malformed("a generic that was not given before");
        end if;
      end loop;
      write(names_v, line_v(first_name_v to end_name_v) & ' ');
      if (line_v(first_name_v to end_name_v) = "FUNCTIONS_G") then
        check("FUNCTIONS_G", FUNCTIONS_G);
      elsif (line_v(first_name_v to end_name_v) = "QUEUES_G") then
        check("QUEUES_G", QUEUES_G);
      elsif (line_v(first_name_v to end_name_v) = "VECTORS_G") then
        check("VECTORS_G", VECTORS_G);
      elsif (line_v(first_name_v to end_name_v) = "SCRATCH_BYTES_G") then
        check("SCRATCH_BYTES_G", SCRATCH_BYTES_G);
      elsif (line_v(first_name_v to end_name_v) = "DMA_TIMEOUT_G") then
        check("DMA_TIMEOUT_G", DMA_TIMEOUT_G);
      elsif (line_v(first_name_v to end_name_v) = "BE_VENDOR_G") then
        check("BE_VENDOR_G", BE_VENDOR_G);
      elsif (line_v(first_name_v to end_name_v) = "BE_DEVICE_G") then
        check("BE_DEVICE_G", BE_DEVICE_G);
      else
        malformed("a generic of cosim_top that a recording can name");
      end if;
    end procedure generic_value;

    -- one fact of the head --
    procedure head is
      variable value_v : natural;

      procedure once(fact : fact_t) is
      begin
        if once_v(fact) then
          malformed("this line once");
        end if;
        once_v(fact) := true;
      end procedure once;
    begin
      if (line_v(first_v to end_v) = "fpga") then
        once(FPGA_F);
        next_field;
        if (line_v(first_v to end_v) = "model") then
          malformed("a recording of verilator or ghdl; the model's cycles are its own ('cosim replay' can compare them)");
        elsif (line_v(first_v to end_v) /= "verilator") and (line_v(first_v to end_v) /= "ghdl") then
          malformed("'verilator' or 'ghdl'");
        end if;
      elsif (line_v(first_v to end_v) = "ports") then
        once(PORTS_F);
        next_natural("the number of ports", value_v);
        if (value_v /= PORTS_C) then
          malformed("3 ports; 'cosim stimuli emit --vhdl' writes a bench for another top");
        end if;
      elsif (line_v(first_v to end_v) = "top") then
        once(TOP_F);
        next_field;
        if (line_v(first_v to end_v) /= "cosim_top") then
          malformed("cosim_top; 'cosim stimuli emit --vhdl' writes a bench for another top");
        end if;
      elsif (line_v(first_v to end_v) = "generic") then
        generic_value;
      elsif (line_v(first_v to end_v) = "pause") then
        once(PAUSE_F);
        next_number("the seed of back-pressure", seed_v);
        next_natural("the share of RX", rx_share_v);
        next_natural("the share of TX", tx_share_v);
        if (rx_share_v > 255) or (tx_share_v > 255) then
          malformed("shares below 256");
        end if;
      elsif (line_v(first_v to end_v) = "reset") then
        fact_v := RESET_F;
        next_natural("the cycle of the reset", when_v);
        if (when_v /= 0) then
          malformed("the first reset in cycle 0, or 'start' for a recording that was begun while the FPGA ran");
        end if;
      elsif (line_v(first_v to end_v) = "start") then
        fact_v := START_F;
        next_natural("the first cycle", when_v);
      else
        malformed("fpga, ports, top, generic, pause, reset or start");
      end if;
      end_of_line;
      if (fact_v = RESET_F) or (fact_v = START_F) then
        if not (once_v(FPGA_F) and once_v(PORTS_F) and once_v(TOP_F)) then
          malformed("the lines fpga, ports and top before this one");
        end if;
      end if;
    end procedure head;

    -- one fact of the rest --
    procedure next_fact is
      variable new_v : natural;
      variable value_v : natural;
    begin
      next_line;
      if (line_v(first_v to end_v) = "in") or (line_v(first_v to end_v) = "out") then
        fact_v := IN_F;
        if (line_v(first_v) = 'o') then
          fact_v := OUT_F;
        end if;
        next_natural("the port", value_v);
        if (value_v >= PORTS_C) then
          malformed("a port below 3");
        end if;
        port_v := value_v;
        next_natural("the cycle", new_v);
        if (fact_v = IN_F) then
          for p in 0 to PORTS_C-1 loop
            next_natural("the outputs of port " & integer'image(p) & " seen before", value_v);
          end loop;
          inputs_v := inputs_v + 1;
        else
          outputs_v := outputs_v + 1;
        end if;
        packet;
      elsif (line_v(first_v to end_v) = "reset") then
        fact_v := RESET_F;
        next_natural("the cycle of the reset", new_v);
        end_of_line;
      elsif (line_v(first_v to end_v) = "end") then
        fact_v := END_F;
        next_natural("the cycle reached", new_v);
        next_natural("the number of inputs", value_v);
        if (value_v /= inputs_v) then
          malformed("a file with as many inputs as its end says, not " & integer'image(inputs_v));
        end if;
        next_natural("the number of outputs", value_v);
        if (value_v /= outputs_v) then
          malformed("a file with as many outputs as its end says, not " & integer'image(outputs_v));
        end if;
        end_of_line;
      else
        malformed("in, out, reset or end");
      end if;
      if (new_v < when_v) then
        malformed("a cycle not before that of an earlier line, " & integer'image(when_v));
      end if;
      when_v := new_v;
    end procedure next_fact;

    -- Into the FPGA ----------------------------------------------------------------------

    procedure drop(first : inout waiting_p) is
      variable next_v : waiting_p;
    begin
      while (first /= null) loop
        next_v := first.behind;
        deallocate(first.beats);
        deallocate(first);
        first := next_v;
      end loop;
    end procedure drop;

    procedure queue_packet is
      variable new_v : waiting_p;
    begin
      new_v := new waiting_t'(head => head_v, keep => keep_v, last => last_v,
        beats => new beats_t'(packet_v(0 to last_v)), behind => null);
      if (queue_v(port_v) = null) then
        queue_v(port_v) := new_v;
      else
        tail_v(port_v).behind := new_v;
      end if;
      tail_v(port_v) := new_v;
      given_v        := given_v + 1;
      idle_v         := false;
    end procedure queue_packet;

    procedure begin_reset is
    begin
      for p in 0 to PORTS_C-1 loop
        drop(current_v(p));
        drop(queue_v(p));
        valid_v(p)  := false;
        ready_v(p)  := false;
        beats_v(p)  := 0;
        rx_valid(p) <= '0';
        tx_ready(p) <= '0';
      end loop;
      reset_v := RESET_CYCLES_C;
      idle_v  := false;
      rst     <= '1';
    end procedure begin_reset;

    -- the inputs of the cycle that comes --
    procedure drive is
      variable b_v : natural;
      variable k_v : waiting_p;
    begin
      for p in 0 to PORTS_C-1 loop
        if (tx_share_v /= 0) then
          ready_v(p)  := not pauses_f(state_v, 2*p + 1, tx_share_v);
          tx_ready(p) <= '1' when ready_v(p) else '0';
        elsif not ready_v(p) then
          ready_v(p)  := true;
          tx_ready(p) <= '1';
        end if;
        next when valid_v(p);
        if (current_v(p) = null) then
          next when queue_v(p) = null;
        end if;
        if (rx_share_v /= 0) and pauses_f(state_v, 2*p + 2, rx_share_v) then
          rx_valid(p) <= '0';
          next;
        end if;
        if (current_v(p) = null) then
          current_v(p) := queue_v(p);
          queue_v(p)   := current_v(p).behind;
          current_v(p).behind := null;
          beat_v(p)    := 0;
        end if;
        k_v := current_v(p);
        b_v := beat_v(p);
        rx_data(p) <= k_v.beats(b_v);
        if (b_v = k_v.last) then
          rx_keep(p) <= k_v.keep;
          rx_last(p) <= '1';
        else
          rx_keep(p) <= x"FF";
          if (b_v = 0) then
            rx_keep(p) <= k_v.head;
          end if;
          rx_last(p) <= '0';
        end if;
        rx_valid(p) <= '1';
        valid_v(p)  := true;
        beat_v(p)   := b_v + 1;
      end loop;
    end procedure drive;

    -- Out of the FPGA --------------------------------------------------------------------

    procedure expect is
    begin
      if due_v and done_v(port_v) = false then
        malformed("one packet of a port in a cycle");
      end if;
      if not due_v then
        done_v := (others => true);
        due_v  := true;
      end if;
      deallocate(text_v(port_v));
      text_v(port_v)  := line_v;
      line_v          := null;
      where_v(port_v) := number_v;
      heads_v(port_v) := head_v;
      keeps_v(port_v) := keep_v;
      lasts_v(port_v) := last_v;
      done_v(port_v)  := false;
      expect_v(port_v)(0 to last_v) := packet_v(0 to last_v);
      checked_v := checked_v + 1;
    end procedure expect;

    -- the words of a beat that keep names --
    function same_f(expected, actual : beat_t; keep : keep_t) return boolean is
      variable clean_v : beat_t;
    begin
      if (expected = actual) then
        return true;
      end if;
      clean_v := clean_f(actual);
      for k in 0 to 7 loop
        if (keep(k) = '1') and (expected(32*k+31 downto 32*k) /= clean_v(32*k+31 downto 32*k)) then
          return false;
        end if;
      end loop;
      return true;
    end function same_f;

    procedure take(p : natural) is
      constant B_C    : natural := beats_v(p);
      variable ones_v : keep_t;
      variable form_v : keep_t;
      variable same_v : boolean;
    begin
      ones_v := tx_keep(p);
      if is_x(ones_v) or is_x(tx_last(p)) then
        wrong(", port " & integer'image(p) & ": tx_keep is " & to_string(ones_v) & " and tx_last " & to_string(tx_last(p)));
      end if;
      if (B_C = 0) then
        if ((p = 2) and (ones_v /= x"FF")) or ((p /= 2) and (ones_v /= x"07") and (ones_v /= x"0F")) then
          wrong(", port " & integer'image(p) & ": tx_keep is " & to_string(ones_v) & " on a header");
        end if;
      elsif (B_C > packet_t'high) then
        wrong(", port " & integer'image(p) & ": a packet has more than " & integer'image(PAYLOAD_C) & " words of payload");
      else
        same_v := false;
        for k in 1 to 8 loop
          same_v := same_v or (ones_v = KEEP_C(k));
        end loop;
        if not same_v or ((tx_last(p) = '0') and (ones_v /= x"FF")) then
          wrong(", port " & integer'image(p) & ": tx_keep is " & to_string(ones_v) & " on a beat whose tx_last is " & to_string(tx_last(p)));
        end if;
      end if;
      got_v(p)(B_C) := tx_data(p);
      beats_v(p)    := B_C + 1;
      if (tx_last(p) = '0') then
        return;
      end if;

      -- the packet is complete --
      beats_v(p) := 0;
      form_v     := x"FF";
      if (p /= 2) then
        form_v := x"07";
        if (got_v(p)(0)(29) = '1') then
          form_v := x"0F";
        end if;
      end if;
      if (not due_v) or done_v(p) then
        wrong(", port " & integer'image(p) & ": a packet that is not in the recording" & actual_f(p, B_C, form_v, ones_v));
      end if;
      same_v := (B_C = lasts_v(p)) and (ones_v = keeps_v(p)) and same_f(expect_v(p)(0), got_v(p)(0), heads_v(p));
      for k in 1 to B_C loop
        exit when not same_v;
        if (k < B_C) then
          same_v := same_f(expect_v(p)(k), got_v(p)(k), x"FF");
        else
          same_v := same_f(expect_v(p)(k), got_v(p)(k), ones_v);
        end if;
      end loop;
      if not same_v then
        wrong(", port " & integer'image(p) & ": another packet than recorded" & expected_f(p) & actual_f(p, B_C, form_v, ones_v));
      end if;
      done_v(p) := true;
    end procedure take;

    -- the outputs of the cycle that ends --
    procedure sample is
    begin
      traffic_v := false;
      for p in 0 to PORTS_C-1 loop
        if (rx_ready(p) /= '0') and (rx_ready(p) /= '1') then
          wrong(", port " & integer'image(p) & ": rx_ready is " & to_string(rx_ready(p)));
        end if;
        if valid_v(p) then
          traffic_v := true;
          if (rx_ready(p) = '1') then
            valid_v(p)  := false;
            if (beat_v(p) > current_v(p).last) then
              drop(current_v(p));
            end if;
          end if;
        end if;
        if (tx_valid(p) = '1') then
          traffic_v := true;
          if ready_v(p) then
            take(p);
          end if;
        elsif (tx_valid(p) /= '0') then
          wrong(", port " & integer'image(p) & ": tx_valid is " & to_string(tx_valid(p)));
        end if;
        traffic_v := traffic_v or (beats_v(p) /= 0);
      end loop;
      if due_v then
        for p in 0 to PORTS_C-1 loop
          if not done_v(p) then
            wrong(", port " & integer'image(p) & ": the recorded packet did not come" & expected_f(p));
          end if;
        end loop;
      end if;
      if (busy /= '0') and (busy /= '1') then
        wrong(": busy is " & to_string(busy));
      end if;
      if traffic_v then
        if idle_v then
          wrong(": something comes out of the FPGA although busy was 0 and nothing was given since");
        end if;
      elsif (busy = '0') and (queue_v(0) = null) and (queue_v(1) = null) and (queue_v(2) = null) and
            (current_v(0) = null) and (current_v(1) = null) and (current_v(2) = null) then
        idle_v := true;
      end if;
    end procedure sample;

    -- The end ----------------------------------------------------------------------------

    procedure passed is
      variable out_v : line;
    begin
      if due_v then
        malformed("an end after the cycle of the last output");
      end if;
      while not endfile(recording) loop
        readline(recording, line_v);
        number_v := number_v + 1;
        at_v     := 1;
        next_field;
        if (end_v >= first_v) then
          malformed("nothing after the line 'end'");
        end if;
      end loop;
      write(out_v, "stimuli_tb passed: " & integer'image(given_v) & " inputs, " & integer'image(checked_v) & " outputs, " &
        integer'image(cycle_v - base_v) & " cycles");
      writeline(output, out_v);
      finish(0);
      wait;
    end procedure passed;

  begin
    file_open(status_v, recording, FILE_G, read_mode);
    if (status_v /= open_ok) then
      report "the recording '" & FILE_G & "' cannot be opened (generic FILE_G)" severity failure;
      wait;
    end if;

    -- the head --
    next_line;
    if (number_v /= 1) or (line_v(first_v to end_v) /= "cosim-stimuli") then
      malformed("'cosim-stimuli 1' in the first line");
    end if;
    next_field;
    if (line_v(first_v to end_v) /= "1") then
      malformed("version 1 of the format");
    end if;
    end_of_line;
    fact_v := FPGA_F;
    while (fact_v /= RESET_F) and (fact_v /= START_F) loop
      next_line;
      head;
    end loop;

    -- a recording that was begun while the FPGA ran: nothing is known of the state before its first reset --
    while (fact_v /= RESET_F) loop
      next_fact;
      if (fact_v = END_F) then
        malformed("a reset; without one there is nothing that can be replayed");
      end if;
    end loop;

    base_v    := when_v;
    cycle_v   := when_v;
    fact_at_v := when_v;
    state_v   := seed_v + number_f(cycle_v)*STEPS_C(6);
    loop
      due_v := false;
      if (when_v = cycle_v) then
        fact_at_v := cycle_v;
        while (when_v = cycle_v) loop
          case fact_v is
            when RESET_F => begin_reset;
            when IN_F    => queue_packet;
            when OUT_F   => expect;
            when others  => passed;
          end case;
          next_fact;
        end loop;
      elsif (cycle_v - fact_at_v > SILENCE_G) then
        wrong(": no line for more than " & integer'image(SILENCE_G) & " cycles; the next one is line " & integer'image(number_v) & " of " & FILE_G);
      end if;
      if (reset_v = 0) then
        drive;
      end if;

      -- inputs change with the falling edge, outputs are sampled just before the rising one --
      clk <= '0';
      wait for 2 ns;
      if (reset_v = 0) then
        sample;
      else
        if due_v then
          wrong(": the recording has an output in a cycle of reset");
        end if;
        reset_v := reset_v - 1;
      end if;
      clk <= '1';
      wait for 2 ns;

      -- what the sample decided reaches the pins with the next falling edge --
      for p in 0 to PORTS_C-1 loop
        if not valid_v(p) and (rx_valid(p) = '1') then
          rx_valid(p) <= '0';
        end if;
      end loop;
      if (reset_v = 0) and (rst = '1') then
        rst <= '0';
      end if;
      cycle_v := cycle_v + 1;
      if (tx_share_v /= 0) or (rx_share_v /= 0) then
        state_v := state_v + STEPS_C(6);
      end if;
    end loop;
  end process replay;

end architecture stimuli_tb_sim;
