-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- FIFO with a registered output                                                    --
-- -------------------------------------------------------------------------------- --
-- A word appears one cycle after it was put in an empty FIFO. valid_o = 0 means    --
-- that nothing at all is inside.                                                   --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

entity dma_fifo is
  generic (
    WIDTH_G : positive; -- bits of a word
    DEPTH_G : positive  -- words behind the output register
  );
  port (
    clk_i   : in  std_ulogic;
    rst_i   : in  std_ulogic;
    data_i  : in  std_ulogic_vector(WIDTH_G-1 downto 0);
    valid_i : in  std_ulogic;
    ready_o : out std_ulogic;
    data_o  : out std_ulogic_vector(WIDTH_G-1 downto 0);
    valid_o : out std_ulogic;
    ready_i : in  std_ulogic
  );
end entity dma_fifo;

architecture rtl of dma_fifo is

  type memory_t is array (0 to DEPTH_G-1) of std_ulogic_vector(WIDTH_G-1 downto 0);

  signal valid_q : std_ulogic;
  signal ready_q : std_ulogic;
  signal write_q : natural range 0 to DEPTH_G-1;
  signal read_q  : natural range 0 to DEPTH_G-1;
  signal count_q : natural range 0 to DEPTH_G;

  -- the rule was broken in the cycle before --
  signal bounds : std_ulogic := '0';
  signal places : std_ulogic := '0';

begin

  words_within_depth: assert bounds = '0'
    report "a word was put into a full FIFO" severity failure;
  -- pragma translate_off
  places_fit_count: assert places = '0'
    report "the places of the FIFO do not fit its count" severity failure;
  -- pragma translate_on

  valid_o <= valid_q;
  ready_o <= ready_q;

  fifo: process(clk_i)
    variable memory_v : memory_t;
    variable put_v    : boolean;
    variable get_v    : boolean;
    variable count_v  : natural range 0 to DEPTH_G;
  begin
    if rising_edge(clk_i) then
      put_v := valid_i = '1' and ready_q = '1';
      get_v := valid_q = '0' or ready_i = '1';
      count_v := count_q;
      if get_v and (count_q /= 0 or put_v) then
        valid_q <= '1';
      elsif get_v then
        valid_q <= '0';
      end if;
      if get_v and count_q /= 0 then
        data_o <= memory_v(read_q);
        read_q <= (read_q + 1) mod DEPTH_G;
        count_v := count_v - 1;
      elsif get_v and put_v then
        data_o <= data_i;
      end if;
      if put_v and (count_q /= 0 or not get_v) then
        memory_v(write_q) := data_i;
        write_q <= (write_q + 1) mod DEPTH_G;
        count_v := count_v + 1;
      end if;
      if count_v /= count_q then
        count_q <= count_v;
      end if;
      if count_v = DEPTH_G then
        ready_q <= '0';
      else
        ready_q <= '1';
      end if;
      if rst_i = '1' then
        valid_q <= '0';
        ready_q <= '0';
        write_q <= 0;
        read_q <= 0;
        count_q <= 0;
      end if;
      bounds <= '0';
      if put_v and count_q >= DEPTH_G and rst_i = '0' then
        bounds <= '1';
      end if;
      -- pragma translate_off
      places <= '0';
      if (read_q + count_q) mod DEPTH_G /= write_q and rst_i = '0' then
        places <= '1';
      end if;
      -- pragma translate_on
    end if;
  end process fifo;

end architecture rtl;
