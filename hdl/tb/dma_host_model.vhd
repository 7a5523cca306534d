-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Host behind a port, for the DMA benches: takes MRd and MWr, gives completions    --
-- -------------------------------------------------------------------------------- --
-- Every packet is held against the rules of CONTRACT.md, 2; the first that breaks  --
-- one ends the simulation. With stress_i completions come in any order, in pieces  --
-- that end at random 64-byte boundaries, with gaps, and ready_o is random.         --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.dma_tb_pkg.all;
use work.dma_tb_memory_pkg.all;

entity dma_host_model is
  generic (
    PORT_G      : natural;
    FUNCTIONS_G : positive;
    SEED_G      : positive
  );
  port (
    clk_i       : in  std_ulogic;
    latency_i   : in  natural; -- cycles from MRd to its first completion
    stress_i    : in  std_ulogic;
    bme_i       : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    mps_i       : in  code3_array_t(0 to FUNCTIONS_G-1);
    mrrs_i      : in  code3_array_t(0 to FUNCTIONS_G-1);
    requester_i : in  std_ulogic_vector(15 downto 0);
    tx_data_i   : in  std_ulogic_vector(255 downto 0);
    tx_keep_i   : in  std_ulogic_vector(7 downto 0);
    tx_last_i   : in  std_ulogic;
    tx_valid_i  : in  std_ulogic;
    tx_ready_o  : out std_ulogic;
    cpl_data_o  : out std_ulogic_vector(255 downto 0);
    cpl_keep_o  : out std_ulogic_vector(7 downto 0);
    cpl_last_o  : out std_ulogic;
    cpl_valid_o : out std_ulogic;
    cpl_ready_i : in  std_ulogic
  );
end entity dma_host_model;

architecture sim of dma_host_model is

  type read_t is record
    asked     : boolean;
    due       : natural;
    number    : natural;
    requester : std_ulogic_vector(15 downto 0);
    index     : natural; -- first byte asked for
    left      : natural; -- bytes
  end record read_t;
  type reads_t is array (0 to 31) of read_t;
  type offs_t is array (0 to FUNCTIONS_G-1) of natural;

