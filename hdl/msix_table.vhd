-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- MSI-X of the functions of one PCIe port: tables, pending bits, messages          --
-- -------------------------------------------------------------------------------- --
-- BAR1: table at 0, PBA at 0x2000. A vector whose message may not leave is pending --
-- and sent once when it may: when it is unmasked, the function is, or Bus Master   --
-- Enable or MSI-X Enable is set.                                                   --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.cosim_regs_pkg.all;

entity msix_table is
  generic (
    FUNCTIONS_G : positive; -- functions of this port, 1 to 8
    VECTORS_G   : positive  -- vectors of a function, 1 to 512
  );
  port (
    clk_i          : in  std_ulogic; -- clock, rising edge
    rst_i          : in  std_ulogic; -- reset, synchronous, high-active
    -- accesses --
    acc_enable_i   : in  std_ulogic;
    acc_write_i    : in  std_ulogic;
    acc_function_i : in  std_ulogic_vector(2 downto 0);
    acc_address_i  : in  std_ulogic_vector(15 downto 0);
    acc_data_i     : in  std_ulogic_vector(31 downto 0);
    acc_be_i       : in  std_ulogic_vector(3 downto 0);
    acc_ack_o      : out std_ulogic;
    acc_data_o     : out std_ulogic_vector(31 downto 0);
    -- settings --
    enable_i       : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- MSI-X Enable
    mask_i         : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- Function Mask
    bus_master_i   : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    flr_i          : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    requester_i    : in  std_ulogic_vector(15 downto 0); -- bus and device
    -- interrupts to be sent --
    irq_valid_i    : in  std_ulogic;
    irq_ready_o    : out std_ulogic;
    irq_function_i : in  std_ulogic_vector(2 downto 0);
    irq_vector_i   : in  std_ulogic_vector(15 downto 0); -- beyond the table: vanishes
    -- messages --
    msg_valid_o    : out std_ulogic;
    msg_ready_i    : in  std_ulogic;
    msg_header_o   : out tlp_header_t;
    msg_data_o     : out std_ulogic_vector(31 downto 0);
    -- status --
    busy_o         : out std_ulogic
  );
end entity msix_table;

architecture msix_table_rtl of msix_table is

  constant VECTOR_BITS_C   : positive := index_bits_f(VECTORS_G);
  constant FUNCTION_BITS_C : positive := index_bits_f(FUNCTIONS_G);
  constant ENTRY_BITS_C    : positive := FUNCTION_BITS_C + VECTOR_BITS_C; -- entry: function & vector
  constant ENTRIES_C       : positive := 2**ENTRY_BITS_C;

  type state_t is (S_CLEAR, S_IDLE, S_READ, S_SCAN, S_LOAD_LOW, S_LOAD_HIGH, S_LOAD_DATA, S_SEND);
  signal state : state_t;

  signal entry   : unsigned(ENTRY_BITS_C-1 downto 0);                 -- being cleared, looked at or sent
  signal word    : unsigned(1 downto 0);                              -- of the entry being cleared
  signal all_f   : std_ulogic;                                        -- all functions are being cleared
  signal masked  : std_ulogic_vector(ENTRIES_C-1 downto 0);           -- Vector Control bit 0
  signal pending : std_ulogic_vector(ENTRIES_C-1 downto 0);           -- PBA
  signal allowed : std_ulogic_vector(FUNCTIONS_G-1 downto 0);         -- the function may send messages
  signal known   : std_ulogic_vector(FUNCTIONS_G-1 downto 0);         -- allowed, as of the cycle before
  signal reset   : std_ulogic_vector(FUNCTIONS_G-1 downto 0);         -- function level reset to be done
  signal scan    : std_ulogic;                                        -- a pending vector may have become free
  signal ram_q   : std_ulogic_vector(31 downto 0);
  signal low     : std_ulogic_vector(31 downto 0);                    -- message address
  signal high    : std_ulogic_vector(31 downto 0);
  signal ack     : std_ulogic;
  signal valid   : std_ulogic;

