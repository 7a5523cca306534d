-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Writing side of the DMA engine                                                   --
-- -------------------------------------------------------------------------------- --
-- Takes the commands in the order of their reading and cuts what has been read     --
-- into writes, one after the other: MWr that end at multiples of the payload size, --
-- or pieces of scratch of up to 256 bytes. dma_align moves their bytes. A write    --
-- starts when all its bytes are there; where a read failed, the bytes before it    --
-- still go out. The reads of a failed command are waited for and thrown away, so   --
-- that their tags can be used again.                                               --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.dma_pkg.all;

entity dma_drain is
  generic (
    FUNCTIONS_G : positive
  );
  port (
    clk_i          : in  std_ulogic;
    rst_i          : in  std_ulogic;
    -- commands begun --
    flight_i       : in  dma_flight_t;
    flight_valid_i : in  std_ulogic;
    flight_ready_o : out std_ulogic;
    abort_o        : out std_ulogic;
    aborted_i      : in  std_ulogic;
    -- configuration of the functions --
    p0_bme_i       : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    p0_mps_i       : in  code3_array_t(0 to FUNCTIONS_G-1);
    p0_requester_i : in  std_ulogic_vector(15 downto 0);
    p1_bme_i       : in  std_ulogic;
    p1_mps_i       : in  std_ulogic_vector(2 downto 0);
    p1_requester_i : in  std_ulogic_vector(15 downto 0);
    -- slots of port 0 and port 1 --
    p0_look_o      : out slot_pointer_t;
    p1_look_o      : out slot_pointer_t;
    look_done_i    : in  std_ulogic_vector(1 downto 0);
    look_last_i    : in  std_ulogic_vector(1 downto 0);
    look_empty_i   : in  std_ulogic_vector(1 downto 0);
    p0_status_i    : in  dma_status_t;
    p1_status_i    : in  dma_status_t;
    -- writes, to the aligner --
    write_o        : out dma_write_t;
    write_valid_o  : out std_ulogic;
    write_ready_i  : in  std_ulogic;
    write_final_i  : in  std_ulogic; -- the last beat of a command's last write has gone
    align_idle_i   : in  std_ulogic;
    -- slots thrown away, one bit per port; dma_align frees the others --
    discard_o      : out std_ulogic_vector(1 downto 0);
    -- commands finished --
    done_o         : out dma_done_t;
    done_valid_o   : out std_ulogic;
    done_ready_i   : in  std_ulogic;
    busy_o         : out std_ulogic
  );
end entity dma_drain;

architecture rtl of dma_drain is

  type state_t is (S_COMMAND, S_WRITE, S_FAILED, S_DISCARD, S_END);
  signal state_q : state_t;

  -- command --
  signal flight_q     : dma_flight_t;
  signal from_port_q  : std_ulogic; -- source is a port, not scratch
  signal to_port_q    : std_ulogic;
  signal port_q       : natural range 0 to 1; -- source
  signal read_size_q  : size_t; -- reads end at its multiples
  signal status_q     : dma_status_t;

  -- source: bytes not yet written, and those of them that are there --
  signal source_q      : unsigned(19 downto 0);
  signal destination_q : unsigned(63 downto 0);
  signal left_q        : natural range 0 to DMA_LENGTH_MAX_C;
  signal there_q       : natural range 0 to DMA_LENGTH_MAX_C;

  -- slots: the one of the next byte to write, the one of the next byte to come --
  type pointers_t is array (0 to 1) of slot_pointer_t;
  signal tail_q       : pointers_t := (others => (others => '0'));
  signal look_q       : pointers_t := (others => (others => '0'));
  signal look_place_q : natural range 0 to SLOT_BYTES_C-1;
  signal look_left_q  : natural range 0 to DMA_LENGTH_MAX_C;

  signal look_status : dma_status_t;

  -- write handed on --
  signal write_q       : dma_write_t;
  signal write_valid_q : std_ulogic;

  -- ends of commands: those up to here may be told --
  signal done_q       : dma_done_t;
  signal done_put_q   : std_ulogic;
  signal done_room    : std_ulogic;
  signal done_bits    : std_ulogic_vector(DMA_DONE_BITS_C-1 downto 0);
  signal done_inside  : std_ulogic;
  signal done_take    : std_ulogic;
  signal released_q   : natural range 0 to 63;
  signal end_q        : std_ulogic; -- a command ended without a last write

  -- destination --
  signal bus_master    : std_ulogic;
  signal payload_size  : size_t;
  signal requester     : std_ulogic_vector(15 downto 0);

  -- the rule was broken in the cycle before --
  signal lost     : std_ulogic := '0';
  signal too_many : std_ulogic := '0';

