-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Types, constants and functions shared by the FPGA's entities                     --
-- -------------------------------------------------------------------------------- --
-- A stream of packets is five signals side by side: data, keep (one bit per DW),   --
-- last, valid and, against them, ready. Beat 0 of a packet is its header, DW k in  --
-- bits 32k+31..32k; the payload starts in beat 1 (CONTRACT.md, 2).                 --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

package cosim_pkg is

  -- Arrays of small words, one element per PCI function --------------------------------
  -- ------------------------------------------------------------------------------------
  type code3_array_t is array (natural range <>) of std_ulogic_vector(2 downto 0);
  type word16_array_t is array (natural range <>) of std_ulogic_vector(15 downto 0);
  type word32_array_t is array (natural range <>) of std_ulogic_vector(31 downto 0);

  -- TLP header (PCI Express Base Specification, 2.2) -----------------------------------
  -- DW k in bits 32k+31..32k; DW3 is 0 where the header has 3 DWs
  -- ------------------------------------------------------------------------------------
  subtype tlp_header_t is std_ulogic_vector(127 downto 0);

  -- Fmt and Type: bits 31:24 of DW0 --
  constant TLP_MRD32_C  : std_ulogic_vector(7 downto 0) := x"00";
  constant TLP_MRD64_C  : std_ulogic_vector(7 downto 0) := x"20";
  constant TLP_MWR32_C  : std_ulogic_vector(7 downto 0) := x"40";
  constant TLP_MWR64_C  : std_ulogic_vector(7 downto 0) := x"60";
  constant TLP_CFGRD0_C : std_ulogic_vector(7 downto 0) := x"04";
  constant TLP_CFGWR0_C : std_ulogic_vector(7 downto 0) := x"44";
  constant TLP_CPL_C    : std_ulogic_vector(7 downto 0) := x"0A";
  constant TLP_CPLD_C   : std_ulogic_vector(7 downto 0) := x"4A";
  constant TLP_MSG_C    : std_ulogic_vector(7 downto 0) := x"34"; -- local, terminate at receiver

  -- Completion Status: bits 15:13 of DW1 --
  constant CPL_SC_C : std_ulogic_vector(2 downto 0) := "000";
  constant CPL_UR_C : std_ulogic_vector(2 downto 0) := "001";
  constant CPL_CA_C : std_ulogic_vector(2 downto 0) := "100";

  -- Message Code: bits 7:0 of DW1 --
  constant MSG_ASSERT_INTA_C   : std_ulogic_vector(7 downto 0) := x"20";
  constant MSG_DEASSERT_INTA_C : std_ulogic_vector(7 downto 0) := x"24";

  -- Header builders ---------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  -- DW k of a header --
  function header_dw_f(header : std_ulogic_vector; dw : natural) return std_ulogic_vector;

  -- keep of a TLP's header beat: 3 or 4 DWs --
  function header_keep_f(header : tlp_header_t; width : positive) return std_ulogic_vector;

  -- MRd or MWr; length in DWs (0 means 1024, as in the header). 3 DWs below 4 GiB, 4 DWs from there on.
  function memory_header_f(
    write      : std_ulogic;
    address    : std_ulogic_vector(63 downto 0);
    length     : std_ulogic_vector(9 downto 0);
    requester  : std_ulogic_vector(15 downto 0);
    tag        : std_ulogic_vector(7 downto 0);
    last_be    : std_ulogic_vector(3 downto 0);
    first_be   : std_ulogic_vector(3 downto 0)) return tlp_header_t;

  -- CplD of `length` DWs, or Cpl where length is 0 --
  function completion_header_f(
    length        : std_ulogic_vector(9 downto 0);
    completer     : std_ulogic_vector(15 downto 0);
    status        : std_ulogic_vector(2 downto 0);
    byte_count    : std_ulogic_vector(11 downto 0);
    requester     : std_ulogic_vector(15 downto 0);
    tag           : std_ulogic_vector(7 downto 0);
    lower_address : std_ulogic_vector(6 downto 0)) return tlp_header_t;

  -- Msg without data (Assert_INTA, Deassert_INTA) --
  function message_header_f(
    requester : std_ulogic_vector(15 downto 0);
    code      : std_ulogic_vector(7 downto 0)) return tlp_header_t;

  -- Helpers -----------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  -- bits needed to count from 0 to `count` - 1, at least 1 --
  function index_bits_f(count : positive) return positive;

  -- `word` with those bytes replaced whose enable is 1 --
  function merge_bytes_f(
    word    : std_ulogic_vector(31 downto 0);
    data    : std_ulogic_vector(31 downto 0);
    enables : std_ulogic_vector(3 downto 0)) return std_ulogic_vector;

