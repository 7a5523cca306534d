-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Reorder buffer of one port: 32 slots of 512 bytes, one per read in flight        --
-- -------------------------------------------------------------------------------- --
-- Slots are a ring; the slot's number is the read's tag. A byte of address A lies  --
-- in its slot at A mod 512, so completions that start at a 64-byte boundary are    --
-- written as they come and only the first one of a read is rotated by DWs. The     --
-- part of a rotated beat that belongs to the next row waits one cycle: the next    --
-- beat of the packet, or the header beat of the next one, leaves room for it.      --
-- Slots are freed by the writing side, in order (free_i).                          --
-- After reset all slots are cleared, one a cycle, before the first is handed out.   --
-- A completion that does not continue a read (tag, Length, Byte Count) is dropped. --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.dma_pkg.all;

entity dma_reorder is
  generic (
    TIMEOUT_G : positive -- cycles after which a read counts as not answered; less than 2048 acts as 2048
  );
  port (
    clk_i          : in  std_ulogic;
    rst_i          : in  std_ulogic;
    -- new read (strobe, only while alloc_ready_o) --
    alloc_ready_o  : out std_ulogic;
    alloc_tag_o    : out unsigned(4 downto 0);
    alloc_i        : in  std_ulogic;
    alloc_place_i  : in  natural range 0 to 127; -- first DW in the slot
    alloc_length_i : in  natural range 0 to 128; -- DWs
    alloc_lead_i   : in  natural range 0 to 3;   -- bytes of the first DW before the first one asked for
    alloc_bytes_i  : in  natural range 0 to SLOT_BYTES_C;
    alloc_last_i   : in  std_ulogic;             -- last read of its command
    alloc_refuse_i : in  std_ulogic;             -- no read is made: Bus Master Enable is 0
    -- completions --
    cpl_data_i     : in  std_ulogic_vector(255 downto 0);
    cpl_keep_i     : in  std_ulogic_vector(7 downto 0);
    cpl_last_i     : in  std_ulogic;
    cpl_valid_i    : in  std_ulogic;
    cpl_ready_o    : out std_ulogic;
    -- state of the slot that the writing side looks at --
    look_i         : in  slot_pointer_t;
    look_done_o    : out std_ulogic;
    look_status_o  : out dma_status_t;
    look_last_o    : out std_ulogic;
    look_empty_o   : out std_ulogic; -- not even handed out
    -- slots before this one are free --
    free_i         : in  slot_pointer_t;
    -- rows --
    re_i           : in  std_ulogic;
    raddr_i        : in  std_ulogic_vector(8 downto 0);
    rdata_o        : out std_ulogic_vector(255 downto 0);
    busy_o         : out std_ulogic
  );
end entity dma_reorder;

