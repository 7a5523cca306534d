-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Memories and random numbers of the DMA benches                                   --
-- -------------------------------------------------------------------------------- --
-- Memory of a port: 256 KiB at 0 and 256 KiB at HIGH_C. The lower half of each is  --
-- only read (with pages that answer UR, CA or not at all), the upper only written. --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;
use ieee.math_real.all;

package dma_tb_pkg is

  constant HIGH_C       : std_ulogic_vector(31 downto 0) := x"00000012"; -- address bits 63:32 of the upper part
  constant PART_BYTES_C : natural := 16#40000#;
  constant TARGET_C     : natural := 16#20000#; -- from here on written
  constant GOOD_C       : natural := 16#1A000#; -- up to here reads succeed
  constant UR_C         : natural := 16#1A000#; -- 4 KiB each
  constant CA_C         : natural := 16#1C000#;
  constant SILENT_C     : natural := 16#1E000#;
  constant SCRATCH_C    : natural := 2;         -- number of the scratch memory
  constant BYTES_C      : natural := 2 * PART_BYTES_C;

  -- status of a read of this byte as DMA_DONE tells it --
  function page_status_f(index : natural) return natural;

  -- three memories: port 0, port 1, scratch --
  type memories_t is protected
    procedure put(space : natural; index : natural; value : natural);
    impure function get(space : natural; index : natural) return natural;
  end protected memories_t;

  -- counters, one per port --
  type counters_t is protected
    procedure add(port_number : natural; count : natural);
    impure function get(port_number : natural) return natural;
  end protected counters_t;

  -- low..high, both included --
  procedure draw(variable seed1 : inout positive; variable seed2 : inout positive; low : in integer; high : in integer;
                 variable result : out integer);

end package dma_tb_pkg;

package body dma_tb_pkg is

  function page_status_f(index : natural) return natural is
    variable low_v : natural;
  begin
    low_v := index mod PART_BYTES_C;
    if low_v >= SILENT_C and low_v < TARGET_C then
      return 2;
    elsif (low_v >= UR_C and low_v < UR_C + 4096) or (low_v >= CA_C and low_v < CA_C + 4096) then
      return 1;
    end if;
    return 0;
  end function page_status_f;

  type memories_t is protected body
    type bytes_t is array (0 to 3*BYTES_C-1) of natural range 0 to 255;
    variable bytes_v : bytes_t := (others => 0);

    procedure put(space : natural; index : natural; value : natural) is
    begin
      bytes_v(space * BYTES_C + index) := value;
    end procedure put;

    impure function get(space : natural; index : natural) return natural is
    begin
      return bytes_v(space * BYTES_C + index);
    end function get;
  end protected body memories_t;

  type counters_t is protected body
    type counts_t is array (0 to 1) of natural;
    variable counts_v : counts_t := (others => 0);

    procedure add(port_number : natural; count : natural) is
    begin
      counts_v(port_number) := counts_v(port_number) + count;
    end procedure add;

    impure function get(port_number : natural) return natural is
    begin
      return counts_v(port_number);
    end function get;
  end protected body counters_t;

  procedure draw(variable seed1 : inout positive; variable seed2 : inout positive; low : in integer; high : in integer;
                 variable result : out integer) is
    variable real_v : real;
  begin
    uniform(seed1, seed2, real_v);
    result := low + integer(floor(real_v * real(high - low + 1)));
  end procedure draw;

end package body dma_tb_pkg;
