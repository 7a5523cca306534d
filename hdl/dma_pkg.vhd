-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Types of the DMA engine: commands, their ends, and what its stages hand on       --
-- -------------------------------------------------------------------------------- --
-- A row is 32 bytes: one beat, one word of the reorder buffers and of scratch.     --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;

package dma_pkg is

  subtype row_t is std_ulogic_vector(255 downto 0);

  -- Spaces (CONTRACT.md, 4) ------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  constant SPACE_PORT0_C   : std_ulogic_vector(3 downto 0) := x"0";
  constant SPACE_PORT1_C   : std_ulogic_vector(3 downto 0) := x"1";
  constant SPACE_SCRATCH_C : std_ulogic_vector(3 downto 0) := x"2";

  -- Status of DMA_DONE -----------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  subtype dma_status_t is std_ulogic_vector(2 downto 0);
  constant DMA_OK_C         : dma_status_t := "000";
  constant DMA_REFUSED_C    : dma_status_t := "001"; -- source answered UR or CA
  constant DMA_TIMEOUT_C    : dma_status_t := "010"; -- source did not answer
  constant DMA_NO_MASTER_C  : dma_status_t := "011"; -- Bus Master Enable is 0
  constant DMA_BAD_COMMAND_C : dma_status_t := "100"; -- length, space, function, scratch range

  constant DMA_LENGTH_MAX_C  : natural := 1048576; -- bytes of one command
  constant RETURN_LENGTH_MAX_C : natural := 4096;  -- bytes of one command with RETURN

  -- Reorder buffer of a port -----------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  constant SLOT_COUNT_C : natural := 32;  -- reads in flight, one tag each
  constant SLOT_BYTES_C : natural := 512; -- longest read

  -- slot number with a wrap bit above it --
  subtype slot_pointer_t is unsigned(5 downto 0);

  -- Command as it comes from the management port ---------------------------------------
  -- ------------------------------------------------------------------------------------
  type dma_command_t is record
    tag                  : std_ulogic_vector(15 downto 0);
    length               : std_ulogic_vector(31 downto 0);
    give_back            : std_ulogic; -- RETURN
    source_space         : std_ulogic_vector(3 downto 0);
    destination_space    : std_ulogic_vector(3 downto 0);
    source_function      : std_ulogic_vector(7 downto 0);
    destination_function : std_ulogic_vector(7 downto 0);
    source_address       : std_ulogic_vector(63 downto 0);
    destination_address  : std_ulogic_vector(63 downto 0);
  end record dma_command_t;

  constant DMA_COMMAND_BITS_C : natural := 201;
  function to_bits_f(command : dma_command_t) return std_ulogic_vector;
  function to_command_f(bits : std_ulogic_vector(DMA_COMMAND_BITS_C-1 downto 0)) return dma_command_t;

  -- End of a command -------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  type dma_done_t is record
    tag       : std_ulogic_vector(15 downto 0);
    length    : std_ulogic_vector(31 downto 0);
    status    : dma_status_t;
    give_back : std_ulogic;
    offset    : std_ulogic_vector(19 downto 0); -- in scratch, where give_back is 1
  end record dma_done_t;

  constant DMA_DONE_BITS_C : natural := 72;
  function to_bits_f(done : dma_done_t) return std_ulogic_vector;
  function to_done_f(bits : std_ulogic_vector(DMA_DONE_BITS_C-1 downto 0)) return dma_done_t;

  -- Command on its way from the reading to the writing side ----------------------------
  -- ------------------------------------------------------------------------------------
  type dma_flight_t is record
    tag                  : std_ulogic_vector(15 downto 0);
    length               : std_ulogic_vector(31 downto 0);
    status               : dma_status_t; -- not OK: nothing was read
    give_back            : std_ulogic;
    source_space         : std_ulogic_vector(1 downto 0);
    destination_space    : std_ulogic_vector(1 downto 0);
    destination_function : std_ulogic_vector(7 downto 0);
    source_address       : std_ulogic_vector(19 downto 0); -- enough for scratch and for a place in a slot
    read_size            : std_ulogic_vector(1 downto 0);  -- a size_t: reads end at its multiples
    destination_address  : std_ulogic_vector(63 downto 0);
  end record dma_flight_t;

  constant DMA_FLIGHT_BITS_C : natural := 150;
  function to_bits_f(flight : dma_flight_t) return std_ulogic_vector;
  function to_flight_f(bits : std_ulogic_vector(DMA_FLIGHT_BITS_C-1 downto 0)) return dma_flight_t;

  -- Sizes of reads and payloads: 0 is 128 bytes, 1 is 256, 2 is 512 ---------------------
  -- ------------------------------------------------------------------------------------
  subtype size_t is natural range 0 to 2;

  -- One MWr, or one piece of scratch, to write ------------------------------------------
  -- ------------------------------------------------------------------------------------
  type dma_write_t is record
    from_port        : std_ulogic; -- else from scratch
    source_port      : natural range 0 to 1;
    to_port          : std_ulogic; -- else to scratch
    destination_port : natural range 0 to 1;
    header           : tlp_header_t;
    beats            : natural range 0 to 8;
    first            : natural range 0 to 31;   -- first byte in the first beat
    first_after      : natural range 0 to 32;   -- byte after the last one in the last beat
    shift            : natural range 0 to 32;   -- byte of the lower of two rows that a beat starts with
    source_row       : unsigned(14 downto 0);   -- first row to read; of a port: modulo the rows of a slot
    row_before       : std_ulogic;              -- that row has no byte of the write
    slot             : slot_pointer_t;          -- of the first byte
    read_size        : size_t;                  -- slots end at its multiples
    slot_after       : slot_pointer_t;          -- of the byte after the last one
    destination_row  : unsigned(14 downto 0);   -- first row of scratch to write
    final            : std_ulogic;              -- last one of its command
  end record dma_write_t;

  -- Byte enables (PCI Express Base Specification, 2.2.5) -------------------------------
  -- ------------------------------------------------------------------------------------
  -- of a request of `bytes` bytes that starts at byte `offset` of its first DW --
  function first_be_f(offset : natural range 0 to 3; bytes : natural) return std_ulogic_vector;
  function last_be_f(offset : natural range 0 to 3; bytes : natural) return std_ulogic_vector;

  -- `row` with zeros outside bytes first..first_after-1 --
  function keep_bytes_f(row : row_t; first : natural; first_after : natural) return row_t;

  function size_bytes_f(size : size_t) return natural;
  function modulo_f(value : natural; size : size_t) return natural;  -- value mod size_bytes_f(size)
  function multiples_f(value : natural; size : size_t) return natural; -- value / size_bytes_f(size)

  function minimum_f(a : natural; b : natural) return natural;

