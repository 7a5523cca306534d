-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- MSI-X of the functions of one PCIe port: tables, pending bits, messages          --
-- -------------------------------------------------------------------------------- --
-- BAR1: table at 0, PBA at 0x2000. A vector whose message may not leave is pending --
-- and sent once when it may: when it is unmasked, the function is, or Bus Master   --
-- Enable or MSI-X Enable is set. The table and the pending bits lie in one memory; --
-- Vector Control's word has the mask in bit 0 and the pending bit in bit 1.        --
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

  type state_t is (S_CLEAR, S_IDLE, S_READ, S_PBA, S_CHECK, S_SCAN, S_LOAD, S_LOAD_LOW, S_LOAD_HIGH, S_LOAD_DATA, S_SEND);
  signal state : state_t;

  constant CONTROL_C  : unsigned(1 downto 0) := "11"; -- word of an entry: Vector Control
  constant MASKED_C   : natural := 0;                 -- its bits
  constant PENDING_C  : natural := 1;

  signal entry   : unsigned(ENTRY_BITS_C-1 downto 0);         -- being cleared, looked at or sent
  signal word    : unsigned(1 downto 0);                      -- of the entry being cleared
  signal all_f   : std_ulogic;                                -- all functions are being cleared
  signal bits    : unsigned(4 downto 0);                      -- of a DW of the PBA: gathered so far
  signal allowed : std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- the function may send messages
  signal known   : std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- allowed, as of the cycle before
  signal reset   : std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- function level reset to be done
  signal scan    : std_ulogic;                                -- a pending vector may have become free
  signal some    : std_ulogic;                                -- there may be pending vectors
  signal found   : std_ulogic;                                -- and this scan has seen one
  signal ram_q   : std_ulogic_vector(31 downto 0);
  signal low     : std_ulogic_vector(31 downto 0);            -- message address
  signal high    : std_ulogic_vector(31 downto 0);
  signal pba     : std_ulogic_vector(31 downto 0);
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
    variable vector_v    : natural range 0 to 65535;
    variable f_v         : natural range 0 to 2**FUNCTION_BITS_C-1;
    variable allowed_v   : std_ulogic_vector(2**FUNCTION_BITS_C-1 downto 0);
    variable pba_v       : std_ulogic_vector(31 downto 0);
    variable free_v      : boolean; -- the entry's message may leave
  begin
    if rising_edge(clk_i) then
      ram_read_v  := false;
      ram_write_v := false;
      ram_entry_v := entry;
      ram_word_v  := CONTROL_C;
      ram_data_v  := (others => '0');

      if (rst_i = '1') then
        state <= S_CLEAR;
        entry <= (others => '0');
        word  <= "00";
        all_f <= '1';
        known <= (others => '0');
        reset <= (others => '0');
        scan  <= '0';
        some  <= '0';
        found <= '0';
        ack   <= '0';
        valid <= '0';
      else
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

        -- choose the next job ------------------------------------------------------------
        -- --------------------------------------------------------------------------------
        if (state = S_IDLE) then
          word  <= "00";
          all_f <= '0';
          bits  <= (others => '0');
          found <= '0';
          if (unsigned(reset) /= 0) then
            f_v := 0;
            for f in FUNCTIONS_G-1 downto 0 loop
              if (reset(f) = '1') then
                f_v := f;
              end if;
            end loop;
            reset(f_v) <= flr_i(f_v);
            entry      <= to_unsigned(f_v, FUNCTION_BITS_C) & to_unsigned(0, VECTOR_BITS_C);
            state      <= S_CLEAR;

          elsif (acc_enable_i = '1') and (ack = '0') then
            if (acc_address_i(13) = '1') then -- PBA: 32 vectors a DW, read only
              vector_v := 32*to_integer(unsigned(acc_address_i(12 downto 2)));
            else
              vector_v := to_integer(unsigned(acc_address_i(12 downto 4)));
            end if;
            entry      <= unsigned(acc_function_i(FUNCTION_BITS_C-1 downto 0)) & to_unsigned(vector_v mod 2**VECTOR_BITS_C, VECTOR_BITS_C);
            acc_data_o <= (others => '0');
            if (vector_v >= VECTORS_G) then
              ack <= '1';
            else
              ram_read_v  := true;
              ram_entry_v := unsigned(acc_function_i(FUNCTION_BITS_C-1 downto 0)) & to_unsigned(vector_v mod 2**VECTOR_BITS_C, VECTOR_BITS_C);
              if (acc_address_i(13) = '1') then
                state <= S_PBA;
              else
                ram_word_v := unsigned(acc_address_i(3 downto 2));
                state      <= S_READ;
              end if;
            end if;

          elsif (scan = '1') then
            scan  <= '0';
            entry <= (others => '0');
            if (some = '1') then
              ram_read_v  := true;
              ram_entry_v := (others => '0');
              state       <= S_SCAN;
            end if;

          elsif (irq_valid_i = '1') then
            entry <= unsigned(irq_function_i(FUNCTION_BITS_C-1 downto 0)) & unsigned(irq_vector_i(VECTOR_BITS_C-1 downto 0));
            if (unsigned(irq_vector_i) < VECTORS_G) then
              ram_read_v  := true;
              ram_entry_v := unsigned(irq_function_i(FUNCTION_BITS_C-1 downto 0)) & unsigned(irq_vector_i(VECTOR_BITS_C-1 downto 0));
              state       <= S_CHECK;
            end if;
          end if;

        -- do it ----------------------------------------------------------------------------
        -- --------------------------------------------------------------------------------
        else
          allowed_v := std_ulogic_vector(resize(unsigned(allowed), 2**FUNCTION_BITS_C));
          free_v    := (allowed_v(to_integer(entry(ENTRY_BITS_C-1 downto VECTOR_BITS_C))) = '1') and (ram_q(MASKED_C) = '0');

          case state is

            -- entries back to their reset values: masked, not pending --
            when S_CLEAR =>
              ram_write_v := true;
              ram_word_v  := word;
              if (word = CONTROL_C) then
                ram_data_v(MASKED_C) := '1';
                entry <= entry + 1;
                if (entry(VECTOR_BITS_C-1 downto 0) = 2**VECTOR_BITS_C-1) and ((all_f = '0') or (entry = ENTRIES_C-1)) then
                  state <= S_IDLE;
                end if;
              end if;
              word <= word + 1;

            -- table: read, or read and write back --
            when S_READ =>
              ack        <= '1';
              state      <= S_IDLE;
              ram_word_v := unsigned(acc_address_i(3 downto 2));
              ram_data_v := merge_bytes_f(ram_q, acc_data_i, acc_be_i);
              acc_data_o <= ram_q;
              if (ram_word_v = CONTROL_C) then
                acc_data_o(PENDING_C) <= '0';
                ram_data_v := (MASKED_C => ram_data_v(MASKED_C), PENDING_C => ram_q(PENDING_C), others => '0');
              elsif (ram_word_v = "00") then -- message address: of a DW
                ram_data_v(1 downto 0) := "00";
              end if;
              if (acc_write_i = '1') then
                ram_write_v := true;
                scan        <= '1';
              end if;

            -- PBA: gather the bits of a DW, one a cycle --
            when S_PBA =>
              pba_v := '0' & pba(31 downto 1);
              if (32*to_integer(unsigned(acc_address_i(12 downto 2))) + to_integer(bits) < VECTORS_G) then
                pba_v(31) := ram_q(PENDING_C);
              end if;
              pba         <= pba_v;
              entry       <= entry + 1;
              bits        <= bits + 1;
              ram_read_v  := true;
              ram_entry_v := entry + 1;
              if (bits = 31) then
                acc_data_o <= pba_v;
                ack        <= '1';
                state      <= S_IDLE;
              end if;

            -- an interrupt: send it, or keep it pending --
            when S_CHECK =>
              ram_write_v := true;
              ram_data_v(MASKED_C) := ram_q(MASKED_C);
              if free_v then
                state <= S_LOAD;
              else
                ram_data_v(PENDING_C) := '1';
                some  <= '1';
                state <= S_IDLE;
              end if;

            -- look for a pending vector that may be sent now --
            when S_SCAN =>
              if (ram_q(PENDING_C) = '1') and free_v then
                ram_write_v := true;
                scan        <= '1'; -- and for the rest afterwards
                state       <= S_LOAD;
              else
                entry       <= entry + 1;
                ram_read_v  := true;
                ram_entry_v := entry + 1;
                found       <= found or ram_q(PENDING_C);
                if (entry = ENTRIES_C-1) then
                  some  <= found or ram_q(PENDING_C);
                  state <= S_IDLE;
                end if;
              end if;

            -- address and data of the message --
            when S_LOAD =>
              ram_read_v := true;
              ram_word_v := "00";
              state      <= S_LOAD_LOW;

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

            when others => -- S_SEND
              if (msg_ready_i = '1') then
                valid <= '0';
                state <= S_IDLE;
              end if;

          end case;
        end if;
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
