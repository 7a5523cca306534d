-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Moves the bytes of writes: rows in, beats out, at any alignment                  --
-- -------------------------------------------------------------------------------- --
-- A beat is cut from two neighbouring rows, `shift` (1..32) bytes above the start  --
-- of the lower one. A write reads one row more than it has beats; the first of     --
-- them falls in the cycle of the header, so beats leave without a gap. Rows that   --
-- no byte is taken from may be anything; bytes outside the write are sent as zero. --
-- Three stages that move together: row address, row, beat.                         --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.dma_pkg.all;

entity dma_align is
  generic (
    SCRATCH_BYTES_G : positive
  );
  port (
    clk_i           : in  std_ulogic;
    rst_i           : in  std_ulogic;
    -- writes --
    write_i         : in  dma_write_t;
    write_valid_i   : in  std_ulogic;
    write_ready_o   : out std_ulogic;
    write_final_o   : out std_ulogic;
    idle_o          : out std_ulogic;
    -- slots: thrown away, and free up to here --
    discard_i       : in  std_ulogic_vector(1 downto 0);
    p0_free_o       : out slot_pointer_t;
    p1_free_o       : out slot_pointer_t;
    -- rows of the reorder buffers --
    slot_re_o       : out std_ulogic_vector(1 downto 0);
    slot_raddr_o    : out std_ulogic_vector(8 downto 0);
    p0_rdata_i      : in  row_t;
    p1_rdata_i      : in  row_t;
    -- rows of scratch --
    scratch_re_o    : out std_ulogic;
    scratch_raddr_o : out std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    scratch_rdata_i : in  row_t;
    scratch_we_o    : out std_ulogic;
    scratch_waddr_o : out std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    scratch_wbe_o   : out std_ulogic_vector(31 downto 0);
    -- beats, to scratch and, one valid bit each, the ports --
    data_o          : out std_ulogic_vector(255 downto 0);
    keep_o          : out std_ulogic_vector(7 downto 0);
    last_o          : out std_ulogic;
    valid_o         : out std_ulogic_vector(1 downto 0);
    ready_i         : in  std_ulogic_vector(1 downto 0)
  );
end entity dma_align;

architecture rtl of dma_align is

  type pointers_t is array (0 to 1) of slot_pointer_t;
  signal free_q : pointers_t := (others => (others => '0'));

  signal move : std_ulogic; -- all stages step

  -- row address; beat 0 is the header's cycle --
  signal address_write_q : dma_write_t;
  signal address_valid_q : std_ulogic;
  signal address_beat_q  : natural range 0 to 8;
  signal address_row_q   : unsigned(14 downto 0);
  signal address_slot_q  : unsigned(4 downto 0);

  -- row --
  signal row_write_q : dma_write_t;
  signal row_valid_q : std_ulogic;
  signal row_beat_q  : natural range 0 to 8;
  signal row         : row_t;
  signal before_q    : row_t;

  -- beat --
  signal valid_q   : std_ulogic_vector(1 downto 0);
  signal scratch_q : std_ulogic; -- beat for scratch
  signal final_q   : std_ulogic; -- a command's last one
  signal wrow_q    : unsigned(14 downto 0);

  -- the rule was broken in the cycle before --
  signal outside : std_ulogic := '0';

