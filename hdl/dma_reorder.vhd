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
    TIMEOUT_G : positive -- cycles after which (and at most a quarter later) a read counts as not answered
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

  type place_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(6 downto 0);
  type length_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(7 downto 0);
  type lead_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(1 downto 0);
  type bytes_array_t is array (0 to SLOT_COUNT_C-1) of std_ulogic_vector(9 downto 0);
  type status_array_t is array (0 to SLOT_COUNT_C-1) of dma_status_t;
  type age_array_t is array (0 to SLOT_COUNT_C-1) of natural range 0 to 4;

  constant TICK_C : positive := TIMEOUT_G/4 + 1; -- cycles between two looks for reads not answered

  type state_t is (S_HEADER, S_PAYLOAD, S_DROP);

  -- slots --
  signal head_q        : slot_pointer_t := (others => '0'); -- next to hand out
  signal outstanding_q : std_ulogic_vector(SLOT_COUNT_C-1 downto 0);
  signal fresh_q       : std_ulogic_vector(SLOT_COUNT_C-1 downto 0); -- nothing has come yet
  signal last_q        : std_ulogic_vector(SLOT_COUNT_C-1 downto 0);
  signal place_q       : place_array_t;  -- first DW, as handed out
  signal length_q      : length_array_t; -- DWs asked for
  signal lead_q        : lead_array_t;
  signal bytes_q       : bytes_array_t;  -- bytes asked for
  signal taken_q       : length_array_t; -- DWs that have come, if not fresh
  signal status_q      : status_array_t;
  signal age_q         : age_array_t;    -- ticks since the read
  signal time_q        : natural range 0 to TICK_C;

  -- completion in progress --
  signal state_q     : state_t;
  signal slot_q      : natural range 0 to SLOT_COUNT_C-1;
  signal total_q     : natural range 0 to 128; -- DWs of the slot that will have come after it
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

begin

  cpl_ready_o <= '1';
  alloc_tag_o <= head_q(4 downto 0);
  alloc_ready_o <= '0' when head_q(4 downto 0) = free_i(4 downto 0) and head_q(5) /= free_i(5) else '1';

  look_empty_o <= '1' when look_i = head_q else '0';
  look_done_o <= '0' when look_i = head_q else not outstanding_q(to_integer(look_i(4 downto 0)));
  look_status_o <= status_q(to_integer(look_i(4 downto 0)));
  look_last_o <= last_q(to_integer(look_i(4 downto 0)));

  busy_o <= '1' when head_q /= free_i or flush_q = '1' or state_q /= S_HEADER else '0';

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
    variable before_v   : natural range 0 to 128;
    variable dws_v      : natural range 0 to 1023;
    variable left_v     : integer range -4*128 to SLOT_BYTES_C;
    variable position_v : unsigned(6 downto 0);
    variable turn_v     : natural range 0 to 7;
  begin
    if rising_edge(clk_i) then

      -- no answer; where completions come, the look waits for a cycle without --
      if time_q /= TICK_C then
        if head_q /= free_i then
          time_q <= time_q + 1;
        end if;
      elsif state_q = S_HEADER and cpl_valid_i = '0' then
        time_q <= 0;
        for i in 0 to SLOT_COUNT_C-1 loop
          if age_q(i) /= 4 then
            age_q(i) <= age_q(i) + 1;
          elsif outstanding_q(i) = '1' then
            outstanding_q(i) <= '0';
            status_q(i) <= DMA_TIMEOUT_C;
          end if;
        end loop;
      end if;

      -- handed out --
      if alloc_i = '1' then
        slot_v := to_integer(head_q(4 downto 0));
        head_q <= head_q + 1;
        outstanding_q(slot_v) <= not alloc_refuse_i;
        fresh_q(slot_v) <= '1';
        last_q(slot_v) <= alloc_last_i;
        place_q(slot_v) <= std_ulogic_vector(to_unsigned(alloc_place_i, 7));
        length_q(slot_v) <= std_ulogic_vector(to_unsigned(alloc_length_i, 8));
        lead_q(slot_v) <= std_ulogic_vector(to_unsigned(alloc_lead_i, 2));
        bytes_q(slot_v) <= std_ulogic_vector(to_unsigned(alloc_bytes_i, 10));
        age_q(slot_v) <= 0;
        status_q(slot_v) <= DMA_OK_C;
        if alloc_refuse_i = '1' then
          status_q(slot_v) <= DMA_NO_MASTER_C;
        end if;
      end if;

      -- completions; the tag's slot is not the one just handed out --
      flush_q <= '0';
      if cpl_valid_i = '1' then
        case state_q is

          when S_HEADER =>
            slot_v := to_integer(unsigned(cpl_data_i(76 downto 72)));
            slot_q <= slot_v;
            carry_keep_q <= (others => '0');
            if cpl_last_i = '0' then
              state_q <= S_DROP;
            end if;
            if cpl_data_i(79 downto 77) = "000" and outstanding_q(slot_v) = '1' then
              before_v := 0;
              left_v := to_integer(unsigned(bytes_q(slot_v)));
              if fresh_q(slot_v) = '0' then
                before_v := to_integer(unsigned(taken_q(slot_v)));
                left_v := left_v + to_integer(unsigned(lead_q(slot_v))) - 4 * before_v;
              end if;
              dws_v := to_integer(unsigned(cpl_data_i(9 downto 0)));
              position_q <= unsigned(place_q(slot_v)) + before_v;
              if cpl_data_i(47 downto 45) /= CPL_SC_C then
                outstanding_q(slot_v) <= '0';
                status_q(slot_v) <= DMA_REFUSED_C;
              elsif cpl_data_i(31 downto 24) = TLP_CPLD_C and cpl_last_i = '0' and dws_v /= 0 and
                    before_v + dws_v <= to_integer(unsigned(length_q(slot_v))) and to_integer(unsigned(cpl_data_i(43 downto 32))) = left_v then
                total_q <= before_v + dws_v;
                state_q <= S_PAYLOAD;
              end if;
            end if;

          when S_PAYLOAD =>
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
              fresh_q(slot_q) <= '0';
              taken_q(slot_q) <= std_ulogic_vector(to_unsigned(total_q, 8));
              if total_q = to_integer(unsigned(length_q(slot_q))) then
                outstanding_q(slot_q) <= '0';
              end if;
            end if;

          when S_DROP =>
            if cpl_last_i = '1' then
              state_q <= S_HEADER;
            end if;

        end case;
      end if;

      if rst_i = '1' then
        head_q <= (others => '0');
        outstanding_q <= (others => '0');
        age_q <= (others => 0);
        time_q <= 0;
        state_q <= S_HEADER;
        flush_q <= '0';
      end if;
    end if;
  end process slots;

end architecture rtl;
