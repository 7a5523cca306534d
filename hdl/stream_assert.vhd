-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Asserts the rules of a stream of packets (CONTRACT.md, 1 and 2)                  --
-- -------------------------------------------------------------------------------- --
-- Valid and the beat stay until ready; keep is contiguous, and full on all beats   --
-- of payload but the last; a TLP has the header and the payload that its Fmt and   --
-- its Length say. Reads only, has no outputs. What needs the beat itself is looked --
-- at in VHDL simulators only: it costs a simulator of the netlist too much time.   --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity stream_assert is
  generic (
    TLP_G : boolean -- packets are TLPs, else those of the management port
  );
  port (
    clk_i   : in  std_ulogic; -- clock, rising edge
    rst_i   : in  std_ulogic; -- reset, synchronous, high-active
    data_i  : in  std_ulogic_vector(255 downto 0);
    keep_i  : in  std_ulogic_vector(7 downto 0);
    last_i  : in  std_ulogic;
    valid_i : in  std_ulogic;
    ready_i : in  std_ulogic
  );
end entity stream_assert;

architecture stream_assert_rtl of stream_assert is

  type keeps_t is array (0 to 7) of std_ulogic_vector(7 downto 0);
  constant KEEP_C : keeps_t := (x"FF", x"01", x"03", x"07", x"0F", x"1F", x"3F", x"7F"); -- by DWs modulo 8

  -- the rule was broken in the cycle before --
  signal dropped : std_ulogic := '0';
  signal changed : std_ulogic := '0';
  signal broken  : std_ulogic := '0';

begin

  valid_until_ready: assert dropped = '0'
    report "valid became 0 before ready was 1" severity failure;
  -- pragma translate_off
  beat_until_ready: assert changed = '0'
    report "data, keep or last changed before ready was 1" severity failure;
  whole_packets: assert broken = '0'
    report "keep or last does not fit the packet" severity failure;
  -- pragma translate_on

  watch: process(clk_i)
    variable waits_v  : std_ulogic := '0';
    -- pragma translate_off
    variable header_v : std_ulogic := '1';
    variable data_v   : std_ulogic_vector(255 downto 0);
    variable keep_v   : std_ulogic_vector(7 downto 0);
    variable last_v   : std_ulogic;
    variable left_v   : unsigned(10 downto 0); -- DWs of a TLP to come
    variable wanted_v : std_ulogic_vector(7 downto 0);
    variable end_v    : std_ulogic;
    variable fits_v   : boolean;
    -- pragma translate_on
  begin
    if rising_edge(clk_i) then
      dropped <= waits_v and not valid_i and not rst_i;
      -- pragma translate_off
      changed <= '0';
      broken  <= '0';
      if (waits_v = '1') and (rst_i = '0') and ((data_i /= data_v) or (keep_i /= keep_v) or (last_i /= last_v)) then
        changed <= valid_i;
      end if;
      if (rst_i = '1') then
        header_v := '1';
      elsif (valid_i = '1') then
        if TLP_G then
          if (header_v = '1') then
            left_v := '0' & unsigned(data_i(9 downto 0));
            if (left_v = 0) then
              left_v(10) := '1';
            end if;
            wanted_v := x"07";
            wanted_v(3) := data_i(29);
            end_v := not data_i(30);
          else
            wanted_v := x"FF";
            end_v := '0';
            if (left_v <= 8) then
              wanted_v := KEEP_C(to_integer(left_v(2 downto 0)));
              end_v := '1';
            end if;
          end if;
          fits_v := (keep_i = wanted_v) and (last_i = end_v);
        elsif (header_v = '1') or (last_i = '0') then
          fits_v := keep_i = x"FF";
        else
          fits_v := (keep_i(0) = '1') and (unsigned(keep_i and std_ulogic_vector(unsigned(keep_i) + 1)) = 0);
        end if;
        if not fits_v then
          broken <= '1';
        end if;
        if (ready_i = '1') then
          if (header_v = '0') then
            left_v := left_v - 8;
          end if;
          header_v := last_i;
        else
          data_v := data_i;
          keep_v := keep_i;
          last_v := last_i;
        end if;
      end if;
      -- pragma translate_on
      waits_v := valid_i and not ready_i and not rst_i;
    end if;
  end process watch;

end architecture stream_assert_rtl;
