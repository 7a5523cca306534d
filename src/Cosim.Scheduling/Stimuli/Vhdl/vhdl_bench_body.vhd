  constant RESET_CYCLES_C : positive := 8;

  type keeps_t is array (0 to 8) of keep_t;
  constant KEEP_C : keeps_t := (x"00", x"01", x"03", x"07", x"0F", x"1F", x"3F", x"7F", x"FF");

  -- Back-pressure: numbers of 64 bits as five limbs of 13, whose products are integers --
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
  type steps_t is array (0 to 6) of number_t;
  constant STEPS_C : steps_t := (
    number_f(0)*STEP_C, STEP_C, number_f(2)*STEP_C, number_f(3)*STEP_C, number_f(4)*STEP_C, number_f(5)*STEP_C,
    number_f(6)*STEP_C);

  -- true: in this cycle the lane pauses --
  impure function pauses_f(cycle : natural; lane : natural; share : natural) return boolean is
    variable x_v : number_t;
  begin
    if (share = 0) then
      return false;
    end if;
    x_v := number_f(SEED_C) + number_f(cycle)*STEPS_C(6) + STEPS_C(lane);
    x_v := mixed_f(x_v, 4) * FIRST_C;
    x_v := mixed_f(x_v, 1) * SECOND_C;
    return x_v(4)/16 < share;
  end function pauses_f;

  impure function in_reset_f(cycle : natural) return boolean is
  begin
    for k in RESETS_C'range loop
      if (cycle >= RESETS_C(k)) and (cycle - RESETS_C(k) < RESET_CYCLES_C) then
        return true;
      end if;
    end loop;
    return false;
  end function in_reset_f;

  -- Packets as beats ----------------------------------------------------------------------

  -- number of a packet's last beat --
  function last_f(packet : packet_t) return natural is
  begin
    return (packet.payload_dwords + 7) / 8;
  end function last_f;

  function keep_f(packet : packet_t; beat : natural) return keep_t is
  begin
    if (beat = 0) then
      return KEEP_C(packet.dwords);
    elsif (beat < last_f(packet)) then
      return KEEP_C(8);
    else
      return KEEP_C((packet.payload_dwords - 1) mod 8 + 1);
    end if;
  end function keep_f;

  function beat_f(packet : packet_t; words : words_t; beat : natural) return beat_t is
    constant KEEP_N : keep_t := keep_f(packet, beat);
    variable res_v  : beat_t := (others => '0');
  begin
    for k in 0 to 7 loop
      if (KEEP_N(k) = '1') then
        if (beat = 0) then
          res_v(32*k+31 downto 32*k) := packet.header(k);
        else
          res_v(32*k+31 downto 32*k) := words(packet.payload + 8*(beat-1) + k);
        end if;
      end if;
    end loop;
    return res_v;
  end function beat_f;

  function clean_f(data : beat_t; keep : keep_t) return beat_t is
    variable res_v : beat_t := (others => '0');
  begin
    for k in data'range loop
      if (keep(k/32) = '1') and ((data(k) = '1') or (data(k) = 'H')) then
        res_v(k) := '1';
      end if;
    end loop;
    return res_v;
  end function clean_f;

  -- words of a beat, lowest first --
  function text_f(data : beat_t; keep : keep_t) return string is
    variable res_v : string(1 to 72) := (others => ' ');
  begin
    for k in 0 to 7 loop
      if (keep(k) = '1') then
        res_v(9*k+2 to 9*k+9) := to_hstring(data(32*k+31 downto 32*k));
      end if;
    end loop;
    for k in res_v'reverse_range loop
      if (res_v(k) /= ' ') then
        return res_v(1 to k);
      end if;
    end loop;
    return "";
  end function text_f;

  -- Ports ---------------------------------------------------------------------------------

  procedure offer(
    number       : natural;
    packets      : packets_t;
    words        : words_t;
    signal cycle : in  natural;
    signal rst   : in  std_logic;
    signal clk   : in  std_logic;
    signal data  : out beat_t;
    signal keep  : out keep_t;
    signal last  : out std_logic;
    signal valid : out std_logic;
    signal ready : in  std_logic) is
    variable next_v  : natural := 0; -- packet
    variable beat_v  : natural := 0; -- its next beat
    variable shown_v : boolean := false;
  begin
    loop
      wait until falling_edge(clk);
      if (rst = '1') then
        shown_v := false;
        if (beat_v /= 0) then
          next_v := next_v + 1;
          beat_v := 0;
        end if;
      elsif not shown_v and (next_v < packets'length) and not pauses_f(cycle, 2*number + 2, INTO_SHARE_C) then
        if (beat_v /= 0) or (packets(next_v).cycle <= cycle) then
          data    <= beat_f(packets(next_v), words, beat_v);
          keep    <= keep_f(packets(next_v), beat_v);
          last    <= '1' when (beat_v = last_f(packets(next_v))) else '0';
          shown_v := true;
        end if;
      end if;
      valid <= '1' when shown_v else '0';
      wait until rising_edge(clk);
      if (rst = '0') then
        assert (ready = '0') or (ready = '1')
          report "cycle " & integer'image(cycle) & ": p" & integer'image(number) & "_rx_ready_o is " & to_string(ready) severity failure;
        if shown_v and (ready = '1') then
          shown_v := false;
          beat_v  := beat_v + 1;
          if (beat_v > last_f(packets(next_v))) then
            next_v := next_v + 1;
            beat_v := 0;
          end if;
        end if;
      end if;
    end loop;
  end procedure offer;

  procedure take(
    number       : natural;
    signal cycle : in  natural;
    signal rst   : in  std_logic;
    signal clk   : in  std_logic;
    signal ready : out std_logic) is
  begin
    loop
      wait until falling_edge(clk);
      ready <= '0' when (rst = '1') or pauses_f(cycle, 2*number + 1, OUT_SHARE_C) else '1';
    end loop;
  end procedure take;

  procedure expect(
    number       : natural;
    packets      : packets_t;
    words        : words_t;
    signal cycle : in  natural;
    signal rst   : in  std_logic;
    signal clk   : in  std_logic;
    signal data  : in  beat_t;
    signal keep  : in  keep_t;
    signal last  : in  std_logic;
    signal valid : in  std_logic;
    signal ready : in  std_logic) is

    type beats_t is array (0 to 128) of beat_t;
    variable got_v  : beats_t;      -- the packet under way
    variable beat_v : natural := 0; -- its next beat
    variable next_v : natural := 0; -- packet expected
    variable ended_v : boolean;

    procedure wrong(what : string) is
    begin
      report "cycle " & integer'image(cycle) & ", port " & integer'image(number) & ": " & what severity failure;
      wait;
    end procedure wrong;

    impure function name_f return string is
    begin
      return "P" & integer'image(number) & "_OUT_C(" & integer'image(next_v) & ") of cycle " & integer'image(packets(next_v).cycle);
    end function name_f;
  begin
    loop
      wait until rising_edge(clk);
      if (rst = '1') then
        beat_v := 0;
        next;
      end if;
      ended_v := false;
      if (valid /= '0') and (valid /= '1') then
        wrong("tx_valid is " & to_string(valid));
      end if;
      if (valid = '1') and (ready = '1') then
        if is_x(keep) or is_x(last) then
          wrong("tx_keep is " & to_string(keep) & " and tx_last " & to_string(last));
        elsif (beat_v > got_v'high) then
          wrong("a packet has more than 1024 words of payload");
        end if;
        got_v(beat_v) := clean_f(data, keep);
        if (last = '0') then
          beat_v := beat_v + 1;
        else
          ended_v := true;
        end if;
      end if;
      if ended_v and (cycle >= FROM_C) then
        if (next_v >= packets'length) then
          wrong("a packet that is not in the recording, header" & text_f(got_v(0), x"FF"));
        elsif (packets(next_v).cycle /= cycle) then
          wrong("a packet, header" & text_f(got_v(0), x"FF") & ", where " & name_f & " is to come");
        elsif (beat_v /= last_f(packets(next_v))) or (keep /= keep_f(packets(next_v), beat_v)) then
          wrong("another length than that of " & name_f & ": " & integer'image(beat_v + 1) & " beats, tx_keep of the last one " & to_string(keep));
        end if;
        for k in 0 to beat_v loop
          if (clean_f(got_v(k), keep_f(packets(next_v), k)) /= beat_f(packets(next_v), words, k)) then
            wrong("another packet than " & name_f & ", beat " & integer'image(k) &
              LF & "  expected" & text_f(beat_f(packets(next_v), words, k), keep_f(packets(next_v), k)) &
              LF & "  actual  " & text_f(got_v(k), keep_f(packets(next_v), k)));
          end if;
        end loop;
        next_v := next_v + 1;
      elsif (next_v < packets'length) then
        if (packets(next_v).cycle = cycle) then
          wrong(name_f & " did not come");
        end if;
      end if;
      if ended_v then
        beat_v := 0;
      end if;
    end loop;
  end procedure expect;

