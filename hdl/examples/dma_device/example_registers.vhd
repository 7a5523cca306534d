-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Example device: configuration space, registers, MSI-X                            --
-- ================================================================================ --
-- Answers configuration and memory requests and sends interrupts.                  --
--                                                                                  --
-- BAR0, 4 KiB, 32-bit registers:                                                   --
--   0x00 ID           r/-  0x4558414D                                              --
--   0x04 SCRATCH      r/w                                                          --
--   0x08 SOURCE       r/w  address of the data, low half; 0x0C high half           --
--   0x10 DESTINATION  r/w  where it goes, low half; 0x14 high half                 --
--   0x18 LENGTH       r/w  bytes, a multiple of 4, at most 65532                   --
--   0x1C CONTROL      r/w  write bit 0: start; read bit 0: a copy is under way     --
--   0x20 STATUS       r/w  bit 0: a copy is done, bit 1: and failed; write 1 clears --
--   0x24 COPIES       r/-  copies since reset                                      --
-- BAR1, 4 KiB: MSI-X table of one vector at 0, pending bits at 0x800.              --
-- The interrupt (vector 0, or INTA without MSI-X) tells that a copy is done.       --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;
use work.example_pkg.all;

entity example_registers is
  generic (
    VENDOR_ID_G : std_logic_vector(15 downto 0) := x"0C05";
    DEVICE_ID_G : std_logic_vector(15 downto 0) := x"E7A0"
  );
  port (
    clk_i : in std_logic;
    rst_i : in std_logic;
    -- requests --
    rx_i : in beat_t;
    rx_ready_o : out std_logic;
    -- completions and interrupts --
    tx_o : out beat_t;
    tx_ready_i : in std_logic;
    busy_o : out std_logic;
    -- copier --
    start_o : out std_logic;
    id_o : out std_logic_vector(15 downto 0);
    source_o : out std_logic_vector(63 downto 0);
    destination_o : out std_logic_vector(63 downto 0);
    dwords_o : out std_logic_vector(15 downto 0);
    copier_busy_i : in std_logic;
    done_i : in std_logic;
    error_i : in std_logic
  );
end entity;

architecture rtl of example_registers is

  constant ID_C : dword_t := x"4558414D";

  type state_t is (S_IDLE, S_DATA, S_ACCESS, S_REPLY, S_REPLY_DATA, S_MSIX, S_MSIX_DATA, S_INTX);
  signal state : state_t;

  -- request under way --
  signal dw : dword_array_t(0 to 3);      -- its header
  signal payload : dword_array_t(0 to 1);
  signal result : dword_array_t(0 to 1);
  signal status : std_logic_vector(2 downto 0);

  -- configuration space --
  signal id : std_logic_vector(15 downto 0);
  signal memory_enable, bus_master, interrupt_disable : std_logic;
  signal bar0, bar1 : std_logic_vector(31 downto 12);
  signal interrupt_line : std_logic_vector(7 downto 0);
  signal device_control : std_logic_vector(15 downto 0);
  signal msix_enable, msix_function_mask : std_logic;

  -- MSI-X table --
  signal vector : dword_array_t(0 to 2); -- address, upper address, data
  signal vector_mask, pending : std_logic;

  -- registers --
  signal scratch, length : dword_t;
  signal source, destination : std_logic_vector(63 downto 0);
  signal copy_done, copy_failed, start, level_sent, level : std_logic;
  signal copies : unsigned(31 downto 0);

  signal send_msix : std_logic;

  -- The bytes of `old` that `enable` names, replaced.
  function merge(old, new_value : dword_t; enable : std_logic_vector(3 downto 0)) return dword_t is
    variable v : dword_t := old;
  begin
    for k in 0 to 3 loop
      if enable(k) = '1' then
        v(8 * k + 7 downto 8 * k) := new_value(8 * k + 7 downto 8 * k);
      end if;
    end loop;
    return v;
  end function;

  -- First byte enabled, 0 where none is.
  function first_byte(enable : std_logic_vector(3 downto 0)) return natural is
  begin
    for k in 0 to 3 loop
      if enable(k) = '1' then
        return k;
      end if;
    end loop;
    return 0;
  end function;

  function last_byte(enable : std_logic_vector(3 downto 0)) return natural is
  begin
    for k in 3 downto 0 loop
      if enable(k) = '1' then
        return k;
      end if;
    end loop;
    return 0;
  end function;

