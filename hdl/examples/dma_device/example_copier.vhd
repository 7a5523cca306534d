-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Example device: the copier                                                       --
-- ================================================================================ --
-- Copies DWs from one place of the host's memory to another, one read at a time. A --
-- part never crosses 128 bytes on either side: that keeps every request within the --
-- smallest Max_Payload_Size, Max_Read_Request_Size and every 4 KiB boundary. What   --
-- comes is stored one DW a cycle: small rather than fast.                          --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;
use work.example_pkg.all;

entity example_copier is
  generic (
    TIMEOUT_G : positive := 65536 -- cycles to wait for a completion
  );
  port (
    clk_i : in std_logic;
    rst_i : in std_logic;
    -- command --
    start_i : in std_logic;
    id_i : in std_logic_vector(15 downto 0);            -- requester id
    source_i : in std_logic_vector(63 downto 0);        -- bytes, multiple of 4
    destination_i : in std_logic_vector(63 downto 0);   -- bytes, multiple of 4
    dwords_i : in std_logic_vector(15 downto 0);
    busy_o : out std_logic;
    done_o : out std_logic;                             -- one cycle, after the last write has left
    error_o : out std_logic;                            -- with done: a read failed or was not answered
    -- completions --
    rx_i : in beat_t;
    rx_ready_o : out std_logic;
    -- requests --
    tx_o : out beat_t;
    tx_ready_i : in std_logic
  );
end entity;

architecture rtl of example_copier is

  constant PART_C : natural := 32; -- DWs of the largest part

  type state_t is (S_IDLE, S_PLAN, S_READ, S_COMPLETION, S_DATA, S_WRITE, S_WRITE_DATA, S_DONE);
  signal state : state_t;

  signal source, destination : unsigned(63 downto 0);
  signal remaining : unsigned(15 downto 0);
  signal part : unsigned(5 downto 0);   -- DWs of the part under way
  signal filled : unsigned(5 downto 0); -- DWs of it that have come, or have left
  signal lane : unsigned(2 downto 0);   -- of the beat that is being stored
  signal beat_stored : std_logic;
  signal buf : dword_array_t(0 to PART_C - 1);
  signal wait_count : natural range 0 to TIMEOUT_G;
  signal failed : std_logic;
  signal in_packet : std_logic; -- beats of a completion that nobody waits for

begin

  busy_o <= '0' when state = S_IDLE and in_packet = '0' else '1';
  done_o <= '1' when state = S_DONE else '0';
  error_o <= failed;
  beat_stored <= '1' when lane = LANES_C - 1 or rx_i.keep(to_integer(lane) + 1) = '0' else '0';
  -- Completions that no read waits for are taken and dropped.
  rx_ready_o <= beat_stored when state = S_DATA else '1';

  copy : process(clk_i)
    variable to_source, to_destination, length : unsigned(15 downto 0);
    variable header : dword_t;
  begin
    if rising_edge(clk_i) then
      if rx_i.valid = '1' and rx_ready_o = '1' then
        in_packet <= not rx_i.last;
      end if;

      case state is
        when S_IDLE =>
          failed <= '0';
          if start_i = '1' then
            source <= unsigned(source_i);
            destination <= unsigned(destination_i);
            remaining <= unsigned(dwords_i);
            state <= S_PLAN;
          end if;

        when S_PLAN =>
          to_source := PART_C - resize(source(6 downto 2), 16);
          to_destination := PART_C - resize(destination(6 downto 2), 16);
          length := remaining;
          if to_source < length then
            length := to_source;
          end if;
          if to_destination < length then
            length := to_destination;
          end if;
          part <= length(5 downto 0);
          filled <= (others => '0');
          wait_count <= 0;
          state <= S_READ;
          if remaining = 0 then
            state <= S_DONE;
          end if;

        when S_READ =>
          if tx_ready_i = '1' then
            state <= S_COMPLETION;
          end if;

        when S_COMPLETION =>
          -- A read may be answered by several completions.
          header := dword(rx_i.data, 1);
          if rx_i.valid = '1' and in_packet = '0' then
            wait_count <= 0;
            if header(15 downto 13) /= SC_C or rx_i.last = '1' then
              failed <= '1';
              state <= S_DONE;
            else
              state <= S_DATA;
            end if;
          elsif wait_count = TIMEOUT_G then
            failed <= '1';
            state <= S_DONE;
          else
            wait_count <= wait_count + 1;
          end if;

        when S_DATA =>
          if rx_i.valid = '1' then
            for i in buf'range loop
              if filled = i then
                buf(i) <= dword(rx_i.data, to_integer(lane));
              end if;
            end loop;
            filled <= filled + 1;
            lane <= lane + 1;
            if beat_stored = '1' then
              lane <= (others => '0');
              if rx_i.last = '1' then
                state <= S_COMPLETION;
                if filled + 1 >= part then
                  filled <= (others => '0');
                  state <= S_WRITE;
                end if;
              end if;
            end if;
          end if;

        when S_WRITE =>
          if tx_ready_i = '1' then
            state <= S_WRITE_DATA;
          end if;

        when S_WRITE_DATA =>
          if tx_ready_i = '1' then
            filled <= filled + LANES_C;
            if filled + LANES_C >= part then
              source <= source + (part & "00");
              destination <= destination + (part & "00");
              remaining <= remaining - part;
              state <= S_PLAN;
            end if;
          end if;

        when S_DONE =>
          state <= S_IDLE;
      end case;

      if rst_i = '1' then
        state <= S_IDLE;
        failed <= '0';
        lane <= (others => '0');
        in_packet <= '0';
      end if;
    end if;
  end process;

  send : process(all)
    variable b : beat_t;
  begin
    b := NO_BEAT_C;
    case state is
      when S_READ =>
        b := memory_request('0', id_i, x"00", resize(part, 10), std_logic_vector(source));
      when S_WRITE =>
        b := memory_request('1', id_i, x"00", resize(part, 10), std_logic_vector(destination));
      when S_WRITE_DATA =>
        b.valid := '1';
        for k in 0 to LANES_C - 1 loop
          if filled + k < part then
            b.keep(k) := '1';
            b.data(32 * k + 31 downto 32 * k) := buf(to_integer(filled(4 downto 3)) * LANES_C + k);
          end if;
        end loop;
        if filled + LANES_C >= part then
          b.last := '1';
        end if;
      when others =>
        null;
    end case;
    tx_o <= b;
  end process;

end architecture;