begin

  write_inside_scratch: assert outside = '0'
    report "a row beyond the end of scratch was written" severity failure;

  move <= '1' when (valid_q and not ready_i) = "00" else '0';

  write_ready_o <= '1' when move = '1' and (address_valid_q = '0' or address_beat_q = address_write_q.beats) else '0';
  idle_o <= '1' when address_valid_q = '0' and row_valid_q = '0' and valid_q = "00" and scratch_q = '0' else '0';
  write_final_o <= final_q and move;
  p0_free_o <= free_q(0);
  p1_free_o <= free_q(1);

  -- Row address --------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  slot_re_o(0) <= '1' when move = '1' and address_valid_q = '1' and address_write_q.from_port = '1' and address_write_q.source_port = 0 else '0';
  slot_re_o(1) <= '1' when move = '1' and address_valid_q = '1' and address_write_q.from_port = '1' and address_write_q.source_port = 1 else '0';
  slot_raddr_o <= std_ulogic_vector(address_slot_q) & std_ulogic_vector(address_row_q(3 downto 0));
  scratch_re_o <= move and address_valid_q and not address_write_q.from_port;
  scratch_raddr_o <= std_ulogic_vector(address_row_q(scratch_raddr_o'range));

  address: process(clk_i)
    variable row_v : unsigned(14 downto 0);
  begin
    if rising_edge(clk_i) then
      if move = '1' and address_valid_q = '1' then
        row_v := address_row_q + 1;
        address_row_q <= row_v;
        if address_beat_q /= address_write_q.beats then
          address_beat_q <= address_beat_q + 1;
        end if;
        if modulo_f(32 * to_integer(row_v(3 downto 0)), address_write_q.read_size) = 0 and (address_beat_q /= 0 or address_write_q.row_before = '0') then
          address_slot_q <= address_slot_q + 1;
        end if;
        if address_beat_q = address_write_q.beats then
          address_valid_q <= '0';
          if address_write_q.from_port = '1' then
            free_q(address_write_q.source_port) <= address_write_q.slot_after;
          end if;
        end if;
      end if;
      if write_ready_o = '1' and write_valid_i = '1' then
        address_write_q <= write_i;
        address_valid_q <= '1';
        address_beat_q <= 0;
        address_row_q <= write_i.source_row;
        address_slot_q <= write_i.slot(4 downto 0);
      end if;
      for i in 0 to 1 loop
        if discard_i(i) = '1' then
          free_q(i) <= free_q(i) + 1;
        end if;
      end loop;
      if rst_i = '1' then
        address_valid_q <= '0';
        address_beat_q <= 0;
        free_q <= (others => (others => '0'));
      end if;
    end if;
  end process address;

  -- Row ----------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  row <= scratch_rdata_i when row_write_q.from_port = '0' else
         p0_rdata_i      when row_write_q.source_port = 0 else
         p1_rdata_i;

  rows: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if move = '1' then
        row_valid_q <= address_valid_q;
        if address_valid_q = '1' then
          row_beat_q <= address_beat_q;
          if address_beat_q = 0 then
            row_write_q <= address_write_q;
          end if;
        end if;
        if row_valid_q = '1' then
          before_q <= row;
        end if;
      end if;
      if rst_i = '1' then
        row_valid_q <= '0';
      end if;
    end if;
  end process rows;

  -- Beat ---------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  valid_o <= valid_q;
  scratch_we_o <= scratch_q;
  scratch_waddr_o <= std_ulogic_vector(wrow_q(scratch_waddr_o'range));

  beats: process(clk_i)
    variable rows_v        : std_ulogic_vector(511 downto 0);
    variable data_v        : row_t;
    variable first_v       : natural range 0 to 31;
    variable first_after_v : natural range 1 to 32;
  begin
    if rising_edge(clk_i) then
      if move = '1' then
        valid_q <= "00";
        scratch_q <= '0';
        final_q <= '0';
        if row_valid_q = '1' and row_beat_q = 0 then
          if row_write_q.to_port = '1' then
            data_o <= (others => '0');
            data_o(127 downto 0) <= row_write_q.header;
            keep_o <= header_keep_f(row_write_q.header, 256);
            last_o <= '0';
            valid_q(row_write_q.destination_port) <= '1';
          end if;
          wrow_q <= row_write_q.destination_row;
        elsif row_valid_q = '1' then
          rows_v := row & before_q;
          data_v := rows_v(8*row_write_q.shift+255 downto 8*row_write_q.shift);
          first_v := 0;
          first_after_v := 32;
          keep_o <= x"FF";
          last_o <= '0';
          if row_beat_q = 1 then
            first_v := row_write_q.first;
          else
            wrow_q <= wrow_q + 1;
          end if;
          if row_beat_q = row_write_q.beats then
            first_after_v := row_write_q.first_after;
            for i in 0 to 7 loop
              if 4*i >= row_write_q.first_after then
                keep_o(i) <= '0';
              end if;
            end loop;
            last_o <= '1';
            final_q <= row_write_q.final;
          end if;
          if first_v /= 0 or first_after_v /= 32 then
            data_v := keep_bytes_f(data_v, first_v, first_after_v);
          end if;
          data_o <= data_v;
          if row_write_q.to_port = '1' then
            valid_q(row_write_q.destination_port) <= '1';
          else
            scratch_q <= '1';
            for i in 0 to 31 loop
              if i >= first_v and i < first_after_v then
                scratch_wbe_o(i) <= '1';
              else
                scratch_wbe_o(i) <= '0';
              end if;
            end loop;
          end if;
        end if;
      end if;
      if rst_i = '1' then
        valid_q <= "00";
        scratch_q <= '0';
        final_q <= '0';
      end if;
      outside <= '0';
      if scratch_q = '1' and wrow_q >= SCRATCH_BYTES_G/32 and rst_i = '0' then
        outside <= '1';
      end if;
    end if;
  end process beats;

end architecture rtl;