end package dma_pkg;

package body dma_pkg is

  function to_bits_f(command : dma_command_t) return std_ulogic_vector is
    variable bits_v : std_ulogic_vector(DMA_COMMAND_BITS_C-1 downto 0);
  begin
    bits_v := command.tag & command.length & command.give_back & command.source_space & command.destination_space &
              command.source_function & command.destination_function & command.source_address & command.destination_address;
    return bits_v;
  end function to_bits_f;

  function to_command_f(bits : std_ulogic_vector(DMA_COMMAND_BITS_C-1 downto 0)) return dma_command_t is
    variable command_v : dma_command_t;
  begin
    command_v.tag := bits(200 downto 185);
    command_v.length := bits(184 downto 153);
    command_v.give_back := bits(152);
    command_v.source_space := bits(151 downto 148);
    command_v.destination_space := bits(147 downto 144);
    command_v.source_function := bits(143 downto 136);
    command_v.destination_function := bits(135 downto 128);
    command_v.source_address := bits(127 downto 64);
    command_v.destination_address := bits(63 downto 0);
    return command_v;
  end function to_command_f;

  function to_bits_f(done : dma_done_t) return std_ulogic_vector is
    variable bits_v : std_ulogic_vector(DMA_DONE_BITS_C-1 downto 0);
  begin
    bits_v := done.tag & done.length & done.status & done.give_back & done.offset;
    return bits_v;
  end function to_bits_f;

  function to_done_f(bits : std_ulogic_vector(DMA_DONE_BITS_C-1 downto 0)) return dma_done_t is
    variable done_v : dma_done_t;
  begin
    done_v.tag := bits(71 downto 56);
    done_v.length := bits(55 downto 24);
    done_v.status := bits(23 downto 21);
    done_v.give_back := bits(20);
    done_v.offset := bits(19 downto 0);
    return done_v;
  end function to_done_f;

  function to_bits_f(flight : dma_flight_t) return std_ulogic_vector is
    variable bits_v : std_ulogic_vector(DMA_FLIGHT_BITS_C-1 downto 0);
  begin
    bits_v := flight.tag & flight.length & flight.status & flight.give_back & flight.source_space & flight.destination_space &
              flight.destination_function & flight.source_address & flight.read_size & flight.destination_address;
    return bits_v;
  end function to_bits_f;

  function to_flight_f(bits : std_ulogic_vector(DMA_FLIGHT_BITS_C-1 downto 0)) return dma_flight_t is
    variable flight_v : dma_flight_t;
  begin
    flight_v.tag := bits(149 downto 134);
    flight_v.length := bits(133 downto 102);
    flight_v.status := bits(101 downto 99);
    flight_v.give_back := bits(98);
    flight_v.source_space := bits(97 downto 96);
    flight_v.destination_space := bits(95 downto 94);
    flight_v.destination_function := bits(93 downto 86);
    flight_v.source_address := bits(85 downto 66);
    flight_v.read_size := bits(65 downto 64);
    flight_v.destination_address := bits(63 downto 0);
    return flight_v;
  end function to_flight_f;

  function first_be_f(offset : natural range 0 to 3; bytes : natural) return std_ulogic_vector is
    variable be_v : std_ulogic_vector(3 downto 0);
  begin
    be_v := "0000";
    for i in 0 to 3 loop
      if i >= offset and i < offset + bytes then
        be_v(i) := '1';
      end if;
    end loop;
    return be_v;
  end function first_be_f;

  function last_be_f(offset : natural range 0 to 3; bytes : natural) return std_ulogic_vector is
    variable be_v : std_ulogic_vector(3 downto 0);
  begin
    if offset + bytes <= 4 then
      return "0000"; -- one DW
    end if;
    case (offset + bytes) mod 4 is
      when 1      => be_v := "0001";
      when 2      => be_v := "0011";
      when 3      => be_v := "0111";
      when others => be_v := "1111";
    end case;
    return be_v;
  end function last_be_f;

  function keep_bytes_f(row : row_t; first : natural; first_after : natural) return row_t is
    constant ONES_C : unsigned(255 downto 0) := (others => '1');
  begin
    return row and std_ulogic_vector(shift_left(ONES_C, 8 * first) and shift_right(ONES_C, 8 * (32 - first_after)));
  end function keep_bytes_f;

  function size_bytes_f(size : size_t) return natural is
  begin
    case size is
      when 0 => return 128;
      when 1 => return 256;
      when 2 => return 512;
    end case;
  end function size_bytes_f;

  function modulo_f(value : natural; size : size_t) return natural is
  begin
    case size is
      when 0 => return value mod 128;
      when 1 => return value mod 256;
      when 2 => return value mod 512;
    end case;
  end function modulo_f;

  function multiples_f(value : natural; size : size_t) return natural is
  begin
    case size is
      when 0 => return value / 128;
      when 1 => return value / 256;
      when 2 => return value / 512;
    end case;
  end function multiples_f;

  function minimum_f(a : natural; b : natural) return natural is
  begin
    if a < b then
      return a;
    end if;
    return b;
  end function minimum_f;

end package body dma_pkg;
