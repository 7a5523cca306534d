-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Joins the events of the two ports; they take turns                               --
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

  signal valid : std_ulogic;
  signal turn  : std_ulogic; -- who goes first if both want: 0 port 0, 1 port 1

begin

  a_ready_o <= a_valid_i and (not valid) and ((not turn) or (not b_valid_i));
  b_ready_o <= b_valid_i and (not valid) and (turn or (not a_valid_i));

  take: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        valid <= '0';
        turn  <= '0';
      elsif (valid = '1') then
        if (ev_ready_i = '1') then
          valid <= '0';
        end if;
      elsif (a_valid_i = '1') and ((turn = '0') or (b_valid_i = '0')) then
        valid       <= '1';
        turn        <= '1';
        ev_opcode_o <= a_opcode_i;
        ev_dw2_o    <= a_dw2_i;
        ev_dw3_o    <= a_dw3_i;
        ev_dw4_o    <= a_dw4_i;
      elsif (b_valid_i = '1') then
        valid       <= '1';
        turn        <= '0';
        ev_opcode_o <= b_opcode_i;
        ev_dw2_o    <= b_dw2_i;
        ev_dw3_o    <= b_dw3_i;
        ev_dw4_o    <= b_dw4_i;
      end if;
    end if;
  end process take;

  ev_valid_o <= valid;

end architecture event_arbiter_rtl;