end package cosim_pkg;

package body cosim_pkg is

  function header_dw_f(header : std_ulogic_vector; dw : natural) return std_ulogic_vector is
    variable bits_v : std_ulogic_vector(header'length-1 downto 0);
  begin
    bits_v := header;
    return bits_v(32*dw+31 downto 32*dw);
  end function header_dw_f;

  function header_keep_f(header : tlp_header_t; width : positive) return std_ulogic_vector is
    variable keep_v : std_ulogic_vector(width/32-1 downto 0);
  begin
    keep_v := (others => '0');
    keep_v(2 downto 0) := "111";
    keep_v(3) := header(29); -- Fmt bit 0: 4 DWs
    return keep_v;
  end function header_keep_f;

  function memory_header_f(
    write      : std_ulogic;
    address    : std_ulogic_vector(63 downto 0);
    length     : std_ulogic_vector(9 downto 0);
    requester  : std_ulogic_vector(15 downto 0);
    tag        : std_ulogic_vector(7 downto 0);
    last_be    : std_ulogic_vector(3 downto 0);
    first_be   : std_ulogic_vector(3 downto 0)) return tlp_header_t is
    variable header_v : tlp_header_t;
    variable long_v   : std_ulogic;
  begin
    long_v := '0';
    if unsigned(address(63 downto 32)) /= 0 then
      long_v := '1';
    end if;
    header_v := (others => '0');
    header_v(31 downto 24) := '0' & write & long_v & "00000";
    header_v(9 downto 0) := length;
    header_v(63 downto 32) := requester & tag & last_be & first_be;
    if long_v = '1' then
      header_v(95 downto 64) := address(63 downto 32);
      header_v(127 downto 96) := address(31 downto 2) & "00";
    else
      header_v(95 downto 64) := address(31 downto 2) & "00";
    end if;
    return header_v;
  end function memory_header_f;

  function completion_header_f(
    length        : std_ulogic_vector(9 downto 0);
    completer     : std_ulogic_vector(15 downto 0);
    status        : std_ulogic_vector(2 downto 0);
    byte_count    : std_ulogic_vector(11 downto 0);
    requester     : std_ulogic_vector(15 downto 0);
    tag           : std_ulogic_vector(7 downto 0);
    lower_address : std_ulogic_vector(6 downto 0)) return tlp_header_t is
    variable header_v : tlp_header_t;
  begin
    header_v := (others => '0');
    header_v(31 downto 24) := TLP_CPL_C;
    if unsigned(length) /= 0 then
      header_v(31 downto 24) := TLP_CPLD_C;
    end if;
    header_v(9 downto 0) := length;
    header_v(63 downto 32) := completer & status & '0' & byte_count;
    header_v(95 downto 64) := requester & tag & '0' & lower_address;
    return header_v;
  end function completion_header_f;

  function message_header_f(
    requester : std_ulogic_vector(15 downto 0);
    code      : std_ulogic_vector(7 downto 0)) return tlp_header_t is
    variable header_v : tlp_header_t;
  begin
    header_v := (others => '0');
    header_v(31 downto 24) := TLP_MSG_C;
    header_v(63 downto 32) := requester & x"00" & code;
    return header_v;
  end function message_header_f;

  function index_bits_f(count : positive) return positive is
    variable bits_v : positive;
  begin
    bits_v := 1;
    while 2**bits_v < count loop
      bits_v := bits_v + 1;
    end loop;
    return bits_v;
  end function index_bits_f;

  function merge_bytes_f(
    word    : std_ulogic_vector(31 downto 0);
    data    : std_ulogic_vector(31 downto 0);
    enables : std_ulogic_vector(3 downto 0)) return std_ulogic_vector is
    variable result_v : std_ulogic_vector(31 downto 0);
  begin
    result_v := word;
    for i in 0 to 3 loop
      if enables(i) = '1' then
        result_v(8*i+7 downto 8*i) := data(8*i+7 downto 8*i);
      end if;
    end loop;
    return result_v;
  end function merge_bytes_f;

end package body cosim_pkg;