begin

  model: process
    variable seed1     : positive := SEED_G;
    variable seed2     : positive := 77 + PORT_G;
    variable time_v    : natural := 0;
    variable dice_v    : integer;
    variable off_v     : offs_t := (others => 1000); -- cycles since Bus Master Enable was 1
    -- requests --
    variable reads_v   : reads_t := (others => (false, 0, 0, x"0000", 0, 0));
    variable number_v  : natural := 0;
    variable header_v  : std_ulogic_vector(127 downto 0);
    variable long_v    : boolean;
    variable dws_v     : natural;
    variable address_v : std_ulogic_vector(63 downto 0);
    variable first_v   : std_ulogic_vector(3 downto 0);
    variable last_v    : std_ulogic_vector(3 downto 0);
    variable be_v      : std_ulogic_vector(3 downto 0);
    variable fn_v      : natural;
    variable tag_v     : natural;
    variable index_v   : natural := 0;
    variable lead_v    : natural; -- bytes not enabled before the first
    variable trail_v   : natural; -- and after the last
    variable write_left_v : natural := 0; -- DWs
    variable first_dw_v   : boolean := false;
    variable held_v       : boolean := false; -- a beat was offered and not taken
    variable held_data_v  : std_ulogic_vector(255 downto 0);
    variable keep_v       : std_ulogic_vector(7 downto 0);
    -- completions --
    variable pick_v     : integer;
    variable count_v    : natural;
    variable piece_v    : natural := 0; -- bytes of the completion under way
    variable beat_dw_v  : natural := 0; -- its DWs still to send
    variable from_v     : natural := 0; -- index of the next DW to send
    variable stray_v    : natural := 0;
    variable cpl_v      : tlp_header_t;
    variable status_v   : std_ulogic_vector(2 downto 0);

    -- be of a legal first or last DW: its bytes are contiguous --
    procedure check_be(be : std_ulogic_vector(3 downto 0); what : string; from_top : boolean) is
      variable good_v : boolean;
    begin
      if from_top then
        good_v := be = "1111" or be = "1110" or be = "1100" or be = "1000";
      else
        good_v := be = "1111" or be = "0111" or be = "0011" or be = "0001";
      end if;
      assert good_v report what & " byte enables not contiguous: " & to_string(be) severity failure;
    end procedure check_be;

  begin
    tx_ready_o <= '1';
    cpl_valid_o <= '0';
    loop
      wait until rising_edge(clk_i);
      time_v := time_v + 1;
      for f in 0 to FUNCTIONS_G-1 loop
        off_v(f) := off_v(f) + 1;
        if bme_i(f) = '1' then
          off_v(f) := 0;
        end if;
      end loop;

      -- requests -----------------------------------------------------------------------
      if tx_valid_i = '1' then
        assert not held_v or held_data_v = tx_data_i report "beat changed while waiting for ready" severity failure;
      else
        assert not held_v report "valid fell before ready" severity failure;
      end if;
      held_v := tx_valid_i = '1' and tx_ready_o = '0';
      held_data_v := tx_data_i;
      if tx_valid_i = '1' and tx_ready_o = '1' then
        assert not is_x(tx_data_i) report "undefined bits sent" severity failure;
        if write_left_v = 0 then
          header_v := tx_data_i(127 downto 0);
          long_v := header_v(29) = '1';
          assert tx_data_i(255 downto 128) = (255 downto 128 => '0') report "header beat: DWs above 3 are not 0" severity failure;
          assert header_v(28 downto 24) = "00000" and header_v(31) = '0' and header_v(23 downto 10) = (23 downto 10 => '0')
            report "not an MRd or MWr: " & to_hstring(header_v(31 downto 0)) severity failure;
          if long_v then
            assert tx_keep_i = x"0F" report "4-DW header: keep" severity failure;
            address_v := header_v(95 downto 64) & header_v(127 downto 96);
            assert address_v(63 downto 32) = HIGH_C report "address outside memory: " & to_hstring(address_v) severity failure;
          else
            assert tx_keep_i = x"07" report "3-DW header: keep" severity failure;
            address_v := x"00000000" & header_v(95 downto 64);
          end if;
          assert unsigned(address_v(31 downto 0)) < PART_BYTES_C and address_v(1 downto 0) = "00"
            report "address outside memory: " & to_hstring(address_v) severity failure;
          index_v := to_integer(unsigned(address_v(31 downto 0)));
          if long_v then
            index_v := index_v + PART_BYTES_C;
          end if;
          dws_v := to_integer(unsigned(header_v(9 downto 0)));
          first_v := header_v(35 downto 32);
          last_v := header_v(39 downto 36);
          tag_v := to_integer(unsigned(header_v(47 downto 40)));
          assert dws_v /= 0 report "length 0" severity failure;
          assert index_v mod 4096 + 4 * dws_v <= 4096 report "request crosses 4 KiB" severity failure;
          assert unsigned(header_v(63 downto 48)) >= unsigned(requester_i) and unsigned(header_v(63 downto 48)) < unsigned(requester_i) + FUNCTIONS_G
            report "requester id " & to_hstring(header_v(63 downto 48)) severity failure;
          fn_v := to_integer(unsigned(header_v(63 downto 48)) - unsigned(requester_i));
          assert off_v(fn_v) < 64 report "request without Bus Master Enable" severity failure; -- what was queued may leave
          if dws_v = 1 then
            assert last_v = "0000" and first_v /= "0000" report "one DW: Last BE not 0 or First BE 0" severity failure;
          else
            check_be(first_v, "first", true);
            check_be(last_v, "last", false);
          end if;
          if header_v(30) = '0' then
            assert tx_last_i = '1' report "MRd of more than one beat" severity failure;
            assert 4 * dws_v <= 128 * 2**to_integer(unsigned(mrrs_i(fn_v))) report "MRd above Max_Read_Request_Size" severity failure;
            assert tag_v < 32 report "tag above 31" severity failure;
            assert not reads_v(tag_v).asked report "tag used twice" severity failure;
            assert index_v mod PART_BYTES_C < TARGET_C report "reads from where it shall write" severity failure;
            reads.add(PORT_G, 1);
            lead_v := 0;
            while first_v(lead_v) = '0' loop
              lead_v := lead_v + 1;
            end loop;
            trail_v := 0;
            be_v := last_v;
            if dws_v = 1 then
              be_v := first_v;
            end if;
            while be_v(3-trail_v) = '0' loop
              trail_v := trail_v + 1;
            end loop;
            if page_status_f(index_v) /= 2 then
              number_v := number_v + 1;
              reads_v(tag_v) := (true, time_v + latency_i - 1, number_v, header_v(63 downto 48), index_v + lead_v, 4 * dws_v - lead_v - trail_v);
            end if;
          else
            assert tx_last_i = '0' report "MWr without payload" severity failure;
            assert 4 * dws_v <= 128 * 2**to_integer(unsigned(mps_i(fn_v))) report "MWr above Max_Payload_Size" severity failure;
            assert index_v mod PART_BYTES_C >= TARGET_C report "writes to where it shall read" severity failure;
            write_left_v := dws_v;
            first_dw_v := true;
          end if;
        else
          for i in 0 to 7 loop
            keep_v(i) := '0';
            if i < write_left_v then
              keep_v(i) := '1';
            end if;
          end loop;
          assert tx_keep_i = keep_v report "MWr: keep " & to_string(tx_keep_i) & ", expected " & to_string(keep_v) severity failure;
          for i in 0 to 7 loop
            if write_left_v /= 0 then
              be_v := "1111";
              if first_dw_v then
                be_v := first_v;
              elsif write_left_v = 1 then
                be_v := last_v;
              end if;
              for b in 0 to 3 loop
                if be_v(b) = '1' then
                  memory.put(PORT_G, index_v + b, to_integer(unsigned(tx_data_i(32*i+8*b+7 downto 32*i+8*b))));
                else
                  assert tx_data_i(32*i+8*b+7 downto 32*i+8*b) = x"00" report "byte sent that is not enabled" severity failure;
                end if;
              end loop;
              first_dw_v := false;
              index_v := index_v + 4;
              write_left_v := write_left_v - 1;
            end if;
          end loop;
          if tx_last_i = '1' then
            assert write_left_v = 0 report "MWr shorter than its length" severity failure;
            writes.add(PORT_G, 1);
          else
            assert write_left_v /= 0 report "MWr longer than its length" severity failure;
          end if;
        end if;
      end if;
      if stress_i = '1' then
        draw(seed1, seed2, 0, 3, dice_v);
        tx_ready_o <= '1' when dice_v /= 0 else '0';
      else
        tx_ready_o <= '1';
      end if;

      -- completions --------------------------------------------------------------------
      if cpl_valid_o = '0' or cpl_ready_i = '1' then
        cpl_valid_o <= '0';
        dice_v := 1;
        if stress_i = '1' then
          draw(seed1, seed2, 0, 4, dice_v);
        end if;
        if dice_v = 0 then
          null; -- a gap
        elsif stress_i = '1' and stray_v > 0 and beat_dw_v = 0 then -- one that continues no read
          stray_v := 0;
          draw(seed1, seed2, 0, 31, pick_v);
          cpl_data_o <= (others => '0');
          cpl_data_o(127 downto 0) <= completion_header_f(
            length => "0000000011", completer => x"0000", status => CPL_SC_C, byte_count => x"209", requester => requester_i,
            tag => std_ulogic_vector(to_unsigned(8 * pick_v, 8)), lower_address => "0000000"); -- no read is 521 bytes long
          cpl_keep_o <= x"07";
          cpl_valid_o <= '1';
          cpl_last_o <= '0';
          from_v := 0;
          beat_dw_v := 3;
        elsif beat_dw_v /= 0 then
          cpl_data_o <= (others => 'X');
          cpl_keep_o <= x"00";
          cpl_valid_o <= '1';
          for i in 0 to 7 loop
            if beat_dw_v /= 0 then
              for b in 0 to 3 loop
                cpl_data_o(32*i+8*b+7 downto 32*i+8*b) <= std_ulogic_vector(to_unsigned(memory.get(PORT_G, from_v + b), 8));
              end loop;
              cpl_keep_o(i) <= '1';
              from_v := from_v + 4;
              beat_dw_v := beat_dw_v - 1;
            end if;
          end loop;
          cpl_last_o <= '1' when beat_dw_v = 0 else '0';
        else
          -- oldest read that is due, or with stress any --
          pick_v := -1;
          count_v := 0;
          for i in 0 to 31 loop
            if reads_v(i).asked and reads_v(i).due <= time_v then
              count_v := count_v + 1;
              if stress_i = '1' then
                draw(seed1, seed2, 1, count_v, dice_v);
                if dice_v = 1 then
                  pick_v := i;
                end if;
              elsif pick_v < 0 then
                pick_v := i;
              elsif reads_v(i).number < reads_v(pick_v).number then
                pick_v := i;
              end if;
            end if;
          end loop;
          if pick_v >= 0 then
            cpl_data_o <= (others => '0');
            cpl_keep_o <= x"07";
            cpl_valid_o <= '1';
            if page_status_f(reads_v(pick_v).index) /= 0 then
              status_v := CPL_UR_C;
              if reads_v(pick_v).index mod PART_BYTES_C >= CA_C then
                status_v := CPL_CA_C;
              end if;
              cpl_data_o(127 downto 0) <= completion_header_f(
                length => "0000000000", completer => x"0000", status => status_v, byte_count => x"004", requester => reads_v(pick_v).requester,
                tag => std_ulogic_vector(to_unsigned(pick_v, 8)), lower_address => "0000000");
              cpl_last_o <= '1';
              reads_v(pick_v).asked := false;
            else
              count_v := 4; -- pieces end at a multiple of 64 times this
              if stress_i = '1' then
                draw(seed1, seed2, 1, 8, count_v);
              end if;
              piece_v := 64 * count_v - reads_v(pick_v).index mod 64;
              if stress_i = '0' then
                piece_v := 256 - reads_v(pick_v).index mod 256;
              end if;
              if piece_v > reads_v(pick_v).left then
                piece_v := reads_v(pick_v).left;
              end if;
              from_v := reads_v(pick_v).index - reads_v(pick_v).index mod 4;
              beat_dw_v := (reads_v(pick_v).index mod 4 + piece_v + 3) / 4;
              cpl_v := completion_header_f(
                length => std_ulogic_vector(to_unsigned(beat_dw_v, 10)), completer => x"0000", status => CPL_SC_C,
                byte_count => std_ulogic_vector(to_unsigned(reads_v(pick_v).left, 12)), requester => reads_v(pick_v).requester,
                tag => std_ulogic_vector(to_unsigned(pick_v, 8)),
                lower_address => std_ulogic_vector(to_unsigned(reads_v(pick_v).index mod 128, 7)));
              cpl_data_o(127 downto 0) <= cpl_v;
              cpl_last_o <= '0';
              reads_v(pick_v).index := reads_v(pick_v).index + piece_v;
              reads_v(pick_v).left := reads_v(pick_v).left - piece_v;
              draw(seed1, seed2, 0, 9, dice_v);
              if dice_v = 0 then
                stray_v := 1;
              end if;
              if reads_v(pick_v).left = 0 then
                reads_v(pick_v).asked := false;
              end if;
            end if;
          end if;
        end if;
      end if;
    end loop;
  end process model;

end architecture sim;
