-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Asserts the rule of busy_o (CONTRACT.md, 4)                                      --
-- -------------------------------------------------------------------------------- --
-- It is 1 while anything waits, and once it is 0 with nothing offered nothing      --
-- comes by itself: the clock may be stopped. Reads only, has no outputs. What      --
-- waits is looked at in VHDL simulators only, for the time it takes.               --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity busy_assert is
  port (
    clk_i     : in  std_ulogic; -- clock, rising edge
    rst_i     : in  std_ulogic; -- reset, synchronous, high-active
    busy_i    : in  std_ulogic;
    offered_i : in  std_ulogic; -- a packet into the FPGA
    waiting_i : in  std_ulogic  -- something waits inside
  );
end entity busy_assert;

architecture busy_assert_rtl of busy_assert is

  -- the rule was broken in the cycle before --
  signal idle : std_ulogic := '0';
  signal woke : std_ulogic := '0';

begin

  -- pragma translate_off
  busy_while_waiting: assert idle = '0'
    report "busy was 0 while something waited" severity failure;
  -- pragma translate_on
  idle_until_offered: assert woke = '0'
    report "busy was 0, nothing was offered, and yet it became 1" severity failure;

  watch: process(clk_i)
    variable quiet_v : std_ulogic := '0';
  begin
    if rising_edge(clk_i) then
      -- pragma translate_off
      idle    <= waiting_i and not busy_i and not rst_i;
      -- pragma translate_on
      woke    <= quiet_v and busy_i and not rst_i;
      quiet_v := not busy_i and not offered_i and not rst_i;
    end if;
  end process watch;

end architecture busy_assert_rtl;