begin

  allowed <= enable_i and bus_master_i and (not mask_i);

  table: process(clk_i)
    type ram_t is array (0 to 4*ENTRIES_C-1) of std_ulogic_vector(31 downto 0);
    variable ram         : ram_t;
    variable ram_read_v  : boolean;
    variable ram_write_v : boolean;
    variable ram_entry_v : unsigned(ENTRY_BITS_C-1 downto 0);
    variable ram_word_v  : unsigned(1 downto 0);
    variable ram_data_v  : std_ulogic_vector(31 downto 0);
    variable vector_v    : natural range 0 to 16383;
    variable pba_v       : std_ulogic_vector(31 downto 0);
    variable f_v         : natural range 0 to 2**FUNCTION_BITS_C-1;
    variable e_v         : natural range 0 to ENTRIES_C-1; -- the entry whose bits change
    variable mask_set_v  : boolean;
    variable mask_v      : std_ulogic;
    variable pend_set_v  : boolean;
    variable pend_v      : std_ulogic;
  begin
    if rising_edge(clk_i) then
      ram_read_v  := false;
      ram_write_v := false;
      ram_entry_v := entry;
      ram_word_v  := "00";
      ram_data_v  := (others => '0');
      mask_set_v  := false;
      mask_v      := '1';
      pend_set_v  := false;
      pend_v      := '0';

      if (rst_i = '1') then
        state   <= S_CLEAR;
        entry   <= (others => '0');
        word    <= "00";
        all_f   <= '1';
        masked  <= (others => '1');
        pending <= (others => '0');
        known   <= (others => '0');
        reset   <= (others => '0');
        scan    <= '0';
        ack     <= '0';
        valid   <= '0';
      else
        e_v := to_integer(entry);
        if (allowed /= known) then
          known <= allowed;
          scan  <= '1';
        end if;
        if (unsigned(flr_i) /= 0) then
          reset <= reset or flr_i;
        end if;
        if (ack = '1') then
          ack <= '0';
        end if;

        case state is

          -- entries back to their reset values --
          when S_CLEAR =>
            ram_write_v := true;
            ram_word_v  := word;
            word        <= word + 1;
            mask_set_v  := true;
            pend_set_v  := true;
            if (word = "11") then
              entry <= entry + 1;
              if (entry(VECTOR_BITS_C-1 downto 0) = 2**VECTOR_BITS_C-1) and ((all_f = '0') or (entry = ENTRIES_C-1)) then
                state <= S_IDLE;
              end if;
            end if;

          -- choose the next job --
          when S_IDLE =>
            word  <= "00";
            all_f <= '0';
            if (unsigned(reset) /= 0) then
              for f in FUNCTIONS_G-1 downto 0 loop
                if (reset(f) = '1') then
                  f_v := f;
                end if;
              end loop;
              reset(f_v) <= flr_i(f_v);
              entry      <= to_unsigned(f_v * 2**VECTOR_BITS_C, ENTRY_BITS_C);
              state      <= S_CLEAR;

            elsif (acc_enable_i = '1') and (ack = '0') then
              f_v      := to_integer(unsigned(acc_function_i(FUNCTION_BITS_C-1 downto 0)));
              vector_v := to_integer(unsigned(acc_address_i(12 downto 4)));
              if (acc_address_i(13) = '1') then -- PBA, read only
                pba_v := (others => '0');
                for f in 0 to FUNCTIONS_G-1 loop
                  for v in 0 to VECTORS_G-1 loop
                    if (f = f_v) and (unsigned(acc_address_i(12 downto 2)) = v/32) then
                      pba_v(v mod 32) := pending(f * 2**VECTOR_BITS_C + v);
                    end if;
                  end loop;
                end loop;
                acc_data_o <= pba_v;
                ack        <= '1';
              elsif (vector_v >= VECTORS_G) then
                acc_data_o <= (others => '0');
                ack        <= '1';
              else
                e_v   := f_v * 2**VECTOR_BITS_C + vector_v;
                entry <= to_unsigned(e_v, ENTRY_BITS_C);
                if (acc_address_i(3 downto 2) = "11") then -- Vector Control
                  acc_data_o    <= (others => '0');
                  acc_data_o(0) <= masked(e_v);
                  ack           <= '1';
                  if (acc_write_i = '1') and (acc_be_i(0) = '1') then
                    mask_set_v := true;
                    mask_v     := acc_data_i(0);
                    scan       <= '1';
                  end if;
                else
                  ram_read_v  := true;
                  ram_entry_v := to_unsigned(e_v, ENTRY_BITS_C);
                  ram_word_v  := unsigned(acc_address_i(3 downto 2));
                  state       <= S_READ;
                end if;
              end if;

            elsif (scan = '1') then
              scan  <= '0';
              entry <= (others => '0');
              if (unsigned(pending) /= 0) then
                state <= S_SCAN;
              end if;

            elsif (irq_valid_i = '1') then
              f_v      := to_integer(unsigned(irq_function_i(FUNCTION_BITS_C-1 downto 0)));
              if (unsigned(irq_vector_i) < VECTORS_G) then
                e_v   := f_v * 2**VECTOR_BITS_C + to_integer(unsigned(irq_vector_i(VECTOR_BITS_C-1 downto 0)));
                entry <= to_unsigned(e_v, ENTRY_BITS_C);
                if (allowed(f_v) = '1') and (masked(e_v) = '0') then
                  ram_read_v  := true;
                  ram_entry_v := to_unsigned(e_v, ENTRY_BITS_C);
                  state       <= S_LOAD_LOW;
                else
                  pend_set_v := true;
                  pend_v     := '1';
                end if;
              end if;
            end if;

          -- table: read, or read and write back --
          when S_READ =>
            acc_data_o <= ram_q;
            ack        <= '1';
            state      <= S_IDLE;
            if (acc_write_i = '1') then
              ram_write_v := true;
              ram_word_v  := unsigned(acc_address_i(3 downto 2));
              ram_data_v  := merge_bytes_f(ram_q, acc_data_i, acc_be_i);
              if (acc_address_i(3 downto 2) = "00") then -- message address: of a DW
                ram_data_v(1 downto 0) := "00";
              end if;
            end if;

          -- look for a pending vector that may be sent now --
          when S_SCAN =>
            f_v := to_integer(entry(ENTRY_BITS_C-1 downto VECTOR_BITS_C));
            if (pending(e_v) = '1') and (masked(e_v) = '0') and (f_v < FUNCTIONS_G) and (allowed(f_v mod FUNCTIONS_G) = '1') then
              pend_set_v := true;
              scan       <= '1'; -- and for the rest afterwards
              ram_read_v := true;
              state      <= S_LOAD_LOW;
            elsif (entry = ENTRIES_C-1) then
              state <= S_IDLE;
            else
              entry <= entry + 1;
            end if;

          -- address and data of the message --
          when S_LOAD_LOW =>
            low        <= ram_q;
            ram_read_v := true;
            ram_word_v := "01";
            state      <= S_LOAD_HIGH;

          when S_LOAD_HIGH =>
            high       <= ram_q;
            ram_read_v := true;
            ram_word_v := "10";
            state      <= S_LOAD_DATA;

          when S_LOAD_DATA =>
            msg_header_o <= memory_header_f('1', high & low, "0000000001",
                              requester_i(15 downto 3) & std_ulogic_vector(resize(entry(ENTRY_BITS_C-1 downto VECTOR_BITS_C), 3)),
                              x"00", "0000", "1111");
            msg_data_o   <= ram_q;
            valid        <= '1';
            state        <= S_SEND;

          when S_SEND =>
            if (msg_ready_i = '1') then
              valid <= '0';
              state <= S_IDLE;
            end if;

        end case;
      end if;

      -- the bits of one entry --
      if mask_set_v then
        masked(e_v) <= mask_v;
      end if;
      if pend_set_v then
        pending(e_v) <= pend_v;
      end if;

      -- the memory: one port --
      if ram_write_v then
        ram(to_integer(ram_entry_v & ram_word_v)) := ram_data_v;
      elsif ram_read_v then
        ram_q <= ram(to_integer(ram_entry_v & ram_word_v));
      end if;
    end if;
  end process table;

  acc_ack_o   <= ack;
  msg_valid_o <= valid;

  -- taken where S_IDLE takes it: with the same conditions --
  irq_ready_o <= '1' when (state = S_IDLE) and (unsigned(reset) = 0) and ((acc_enable_i = '0') or (ack = '1')) and (scan = '0') else '0';

  busy_o <= '0' when (state = S_IDLE) and (scan = '0') and (unsigned(reset) = 0) else '1';

end architecture msix_table_rtl;
