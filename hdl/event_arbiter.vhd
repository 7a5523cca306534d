-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Joins the events of the two ports; they take turns, nothing is kept in between   --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity event_arbiter is
  port (
    clk_i       : in  std_ulogic; -- clock, rising edge
    rst_i       : in  std_ulogic; -- reset, synchronous, high-active
    -- port 0 --
    a_valid_i   : in  std_ulogic;
    a_ready_o   : out std_ulogic;
    a_opcode_i  : in  std_ulogic_vector(7 downto 0);
    a_dw2_i     : in  std_ulogic_vector(31 downto 0);
    a_dw3_i     : in  std_ulogic_vector(31 downto 0);
    a_dw4_i     : in  std_ulogic_vector(31 downto 0);
    -- port 1 --
    b_valid_i   : in  std_ulogic;
    b_ready_o   : out std_ulogic;
    b_opcode_i  : in  std_ulogic_vector(7 downto 0);
    b_dw2_i     : in  std_ulogic_vector(31 downto 0);
    b_dw3_i     : in  std_ulogic_vector(31 downto 0);
    b_dw4_i     : in  std_ulogic_vector(31 downto 0);
    -- management port --
    ev_valid_o  : out std_ulogic;
    ev_ready_i  : in  std_ulogic;
    ev_opcode_o : out std_ulogic_vector(7 downto 0);
    ev_dw2_o    : out std_ulogic_vector(31 downto 0);
    ev_dw3_o    : out std_ulogic_vector(31 downto 0);
    ev_dw4_o    : out std_ulogic_vector(31 downto 0)
  );
end entity event_arbiter;

architecture event_arbiter_rtl of event_arbiter is

  signal turn  : std_ulogic; -- who goes first if both want: 0 port 0, 1 port 1
  signal hold  : std_ulogic; -- an event is shown and not yet taken
  signal shown : std_ulogic; -- whose: 0 port 0, 1 port 1
  signal chose : std_ulogic; -- whose, this cycle

begin

  chose <= shown when (hold = '1') else (b_valid_i and (turn or not a_valid_i));

  turns: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        turn  <= '0';
        hold  <= '0';
        shown <= '0';
      elsif (a_valid_i = '1') or (b_valid_i = '1') then
        hold  <= not ev_ready_i;
        shown <= chose;
        turn  <= not chose;
      end if;
    end if;
  end process turns;

  ev_valid_o  <= b_valid_i when (chose = '1') else a_valid_i;
  ev_opcode_o <= b_opcode_i when (chose = '1') else a_opcode_i;
  ev_dw2_o    <= b_dw2_i when (chose = '1') else a_dw2_i;
  ev_dw3_o    <= b_dw3_i when (chose = '1') else a_dw3_i;
  ev_dw4_o    <= b_dw4_i when (chose = '1') else a_dw4_i;

  a_ready_o <= ev_ready_i and not chose;
  b_ready_o <= ev_ready_i and chose;

end architecture event_arbiter_rtl;
