-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Asserts the rule of a handshake: what is shown stays until it is taken           --
-- -------------------------------------------------------------------------------- --
-- Reads only, has no outputs.                                                      --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity handshake_assert is
  generic (
    WIDTH_G : positive
  );
  port (
    clk_i   : in  std_ulogic; -- clock, rising edge
    rst_i   : in  std_ulogic; -- reset, synchronous, high-active
    data_i  : in  std_ulogic_vector(WIDTH_G-1 downto 0);
    valid_i : in  std_ulogic;
    ready_i : in  std_ulogic
  );
end entity handshake_assert;

architecture handshake_assert_rtl of handshake_assert is

  -- the rule was broken in the cycle before --
  signal dropped : std_ulogic := '0';
  signal changed : std_ulogic := '0';

begin

  valid_until_ready: assert dropped = '0'
    report "valid became 0 before ready was 1" severity failure;
  data_until_ready: assert changed = '0'
    report "what is offered changed before ready was 1" severity failure;

  watch: process(clk_i)
    variable waits_v : std_ulogic := '0';
    variable data_v  : std_ulogic_vector(WIDTH_G-1 downto 0);
  begin
    if rising_edge(clk_i) then
      dropped <= waits_v and not valid_i and not rst_i;
      changed <= '0';
      if (waits_v = '1') and (rst_i = '0') and (data_i /= data_v) then
        changed <= valid_i;
      end if;
      if (valid_i = '1') and (ready_i = '0') then
        data_v := data_i;
      end if;
      waits_v := valid_i and not ready_i and not rst_i;
    end if;
  end process watch;

end architecture handshake_assert_rtl;
