-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Asserts that a request into a port gets the completions that are due to it       --
-- -------------------------------------------------------------------------------- --
-- None for a posted one, one with the request's own id and tag for a non-posted    --
-- one, none while there is no request. What is malformed gets none or one.         --
-- Reads only, has no outputs. What needs the header is looked at in VHDL           --
-- simulators only: it costs a simulator of the netlist too much time.              --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

library work;
use work.cosim_pkg.all;

entity completion_assert is
  port (
    clk_i        : in  std_ulogic; -- clock, rising edge
    rst_i        : in  std_ulogic; -- reset, synchronous, high-active
    -- requests --
    req_valid_i  : in  std_ulogic;
    req_ready_i  : in  std_ulogic; -- dealt with
    req_header_i : in  tlp_header_t;
    req_dwords_i : in  std_ulogic_vector(1 downto 0);
    -- completions --
    cpl_valid_i  : in  std_ulogic;
    cpl_ready_i  : in  std_ulogic;
    cpl_header_i : in  tlp_header_t
  );
end entity completion_assert;

architecture completion_assert_rtl of completion_assert is

  -- the rule was broken in the cycle before --
  signal surplus : std_ulogic := '0';
  signal missing : std_ulogic := '0';
  signal foreign : std_ulogic := '0';

begin

  one_completion: assert surplus = '0'
    report "a completion without a request, or the second one of a request" severity failure;
  -- pragma translate_off
  completion_of_read: assert missing = '0'
    report "a non-posted request ended without a completion" severity failure;
  completion_tag: assert foreign = '0'
    report "a completion has not the requester and tag of its request" severity failure;
  -- pragma translate_on

  watch: process(clk_i)
    variable answered_v : std_ulogic := '0';
    -- pragma translate_off
    variable plain_v    : boolean; -- non-posted beyond doubt: reads and writes of configuration space, reads of memory
    -- pragma translate_on
  begin
    if rising_edge(clk_i) then
      surplus <= '0';
      -- pragma translate_off
      missing <= '0';
      foreign <= '0';
      -- pragma translate_on
      if (rst_i = '1') then
        answered_v := '0';
      else
        if (cpl_valid_i = '1') and (cpl_ready_i = '1') then
          surplus <= answered_v or not req_valid_i;
          -- pragma translate_off
          -- memory writes and messages are posted --
          if ((req_header_i(31 downto 30) = "01") and (req_header_i(28 downto 24) = "00000")) or (req_header_i(28 downto 27) = "10") then
            surplus <= '1';
          end if;
          if (cpl_header_i(95 downto 72) /= req_header_i(63 downto 40)) then
            foreign <= '1';
          end if;
          -- pragma translate_on
          answered_v := '1';
        end if;
        if (req_valid_i = '1') and (req_ready_i = '1') then
          -- pragma translate_off
          plain_v := (req_header_i(9 downto 0) = "0000000001") and (req_header_i(39 downto 36) = "0000") and (req_header_i(15) = '0');
          case req_header_i(31 downto 24) is
            when TLP_CFGRD0_C | TLP_MRD32_C | TLP_MRD64_C => plain_v := plain_v and (req_dwords_i = "00");
            when TLP_CFGWR0_C                             => plain_v := plain_v and (req_dwords_i = "01");
            when others                                   => plain_v := false;
          end case;
          if plain_v then
            missing <= not answered_v;
          end if;
          -- pragma translate_on
          answered_v := '0';
        end if;
      end if;
    end if;
  end process watch;

end architecture completion_assert_rtl;