begin

  id_o <= id;
  source_o <= source;
  destination_o <= destination;
  dwords_o <= length(17 downto 2);
  start_o <= start;
  level <= copy_done and not msix_enable and not interrupt_disable;
  send_msix <= pending and msix_enable and bus_master and not msix_function_mask and not vector_mask;
  busy_o <= '0' when state = S_IDLE and start = '0' and send_msix = '0' and level = level_sent else '1';
  rx_ready_o <= '1' when state = S_DATA or (state = S_IDLE and send_msix = '0' and level = level_sent) else '0';

  main : process(clk_i)
    variable kind : std_logic_vector(7 downto 0);
    variable address : std_logic_vector(63 downto 0);
    variable enable : std_logic_vector(3 downto 0);
    variable value, old : dword_t;
    variable offset : unsigned(11 downto 0);
    variable count : natural range 1 to 2;
    variable memory, write, hit0, hit1 : std_logic;
  begin
    if rising_edge(clk_i) then
      start <= '0';
      kind := dw(0)(31 downto 24);

      case state is
        when S_IDLE =>
          -- Interrupts go first: they tell of what happened before the request.
          if level /= level_sent then
            state <= S_INTX;
          elsif send_msix = '1' then
            state <= S_MSIX;
          elsif rx_i.valid = '1' then
            for k in 0 to 3 loop
              dw(k) <= dword(rx_i.data, k);
            end loop;
            payload <= (others => (others => '0'));
            state <= S_DATA;
            if rx_i.last = '1' then
              state <= S_ACCESS;
            end if;
          end if;

        when S_DATA =>
          if rx_i.valid = '1' then
            payload <= (dword(rx_i.data, 0), dword(rx_i.data, 1));
            if rx_i.last = '1' then
              state <= S_ACCESS;
            end if;
          end if;

        when S_ACCESS =>
          result <= (others => (others => '0'));
          status <= SC_C;
          write := dw(0)(30);
          memory := '1' when kind = MRD_3DW_C or kind = MWR_3DW_C or kind = MRD_4DW_C or kind = MWR_4DW_C else '0';
          address := x"00000000" & dw(2);
          if dw(0)(29) = '1' then
            address := dw(2) & dw(3);
          end if;
          hit0 := memory_enable when unsigned(address(63 downto 32)) = 0 and address(31 downto 12) = bar0 else '0';
          hit1 := memory_enable when unsigned(address(63 downto 32)) = 0 and address(31 downto 12) = bar1 else '0';
          count := 1;
          if unsigned(dw(0)(9 downto 0)) = 2 then
            count := 2;
          end if;

          if kind = CFGRD0_C or kind = CFGWR0_C then
            offset := unsigned(dw(2)(11 downto 0));
            offset(1 downto 0) := "00";
            enable := dw(1)(3 downto 0);
            old := (others => '0');
            case to_integer(offset) is
              when 16#00# => old := DEVICE_ID_G & VENDOR_ID_G;
              when 16#04# =>
                old := x"0010" & "00000" & interrupt_disable & "0000000" & bus_master & memory_enable & '0';
                old(19) := copy_done and not msix_enable;
              when 16#08# => old := x"FF000001";
              when 16#10# => old := bar0 & x"000";
              when 16#14# => old := bar1 & x"000";
              when 16#2C# => old := DEVICE_ID_G & VENDOR_ID_G;
              when 16#34# => old := x"00000040";
              when 16#3C# => old := x"000001" & interrupt_line;
              when 16#40# => old := x"0002" & x"8010";
              when 16#44# => old := x"00008000";
              when 16#48# => old := x"0000" & device_control;
              when 16#4C# => old := x"00000083";
              when 16#50# => old := x"00830000";
              when 16#80# => old := msix_enable & msix_function_mask & "00" & x"000" & x"0011";
              when 16#84# => old := x"00000001";
              when 16#88# => old := x"00000801";
              when others => null;
            end case;
            result(0) <= old;
            value := merge(old, payload(0), enable);
            if write = '1' and dw(2)(18 downto 16) = "000" then
              -- The device learns its bus and device number from every configuration write (2.2.6.2).
              id <= dw(2)(31 downto 16);
              case to_integer(offset) is
                when 16#04# =>
                  memory_enable <= value(1);
                  bus_master <= value(2);
                  interrupt_disable <= value(10);
                when 16#10# => bar0 <= value(31 downto 12);
                when 16#14# => bar1 <= value(31 downto 12);
                when 16#3C# => interrupt_line <= value(7 downto 0);
                when 16#48# => device_control <= '0' & value(14 downto 0);
                when 16#80# =>
                  msix_enable <= value(31);
                  msix_function_mask <= value(30);
                when others => null;
              end case;
            end if;
            if dw(2)(18 downto 16) /= "000" then
              status <= UR_C; -- there is function 0 only
            end if;
            state <= S_REPLY;
          elsif memory = '1' and (hit0 or hit1) = '1' and unsigned(dw(0)(9 downto 0)) <= 2 and unsigned(dw(0)(9 downto 0)) /= 0 then
            for k in 0 to 1 loop
              offset := unsigned(address(11 downto 0));
              offset(1 downto 0) := "00";
              offset := offset + 4 * k;
              enable := dw(1)(3 downto 0) when k = 0 else dw(1)(7 downto 4);
              old := (others => '0');
              if hit0 = '1' then
                case to_integer(offset) is
                  when 16#00# => old := ID_C;
                  when 16#04# => old := scratch;
                  when 16#08# => old := source(31 downto 0);
                  when 16#0C# => old := source(63 downto 32);
                  when 16#10# => old := destination(31 downto 0);
                  when 16#14# => old := destination(63 downto 32);
                  when 16#18# => old := length;
                  when 16#1C# => old(0) := copier_busy_i or start;
                  when 16#20# => old(1 downto 0) := copy_failed & copy_done;
                  when 16#24# => old := std_logic_vector(copies);
                  when others => null;
                end case;
              else
                case to_integer(offset) is
                  when 16#00# => old := vector(0);
                  when 16#04# => old := vector(1);
                  when 16#08# => old := vector(2);
                  when 16#0C# => old(0) := vector_mask;
                  when 16#800# => old(0) := pending;
                  when others => null;
                end case;
              end if;
              value := merge(old, payload(k), enable);
              if k < count then
                result(k) <= old;
                if write = '1' and hit0 = '1' then
                  case to_integer(offset) is
                    when 16#04# => scratch <= value;
                    when 16#08# => source(31 downto 0) <= value(31 downto 2) & "00";
                    when 16#0C# => source(63 downto 32) <= value;
                    when 16#10# => destination(31 downto 0) <= value(31 downto 2) & "00";
                    when 16#14# => destination(63 downto 32) <= value;
                    when 16#18# => length <= x"0000" & value(15 downto 2) & "00";
                    when 16#1C# => start <= payload(k)(0) and enable(0) and bus_master and not copier_busy_i;
                    when 16#20# =>
                      copy_done <= copy_done and not (payload(k)(0) and enable(0));
                      copy_failed <= copy_failed and not (payload(k)(1) and enable(0));
                    when others => null;
                  end case;
                elsif write = '1' then
                  case to_integer(offset) is
                    when 16#00# => vector(0) <= value(31 downto 2) & "00";
                    when 16#04# => vector(1) <= value;
                    when 16#08# => vector(2) <= value;
                    when 16#0C# => vector_mask <= value(0);
                    when others => null;
                  end case;
                end if;
              end if;
            end loop;
            state <= S_IDLE when write = '1' else S_REPLY;
          elsif memory = '1' and write = '1' then
            state <= S_IDLE; -- posted: dropped
          elsif memory = '1' and (hit0 or hit1) = '1' then
            status <= CA_C;
            state <= S_REPLY;
          elsif kind(7 downto 3) = "00110" or kind(7 downto 3) = "01110" then
            state <= S_IDLE; -- a message, posted: dropped
          else
            status <= UR_C;
            state <= S_REPLY;
          end if;

        when S_REPLY =>
          if tx_ready_i = '1' then
            state <= S_REPLY_DATA;
            if status /= SC_C or kind = CFGWR0_C then
              state <= S_IDLE;
            end if;
          end if;

        when S_MSIX =>
          if tx_ready_i = '1' then
            pending <= '0';
            state <= S_MSIX_DATA;
          end if;

        when S_INTX =>
          if tx_ready_i = '1' then
            level_sent <= not level_sent;
            state <= S_IDLE;
          end if;

        when S_REPLY_DATA | S_MSIX_DATA =>
          if tx_ready_i = '1' then
            state <= S_IDLE;
          end if;
      end case;

      if done_i = '1' then
        copies <= copies + 1;
        copy_done <= '1';
        copy_failed <= error_i;
        pending <= pending or msix_enable;
      end if;

      if rst_i = '1' then
        state <= S_IDLE;
        id <= (others => '0');
        memory_enable <= '0';
        bus_master <= '0';
        interrupt_disable <= '0';
        bar0 <= (others => '0');
        bar1 <= (others => '0');
        interrupt_line <= (others => '0');
        device_control <= x"2810";
        msix_enable <= '0';
        msix_function_mask <= '0';
        vector <= (others => (others => '0'));
        vector_mask <= '1';
        pending <= '0';
        scratch <= (others => '0');
        length <= (others => '0');
        source <= (others => '0');
        destination <= (others => '0');
        copy_done <= '0';
        copy_failed <= '0';
        level_sent <= '0';
        start <= '0';
        copies <= (others => '0');
      end if;
    end if;
  end process;

  send : process(all)
    variable b : beat_t;
    variable bytes : natural range 0 to 8;
    variable lower : std_logic_vector(6 downto 0);
    variable address_dw : dword_t;
    variable kind, head : std_logic_vector(7 downto 0);
  begin
    b := NO_BEAT_C;
    kind := dw(0)(31 downto 24);
    case state is
      when S_REPLY =>
        -- Byte Count and Lower Address (2.2.9.1).
        bytes := 4;
        lower := (others => '0');
        head := CPL_C;
        if kind = MRD_3DW_C or kind = MRD_4DW_C then
          address_dw := dw(3) when kind = MRD_4DW_C else dw(2);
          lower := address_dw(6 downto 2) & std_logic_vector(to_unsigned(first_byte(dw(1)(3 downto 0)), 2));
          if unsigned(dw(0)(9 downto 0)) = 2 then
            bytes := 5 + last_byte(dw(1)(7 downto 4)) - first_byte(dw(1)(3 downto 0));
          else
            bytes := 1 + last_byte(dw(1)(3 downto 0)) - first_byte(dw(1)(3 downto 0));
          end if;
        end if;
        if status = SC_C and kind /= CFGWR0_C then
          head := CPLD_C;
        end if;
        b := header_beat(head & x"00000" & "00" & dw(0)(1 downto 0), id & status & '0' & std_logic_vector(to_unsigned(bytes, 12)),
                         dw(1)(31 downto 8) & '0' & lower, x"00000000", '0', '1');
        if head = CPLD_C then
          b.last := '0';
        else
          b.data(1 downto 0) := "00"; -- no data: Length is reserved
        end if;
      when S_REPLY_DATA =>
        b.valid := '1';
        b.last := '1';
        b.data(63 downto 0) := result(1) & result(0);
        b.keep(0) := '1';
        b.keep(1) := dw(0)(1); -- Length is 1 or 2
      when S_MSIX =>
        b := memory_request('1', id, x"00", to_unsigned(1, 10), vector(1) & vector(0));
      when S_MSIX_DATA =>
        b.valid := '1';
        b.last := '1';
        b.data(31 downto 0) := vector(2);
        b.keep(0) := '1';
      when S_INTX =>
        head := DEASSERT_INTA_C when level_sent = '1' else ASSERT_INTA_C;
        b := header_beat(MSG_LOCAL_C & x"000000", id & x"00" & head, x"00000000", x"00000000", '1', '1');
      when others =>
        null;
    end case;
    tx_o <= b;
  end process;

end architecture;
