-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Example device: shared types and the header fields it uses                       --
-- (PCI Express Base Specification, 2.2)                                            --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

package example_pkg is

  constant DATA_WIDTH_C : natural := 256;
  constant LANES_C : natural := DATA_WIDTH_C / 32;

  subtype dword_t is std_logic_vector(31 downto 0);
  type dword_array_t is array (natural range <>) of dword_t;

  -- One beat of a stream, with the valid that goes with it.
  type beat_t is record
    data : std_logic_vector(DATA_WIDTH_C - 1 downto 0);
    keep : std_logic_vector(LANES_C - 1 downto 0);
    last : std_logic;
    valid : std_logic;
  end record;

  constant NO_BEAT_C : beat_t := (data => (others => '0'), keep => (others => '0'), last => '0', valid => '0');

  -- Fmt and Type: bits 31..24 of header DW 0 --
  constant MRD_3DW_C : std_logic_vector(7 downto 0) := x"00";
  constant MRD_4DW_C : std_logic_vector(7 downto 0) := x"20";
  constant MWR_3DW_C : std_logic_vector(7 downto 0) := x"40";
  constant MWR_4DW_C : std_logic_vector(7 downto 0) := x"60";
  constant CFGRD0_C : std_logic_vector(7 downto 0) := x"04";
  constant CFGWR0_C : std_logic_vector(7 downto 0) := x"44";
  constant CPL_C : std_logic_vector(7 downto 0) := x"0A";
  constant CPLD_C : std_logic_vector(7 downto 0) := x"4A";
  constant MSG_LOCAL_C : std_logic_vector(7 downto 0) := x"34";

  constant ASSERT_INTA_C : std_logic_vector(7 downto 0) := x"20";
  constant DEASSERT_INTA_C : std_logic_vector(7 downto 0) := x"24";

  -- Completion status --
  constant SC_C : std_logic_vector(2 downto 0) := "000";
  constant UR_C : std_logic_vector(2 downto 0) := "001";
  constant CA_C : std_logic_vector(2 downto 0) := "100";

  -- DW k of a beat.
  function dword(data : std_logic_vector; k : natural) return dword_t;
  -- A header beat of three or four DWs.
  function header_beat(dw0, dw1, dw2, dw3 : dword_t; four, last : std_logic) return beat_t;
  -- A memory request's header beat: 3 DWs below 4 GiB, 4 from there on.
  function memory_request(write : std_logic; id : std_logic_vector(15 downto 0); tag : std_logic_vector(7 downto 0);
                          dwords : unsigned(9 downto 0); address : std_logic_vector(63 downto 0)) return beat_t;

end package;

package body example_pkg is

  function dword(data : std_logic_vector; k : natural) return dword_t is
  begin
    return data(32 * k + 31 downto 32 * k);
  end function;

  function header_beat(dw0, dw1, dw2, dw3 : dword_t; four, last : std_logic) return beat_t is
    variable b : beat_t := NO_BEAT_C;
  begin
    b.data(127 downto 0) := dw3 & dw2 & dw1 & dw0;
    b.keep(3 downto 0) := four & "111";
    b.last := last;
    b.valid := '1';
    return b;
  end function;

  function memory_request(write : std_logic; id : std_logic_vector(15 downto 0); tag : std_logic_vector(7 downto 0);
                          dwords : unsigned(9 downto 0); address : std_logic_vector(63 downto 0)) return beat_t is
    variable four : std_logic := '0';
    variable dw0, dw1 : dword_t;
  begin
    if unsigned(address(63 downto 32)) /= 0 then
      four := '1';
    end if;
    dw0 := '0' & write & four & "00000" & x"000" & "00" & std_logic_vector(dwords);
    -- Byte enables: whole DWs; a request of one DW has no last DW.
    dw1 := id & tag & x"FF";
    if dwords = 1 then
      dw1(7 downto 4) := x"0";
    end if;
    if four = '1' then
      return header_beat(dw0, dw1, address(63 downto 32), address(31 downto 2) & "00", '1', not write);
    end if;
    return header_beat(dw0, dw1, address(31 downto 2) & "00", x"00000000", '0', not write);
  end function;

end package body;
