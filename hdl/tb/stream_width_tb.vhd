-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Bench of stream_narrow and stream_widen: wide packets to 256 bits and back       --
-- -------------------------------------------------------------------------------- --
-- Packets of all lengths, pauses everywhere, resets at any beat. Words follow from --
-- the packet's number, so that each side knows what has to come. Lanes without     --
-- keep carry nothing and are not looked at.                                        --
-- Ends with the line "stream_width_tb: passed"; anything else is a failure.        --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;
use ieee.math_real.uniform;

library std;
use std.env.finish;

entity stream_width_tb is
  generic (
    DATA_WIDTH_G : positive := 512;
    SEED_G       : positive := 1
  );
end entity stream_width_tb;

architecture stream_width_tb_sim of stream_width_tb is

  constant ROUNDS_C  : positive := 12;
  constant PACKETS_C : positive := 200; -- of a round; all but the last one are broken off by a reset
  constant LANES_C   : positive := DATA_WIDTH_G/32;

  signal clk : std_ulogic := '0';
  signal rst : std_ulogic := '1';

  -- into stream_narrow, between the two, out of stream_widen --
  signal in_data   : std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
  signal in_keep   : std_ulogic_vector(LANES_C-1 downto 0);
  signal in_last   : std_ulogic;
  signal in_valid  : std_ulogic := '0';
  signal in_ready  : std_ulogic;
  signal mid_data  : std_ulogic_vector(255 downto 0);
  signal mid_keep  : std_ulogic_vector(7 downto 0);
  signal mid_last  : std_ulogic;
  signal mid_valid : std_ulogic;
  signal mid_ready : std_ulogic;
  signal mid_go    : std_ulogic := '0'; -- beats may move there
  signal mid_taken : std_ulogic;        -- as stream_narrow sees it
  signal mid_given : std_ulogic;        -- as stream_widen sees it
  signal out_data  : std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
  signal out_keep  : std_ulogic_vector(LANES_C-1 downto 0);
  signal out_last  : std_ulogic;
  signal out_valid : std_ulogic;
  signal out_ready : std_ulogic := '0';

  -- packet p: its header's and its payload's DWs --
  function header_f(p : natural) return natural is
  begin
    case p mod 3 is
      when 0      => return 3;
      when 1      => return 4;
      when others => return 8;
    end case;
  end function header_f;

  function payload_f(p : natural) return natural is
  begin
    return (13*p + p/5) mod (3*LANES_C);
  end function payload_f;

  -- beats of `lanes` lanes --
  function beats_f(p : natural; lanes : positive) return positive is
  begin
    return 1 + (payload_f(p) + lanes - 1)/lanes;
  end function beats_f;

  -- lanes in use of beat b --
  function used_f(p : natural; b : natural; lanes : positive) return natural is
  begin
    if b = 0 then
      return header_f(p);
    end if;
    return minimum(lanes, payload_f(p) - lanes*(b - 1));
  end function used_f;

  function keep_f(p : natural; b : natural; lanes : positive) return std_ulogic_vector is
    variable keep_v : std_ulogic_vector(lanes-1 downto 0) := (others => '0');
  begin
    keep_v(used_f(p, b, lanes)-1 downto 0) := (others => '1');
    return keep_v;
  end function keep_f;

  function data_f(p : natural; b : natural; lanes : positive) return std_ulogic_vector is
    variable data_v : std_ulogic_vector(32*lanes-1 downto 0) := (others => '-');
    variable dw_v   : natural;
  begin
    for i in 0 to used_f(p, b, lanes)-1 loop
      dw_v := i;
      if b > 0 then
        dw_v := 8 + lanes*(b - 1) + i;
      end if;
      data_v(32*i+31 downto 32*i) := std_ulogic_vector(to_unsigned(65536*(p + 1) + dw_v, 32));
    end loop;
    return data_v;
  end function data_f;

  -- the lanes in use agree --
  function same_f(data : std_ulogic_vector; p : natural; b : natural) return boolean is
    constant USED_C : natural := used_f(p, b, data'length/32);
    constant WANT_C : std_ulogic_vector(data'length-1 downto 0) := data_f(p, b, data'length/32);
    variable data_v : std_ulogic_vector(data'length-1 downto 0);
  begin
    data_v := data;
    return data_v(32*USED_C-1 downto 0) = WANT_C(32*USED_C-1 downto 0);
  end function same_f;

begin

  clk <= not clk after 2 ns;

  narrow_inst: entity work.stream_narrow
  generic map (DATA_WIDTH_G => DATA_WIDTH_G)
  port map (
    clk_i => clk, rst_i => rst,
    data_i => in_data, keep_i => in_keep, last_i => in_last, valid_i => in_valid, ready_o => in_ready,
    data_o => mid_data, keep_o => mid_keep, last_o => mid_last, valid_o => mid_valid, ready_i => mid_taken
  );

  mid_taken <= mid_ready and mid_go;
  mid_given <= mid_valid and mid_go;

  widen_inst: entity work.stream_widen
  generic map (DATA_WIDTH_G => DATA_WIDTH_G)
  port map (
    clk_i => clk, rst_i => rst,
    data_i => mid_data, keep_i => mid_keep, last_i => mid_last, valid_i => mid_given, ready_o => mid_ready,
    data_o => out_data, keep_o => out_keep, last_o => out_last, valid_o => out_valid, ready_i => out_ready
  );

  bench: process

    variable seed1_v : positive := SEED_G;
    variable seed2_v : positive := 4711;

    impure function chance_f(percent : natural) return boolean is
      variable x_v : real;
    begin
      uniform(seed1_v, seed2_v, x_v);
      return x_v*100.0 < real(percent);
    end function chance_f;

    impure function bit_f(percent : natural) return std_ulogic is
    begin
      if chance_f(percent) then
        return '1';
      end if;
      return '0';
    end function bit_f;

    -- what is on its way at each place: packet and beat --
    variable in_p_v, mid_p_v, out_p_v : natural;
    variable in_b_v, mid_b_v, out_b_v : natural;
    variable wait_v                   : natural;
    variable share_v                  : natural;
    variable shown_v                  : boolean;
    variable data_v                   : std_ulogic_vector(DATA_WIDTH_G-1 downto 0);

    procedure step(p : inout natural; b : inout natural; lanes : positive) is
    begin
      b := b + 1;
      if b = beats_f(p, lanes) then
        p := p + 1;
        b := 0;
      end if;
    end procedure step;

    impure function is_last_f(p : natural; b : natural; lanes : positive) return std_ulogic is
    begin
      if b = beats_f(p, lanes) - 1 then
        return '1';
      end if;
      return '0';
    end function is_last_f;

  begin
    for round in 1 to ROUNDS_C loop
      rst <= '1';
      in_valid <= '0';
      mid_go <= '0';
      for i in 1 to 4 loop
        wait until rising_edge(clk);
      end loop;
      rst <= '0';
      in_p_v := 1000*round;
      mid_p_v := in_p_v;
      out_p_v := in_p_v;
      in_b_v := 0;
      mid_b_v := 0;
      out_b_v := 0;
      wait_v := 0;
      shown_v := false;
      share_v := 20 + 16*(round mod 6); -- of 100 cycles; 100: no pause
      loop
        -- next beat in, unless one still waits; what may move is chosen for as long as it has not moved --
        if in_valid = '0' or in_ready = '1' then
          in_valid <= '0';
          if in_p_v < 1000*round + PACKETS_C and chance_f(share_v) then
            in_data <= data_f(in_p_v, in_b_v, LANES_C);
            in_keep <= keep_f(in_p_v, in_b_v, LANES_C);
            in_last <= is_last_f(in_p_v, in_b_v, LANES_C);
            in_valid <= '1';
            step(in_p_v, in_b_v, LANES_C);
          end if;
        end if;
        if mid_given = '0' or mid_ready = '1' then
          mid_go <= bit_f(share_v);
        end if;
        out_ready <= bit_f(share_v);
        wait until rising_edge(clk);

        if mid_given = '1' and mid_ready = '1' then
          assert same_f(mid_data, mid_p_v, mid_b_v) and mid_keep = keep_f(mid_p_v, mid_b_v, 8) and mid_last = is_last_f(mid_p_v, mid_b_v, 8)
            report "packet " & integer'image(mid_p_v) & ", beat " & integer'image(mid_b_v) & " of 256 bits is wrong" severity failure;
          step(mid_p_v, mid_b_v, 8);
        end if;
        if shown_v then
          assert out_valid = '1' and same_f(data_v, out_p_v, out_b_v) report "a beat changed before it was taken" severity failure;
        end if;
        data_v := out_data;
        shown_v := out_valid = '1' and out_ready = '0';
        wait_v := wait_v + 1;
        if out_valid = '1' then
          assert same_f(out_data, out_p_v, out_b_v) and out_keep = keep_f(out_p_v, out_b_v, LANES_C) and out_last = is_last_f(out_p_v, out_b_v, LANES_C)
            report "packet " & integer'image(out_p_v) & ", beat " & integer'image(out_b_v) & " is wrong" severity failure;
          if out_ready = '1' then
            step(out_p_v, out_b_v, LANES_C);
            wait_v := 0;
          end if;
        end if;
        assert wait_v < 1000 report "nothing comes out any more" severity failure;
        exit when out_p_v = 1000*round + PACKETS_C;
        exit when round < ROUNDS_C and out_p_v > 1000*round + 50 and chance_f(2);
      end loop;
    end loop;
    for i in 1 to 20 loop
      in_valid <= '0';
      mid_go <= '1';
      wait until rising_edge(clk);
      assert (i = 1 or out_valid = '0') and mid_p_v = out_p_v report "more came than was sent" severity failure;
    end loop;
    std.textio.write(std.textio.output, "stream_width_tb: passed" & LF);
    finish;
  end process bench;

end architecture stream_width_tb_sim;