architecture rtl of dma_reorder is

  type bit_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic;
  type phase_array_t is array (0 to SLOT_COUNT_C-1) of unsigned(6 downto 0);
  type place_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(6 downto 0);
  type length_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(7 downto 0);
  type lead_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(1 downto 0);
  type bytes_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(9 downto 0);
  type status_array_t is array (0 to SLOT_COUNT_C-1) of dma_status_t;

  -- the timeout is counted in phases of 1/64 of it, at least as long as a look at all slots takes --
  constant TICK_C : positive := maximum(TIMEOUT_G/64, SLOT_COUNT_C); -- cycles of a phase
  constant LATE_C : natural := 65; -- 64 whole phases, as the first one had begun before

  type state_t is (S_CLEAR, S_HEADER, S_PAYLOAD, S_DROP);

  -- Slots are tables with one write port each: what a read asked for is written when it is handed out, how far it got --
  -- by completions (or the clock). A read is outstanding while asked_q and ended_q differ.                             --
  signal head_q   : slot_pointer_t := (others => '0'); -- next to hand out
  signal asked_q  : bit_array_t := (others => '0');
  signal last_q   : bit_array_t;
  signal refuse_q : bit_array_t;
  signal phase_q  : phase_array_t;  -- when it was handed out
  signal place_q  : place_array_t;  -- first DW
  signal length_q : length_array_t; -- DWs
  signal lead_q   : lead_array_t;
  signal bytes_q  : bytes_array_t;
  signal ended_q  : bit_array_t := (others => '0');
  signal taken_q  : length_array_t; -- DWs that have come
  signal status_q : status_array_t;

  -- clock of the timeout: each cycle one slot is looked at --
  signal time_q : natural range 0 to TICK_C-1;
  signal now_q  : unsigned(6 downto 0);
  signal scan_q : unsigned(4 downto 0) := (others => '0');

  -- completion in progress --
  signal state_q     : state_t := S_CLEAR;
  signal slot_q      : natural range 0 to SLOT_COUNT_C-1;
  signal total_q     : natural range 0 to 128; -- DWs of the slot that will have come after it
  signal complete_q  : std_ulogic;             -- that is all of them
  signal position_q  : unsigned(6 downto 0);   -- DW in the slot of the next beat

  -- second part of a rotated beat --
  signal carry_q      : std_ulogic_vector(255 downto 0);
  signal carry_keep_q : std_ulogic_vector(7 downto 0);
  signal flush_q      : std_ulogic; -- it goes to flush_row_q now
  signal flush_row_q  : std_ulogic_vector(8 downto 0);

  signal we    : std_ulogic_vector(7 downto 0);
  signal waddr : std_ulogic_vector(8 downto 0);
  signal wdata : std_ulogic_vector(255 downto 0);

  -- beat and keep turned by `dws` lanes --
  function turn_f(data : std_ulogic_vector(255 downto 0); dws : natural range 0 to 7) return std_ulogic_vector is
    variable twice_v : std_ulogic_vector(511 downto 0);
    variable start_v : natural range 1 to 8;
  begin
    twice_v := data & data;
    start_v := 8 - dws;
    return twice_v(32*start_v+255 downto 32*start_v);
  end function turn_f;

  function turn_keep_f(keep : std_ulogic_vector(7 downto 0); dws : natural range 0 to 7) return std_ulogic_vector is
  begin
    return std_ulogic_vector(rotate_left(unsigned(keep), dws));
  end function turn_keep_f;

  -- the `dws` lowest lanes --
  function low_f(dws : natural range 0 to 7) return std_ulogic_vector is
    variable low_v : std_ulogic_vector(7 downto 0);
  begin
    for i in 0 to 7 loop
      if i < dws then
        low_v(i) := '1';
      else
        low_v(i) := '0';
      end if;
    end loop;
    return low_v;
  end function low_f;

  -- the rule was broken in the cycle before --
  signal reused  : std_ulogic := '0';
  signal crowded : std_ulogic := '0';
  signal unasked : std_ulogic := '0';