begin

  room_for_end: assert lost = '0'
    report "the end of a command was put into a full FIFO" severity failure;
  ends_released: assert too_many = '0'
    report "more ends of commands are released than there are" severity failure;

  p0_look_o <= look_q(0);
  p1_look_o <= look_q(1);
  look_status <= p0_status_i when port_q = 0 else p1_status_i;

  flight_ready_o <= '1' when state_q = S_COMMAND and (flight_i.source_space(1) = '0' or (write_valid_q = '0' and align_idle_i = '1'))
                    else '0'; -- from scratch: what goes there must have arrived

  -- the command being read is this one if no later one has begun --
  abort_o <= '1' when (state_q = S_FAILED or state_q = S_DISCARD) and flight_valid_i = '0' else '0';

  write_o <= write_q;
  write_valid_o <= write_valid_q;
  busy_o <= '1' when state_q /= S_COMMAND or write_valid_q = '1' or done_put_q = '1' or done_inside = '1' else '0';

  discard: process(state_q, port_q, look_done_i)
  begin
    discard_o <= "00";
    if state_q = S_DISCARD then
      discard_o(port_q) <= look_done_i(port_q);
    end if;
  end process discard;

  -- Function that writes -----------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  writer: process(flight_q.destination_space, flight_q.destination_function, p0_bme_i, p0_mps_i, p0_requester_i,
                  p1_bme_i, p1_mps_i, p1_requester_i)
    variable function_v : natural range 0 to 255;
  begin
    function_v := to_integer(unsigned(flight_q.destination_function)) mod FUNCTIONS_G;
    bus_master <= '1';
    payload_size <= 1;
    requester <= p1_requester_i;
    case flight_q.destination_space is
      when "00" =>
        bus_master <= p0_bme_i(function_v);
        requester <= std_ulogic_vector(unsigned(p0_requester_i) + function_v);
        if p0_mps_i(function_v) = "000" then
          payload_size <= 0;
        end if;
      when "01" =>
        bus_master <= p1_bme_i;
        if p1_mps_i = "000" then
          payload_size <= 0;
        end if;
      when others => null;
    end case;
  end process writer;

  -- Commands to writes -------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  cut: process(clk_i)
    variable there_v  : natural range 0 to DMA_LENGTH_MAX_C;
    variable look_v   : natural range 0 to SLOT_BYTES_C; -- bytes of a slot
    variable want_v   : natural range 0 to 256;
    variable offset_v : natural range 0 to 31;  -- of the first byte in the first beat
    variable span_v   : natural range 0 to 256; -- bytes from the start of the first beat
    variable begin_v  : unsigned(19 downto 0);  -- source address one below the start of the first beat
    variable place_v  : natural range 0 to SLOT_BYTES_C-1;
    variable tail_v   : slot_pointer_t;
    variable dws_v    : natural range 0 to 64;
  begin
    if rising_edge(clk_i) then
      done_put_q <= '0';
      end_q <= '0';
      if write_ready_i = '1' then
        write_valid_q <= '0';
      end if;

      case state_q is

        when S_COMMAND =>
          if flight_valid_i = '1' and flight_ready_o = '1' then
            flight_q <= flight_i;
            from_port_q <= not flight_i.source_space(1);
            to_port_q <= not flight_i.destination_space(1);
            port_q <= to_integer(unsigned(flight_i.source_space(0 downto 0)));
            read_size_q <= to_integer(unsigned(flight_i.read_size));
            status_q <= flight_i.status;
            source_q <= unsigned(flight_i.source_address);
            destination_q <= unsigned(flight_i.destination_address);
            look_place_q <= to_integer(unsigned(flight_i.source_address(8 downto 0)));
            if flight_i.status /= DMA_OK_C then
              state_q <= S_END;
            else
              left_q <= to_integer(unsigned(flight_i.length(20 downto 0)));
              state_q <= S_WRITE;
              if flight_i.source_space(1) = '1' then
                there_q <= to_integer(unsigned(flight_i.length(20 downto 0)));
                look_left_q <= 0;
              else
                there_q <= 0;
                look_left_q <= to_integer(unsigned(flight_i.length(20 downto 0)));
              end if;
            end if;
          end if;

        when S_WRITE =>
          there_v := there_q;

          -- next slot --
          if look_left_q /= 0 and status_q = DMA_OK_C and look_done_i(port_q) = '1' then
            if look_status = DMA_OK_C then
              look_v := minimum_f(look_left_q, size_bytes_f(read_size_q) - modulo_f(look_place_q, read_size_q));
              there_v := there_v + look_v;
              look_left_q <= look_left_q - look_v;
              look_place_q <= (look_place_q + look_v) mod SLOT_BYTES_C;
              look_q(port_q) <= look_q(port_q) + 1;
            else
              status_q <= look_status;
            end if;
          end if;

          -- next write --
          if (write_valid_q = '0' or write_ready_i = '1') and done_room = '1' and done_put_q = '0' then
            if to_port_q = '1' then
              offset_v := to_integer(destination_q(1 downto 0));
              want_v := size_bytes_f(payload_size) - modulo_f(to_integer(destination_q(7 downto 0)), payload_size);
            else
              offset_v := to_integer(destination_q(4 downto 0));
              want_v := 256 - to_integer(destination_q(7 downto 0));
            end if;
            want_v := minimum_f(want_v, left_q);
            if there_q < want_v and status_q /= DMA_OK_C then
              want_v := there_q; -- up to the failure
            end if;
            if to_port_q = '1' and bus_master = '0' then
              if status_q = DMA_OK_C then
                status_q <= DMA_NO_MASTER_C;
              end if;
              state_q <= S_FAILED;
            elsif want_v = 0 then
              state_q <= S_FAILED;
            elsif there_q >= want_v then
              span_v := offset_v + want_v;
              begin_v := source_q - (offset_v + 1);
              dws_v := (span_v + 3) / 4;
              place_v := modulo_f(to_integer(source_q(8 downto 0)), read_size_q);
              tail_v := tail_q(port_q) + multiples_f(place_v + want_v, read_size_q);
              if want_v = left_q and modulo_f(place_v + want_v, read_size_q) /= 0 then
                tail_v := tail_v + 1;
              end if;
              write_q.from_port <= from_port_q;
              write_q.source_port <= port_q;
              write_q.to_port <= to_port_q;
              write_q.destination_port <= to_integer(unsigned(flight_q.destination_space(0 downto 0)));
              write_q.header <= memory_header_f(
                write     => '1',
                address   => std_ulogic_vector(destination_q),
                length    => std_ulogic_vector(to_unsigned(dws_v, 10)),
                requester => requester,
                tag       => x"00",
                last_be   => last_be_f(offset_v mod 4, want_v),
                first_be  => first_be_f(offset_v mod 4, want_v));
              write_q.beats <= (span_v + 31) / 32;
              write_q.first <= offset_v;
              write_q.first_after <= (span_v - 1) mod 32 + 1;
              write_q.shift <= to_integer(begin_v(4 downto 0)) + 1;
              write_q.source_row <= begin_v(19 downto 5);
              write_q.destination_row <= destination_q(19 downto 5);
              write_q.slot <= tail_q(port_q);
              if begin_v(9 downto 5) /= source_q(9 downto 5) then
                write_q.row_before <= '1';
              else
                write_q.row_before <= '0';
              end if;
              write_q.read_size <= read_size_q;
              write_q.slot_after <= tail_q(port_q);
              if from_port_q = '1' then
                write_q.slot_after <= tail_v;
                tail_q(port_q) <= tail_v;
              end if;
              write_q.final <= '0';
              write_valid_q <= '1';
              source_q <= source_q + want_v;
              destination_q <= destination_q + want_v;
              left_q <= left_q - want_v;
              there_v := there_v - want_v;
              if want_v = left_q then
                write_q.final <= '1';
                done_put_q <= '1';
                state_q <= S_COMMAND;
              end if;
            end if;
          end if;
          there_q <= there_v;

        when S_FAILED =>
          if write_valid_q = '0' and align_idle_i = '1' then
            look_q(port_q) <= tail_q(port_q);
            if from_port_q = '1' then
              state_q <= S_DISCARD;
            else
              state_q <= S_END;
            end if;
          end if;

        when S_DISCARD =>
          if look_done_i(port_q) = '1' then
            look_q(port_q) <= look_q(port_q) + 1;
            tail_q(port_q) <= look_q(port_q) + 1;
            if look_last_i(port_q) = '1' then
              state_q <= S_END;
            end if;
          elsif look_empty_i(port_q) = '1' and aborted_i = '1' then
            state_q <= S_END;
          end if;

        when S_END =>
          if write_valid_q = '0' and align_idle_i = '1' and done_room = '1' and done_put_q = '0' then
            done_put_q <= '1';
            end_q <= '1';
            state_q <= S_COMMAND;
          end if;

      end case;

      if rst_i = '1' then
        state_q <= S_COMMAND;
        write_valid_q <= '0';
        done_put_q <= '0';
        end_q <= '0';
        port_q <= 0;
        tail_q <= (others => (others => '0'));
        look_q <= (others => (others => '0'));
        flight_q.destination_space <= "10";
        flight_q.destination_function <= (others => '0');
      end if;
    end if;
  end process cut;

  -- Ends of commands ---------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  done_q.tag <= flight_q.tag;
  done_q.length <= flight_q.length;
  done_q.status <= status_q;
  done_q.give_back <= flight_q.give_back;
  done_q.offset <= flight_q.destination_address(19 downto 0);

  done_inst: entity work.dma_fifo
  generic map (
    WIDTH_G => DMA_DONE_BITS_C,
    DEPTH_G => 32
  )
  port map (
    clk_i   => clk_i,
    rst_i   => rst_i,
    data_i  => to_bits_f(done_q),
    valid_i => done_put_q,
    ready_o => done_room,
    data_o  => done_bits,
    valid_o => done_inside,
    ready_i => done_take
  );

  done_o <= to_done_f(done_bits);
  done_valid_o <= done_inside when released_q /= 0 else '0';
  done_take <= done_ready_i when released_q /= 0 else '0';

  count_released: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (write_final_i = '1' or end_q = '1') and not (done_inside = '1' and done_take = '1') then
        released_q <= released_q + 1;
      elsif not (write_final_i = '1' or end_q = '1') and done_inside = '1' and done_take = '1' then
        released_q <= released_q - 1;
      end if;
      if rst_i = '1' then
        released_q <= 0;
      end if;
      lost <= done_put_q and not done_room and not rst_i;
      too_many <= '0';
      if released_q > 33 and rst_i = '0' then
        too_many <= '1';
      end if;
    end if;
  end process count_released;

end architecture rtl;