begin

  tag_not_in_flight: assert reused = '0'
    report "a tag was handed out while a read with it was outstanding" severity failure;
  slots_within_buffer: assert crowded = '0'
    report "more slots are in use than there are, or one was handed out while none was free" severity failure;
  -- pragma translate_off
  write_to_outstanding_slot: assert unasked = '0'
    report "a completion was written to a slot without an outstanding read" severity failure;
  -- pragma translate_on

  cpl_ready_o <= '1';
  alloc_tag_o <= head_q(4 downto 0);
  alloc_ready_o <= '0' when state_q = S_CLEAR or (head_q(4 downto 0) = free_i(4 downto 0) and head_q(5) /= free_i(5)) else '1';

  look_empty_o <= '1' when look_i = head_q else '0';
  look_done_o <= '1' when look_i /= head_q and asked_q(to_integer(look_i(4 downto 0))) = ended_q(to_integer(look_i(4 downto 0))) else '0';
  look_status_o <= DMA_NO_MASTER_C when refuse_q(to_integer(look_i(4 downto 0))) = '1' else status_q(to_integer(look_i(4 downto 0)));
  look_last_o <= last_q(to_integer(look_i(4 downto 0)));

  busy_o <= '1' when head_q /= free_i or flush_q = '1' or state_q = S_PAYLOAD or state_q = S_DROP else '0';

  -- Rows to write ------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  rows: process(state_q, slot_q, position_q, carry_q, carry_keep_q, flush_q, flush_row_q, cpl_valid_i, cpl_data_i, cpl_keep_i)
    variable turn_v : natural range 0 to 7;
    variable low_v  : std_ulogic_vector(7 downto 0);
    variable keep_v : std_ulogic_vector(7 downto 0);
    variable data_v : std_ulogic_vector(255 downto 0);
  begin
    we <= (others => '0');
    waddr <= flush_row_q;
    wdata <= carry_q;
    if state_q = S_PAYLOAD and cpl_valid_i = '1' then
      turn_v := to_integer(position_q(2 downto 0));
      waddr <= std_ulogic_vector(to_unsigned(slot_q, 5)) & std_ulogic_vector(position_q(6 downto 3));
      if turn_v = 0 then
        we <= cpl_keep_i;
        wdata <= cpl_data_i;
      else
        low_v := low_f(turn_v);
        keep_v := turn_keep_f(cpl_keep_i, turn_v);
        data_v := turn_f(cpl_data_i, turn_v);
        for i in 0 to 7 loop
          if low_v(i) = '1' then
            data_v(32*i+31 downto 32*i) := carry_q(32*i+31 downto 32*i);
          end if;
        end loop;
        we <= (keep_v and not low_v) or (carry_keep_q and low_v);
        wdata <= data_v;
      end if;
    elsif flush_q = '1' then
      we <= carry_keep_q;
    end if;
  end process rows;

  ram_inst: entity work.dma_slot_ram
  port map (
    clk_i   => clk_i,
    we_i    => we,
    waddr_i => waddr,
    wdata_i => wdata,
    re_i    => re_i,
    raddr_i => raddr_i,
    rdata_o => rdata_o
  );

  -- Slots and completions ----------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  slots: process(clk_i)
    variable slot_v     : natural range 0 to SLOT_COUNT_C-1;
    variable head_v     : natural range 0 to SLOT_COUNT_C-1;
    variable before_v   : natural range 0 to 255;
    variable dws_v      : natural range 0 to 1023;
    variable left_v     : integer range -4*255 to SLOT_BYTES_C + 3;
    variable position_v : unsigned(6 downto 0);
    variable turn_v     : natural range 0 to 7;
    variable asked_v    : std_ulogic;
    variable ended_v    : std_ulogic;
    variable put_v      : boolean; -- a slot gets on
    variable end_v      : boolean; -- and that was all
    variable total_v    : natural range 0 to 128;
    variable status_v   : dma_status_t;
  begin
    if rising_edge(clk_i) then
      put_v := false;
      end_v := true;
      total_v := 0;
      status_v := DMA_OK_C;
      slot_v := to_integer(scan_q);

      -- handed out --
      head_v := to_integer(head_q(4 downto 0));
      asked_v := not ended_q(head_v);
      if alloc_refuse_i = '1' then
        asked_v := ended_q(head_v);
      end if;
      if state_q = S_CLEAR then
        head_v := to_integer(scan_q);
        asked_v := '0';
      end if;
      if alloc_i = '1' or state_q = S_CLEAR then
        asked_q(head_v) <= asked_v;
      end if;
      if alloc_i = '1' then
        head_q <= head_q + 1;
        last_q(head_v) <= alloc_last_i;
        refuse_q(head_v) <= alloc_refuse_i;
        phase_q(head_v) <= now_q;
        place_q(head_v) <= std_ulogic_vector(to_unsigned(alloc_place_i, 7));
        length_q(head_v) <= std_ulogic_vector(to_unsigned(alloc_length_i, 8));
        lead_q(head_v) <= std_ulogic_vector(to_unsigned(alloc_lead_i, 2));
        bytes_q(head_v) <= std_ulogic_vector(to_unsigned(alloc_bytes_i, 10));
      end if;

      -- time, while a slot is in use --
      if state_q = S_CLEAR or head_q /= free_i then
        scan_q <= scan_q + 1;
        if time_q = TICK_C-1 then
          time_q <= 0;
          now_q <= now_q + 1;
        else
          time_q <= time_q + 1;
        end if;
      end if;

      flush_q <= '0';
      case state_q is

        when S_CLEAR =>
          put_v := true;
          if scan_q = SLOT_COUNT_C-1 then
            state_q <= S_HEADER;
          end if;

        when S_HEADER =>
          if cpl_valid_i = '1' then
            slot_v := to_integer(unsigned(cpl_data_i(76 downto 72)));
            slot_q <= slot_v;
            carry_keep_q <= (others => '0');
            if cpl_last_i = '0' then
              state_q <= S_DROP;
            end if;
            if cpl_data_i(79 downto 77) = "000" and asked_q(slot_v) /= ended_q(slot_v) then
              before_v := to_integer(unsigned(taken_q(slot_v)));
              left_v := to_integer(unsigned(bytes_q(slot_v)));
              if before_v /= 0 then
                left_v := left_v + to_integer(unsigned(lead_q(slot_v))) - 4 * before_v;
              end if;
              dws_v := to_integer(unsigned(cpl_data_i(9 downto 0)));
              position_q <= unsigned(place_q(slot_v)) + before_v;
              if cpl_data_i(47 downto 45) /= CPL_SC_C then
                put_v := true;
                status_v := DMA_REFUSED_C;
              elsif cpl_data_i(31 downto 24) = TLP_CPLD_C and cpl_last_i = '0' and dws_v /= 0 and
                    before_v + dws_v <= to_integer(unsigned(length_q(slot_v))) and to_integer(unsigned(cpl_data_i(43 downto 32))) = left_v then
                total_q <= before_v + dws_v;
                complete_q <= '0';
                if before_v + dws_v = to_integer(unsigned(length_q(slot_v))) then
                  complete_q <= '1';
                end if;
                state_q <= S_PAYLOAD;
              end if;
            end if;
          elsif asked_q(slot_v) /= ended_q(slot_v) and now_q - phase_q(slot_v) >= LATE_C then -- no answer
            put_v := true;
            status_v := DMA_TIMEOUT_C;
          end if;

        when S_PAYLOAD =>
          slot_v := slot_q;
          if cpl_valid_i = '1' then
            position_v := position_q + 8;
            turn_v := to_integer(position_q(2 downto 0));
            position_q <= position_v;
            if turn_v /= 0 then
              carry_q <= turn_f(cpl_data_i, turn_v);
              carry_keep_q <= turn_keep_f(cpl_keep_i, turn_v) and low_f(turn_v);
            end if;
            if cpl_last_i = '1' then
              state_q <= S_HEADER;
              if turn_v /= 0 then
                flush_q <= '1';
                flush_row_q <= std_ulogic_vector(to_unsigned(slot_q, 5)) & std_ulogic_vector(position_v(6 downto 3));
              end if;
              put_v := true;
              end_v := complete_q = '1';
              if not end_v then
                total_v := total_q;
              end if;
            end if;
          end if;

        when S_DROP =>
          if cpl_valid_i = '1' and cpl_last_i = '1' then
            state_q <= S_HEADER;
          end if;

      end case;

      ended_v := ended_q(slot_v);
      if state_q = S_CLEAR then
        ended_v := '0';
      elsif end_v then
        ended_v := asked_q(slot_v);
      end if;
      -- got on; nothing has come of a read that ended, for the next one in the slot --
      if put_v then
        taken_q(slot_v) <= std_ulogic_vector(to_unsigned(total_v, 8));
        status_q(slot_v) <= status_v;
        ended_q(slot_v) <= ended_v;
      end if;

      if rst_i = '1' then
        head_q <= (others => '0');
        scan_q <= (others => '0');
        time_q <= 0;
        now_q <= (others => '0');
        state_q <= S_CLEAR;
        flush_q <= '0';
      end if;
    end if;
  end process slots;

  -- Rules --------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  watch: process(clk_i)
  begin
    if rising_edge(clk_i) then
      reused <= '0';
      crowded <= '0';
      -- pragma translate_off
      unasked <= '0';
      -- pragma translate_on
      if rst_i = '0' then
        if alloc_i = '1' then
          crowded <= not alloc_ready_o;
          reused <= asked_q(to_integer(head_q(4 downto 0))) xor ended_q(to_integer(head_q(4 downto 0)));
        end if;
        -- pragma translate_off
        if head_q - free_i > SLOT_COUNT_C then
          crowded <= '1';
        end if;
        if state_q = S_PAYLOAD and cpl_valid_i = '1' then
          unasked <= asked_q(slot_q) xnor ended_q(slot_q);
        end if;
        -- pragma translate_on
      end if;
    end if;
  end process watch;

end architecture rtl;
