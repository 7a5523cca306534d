-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- PCIe port, receive side: parts the TLPs that come in                             --
-- -------------------------------------------------------------------------------- --
-- Completions go on as they come, beat by beat, to the DMA engine. Any other TLP   --
-- is held as one request (header and the first two DWs of payload) until the       --
-- completer has dealt with it; longer payloads are drained, nobody here takes them.--
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

library work;
use work.cosim_pkg.all;

entity pcie_rx is
  generic (
    DATA_WIDTH_G : positive := 256
  );
  port (
    clk_i       : in  std_ulogic; -- clock, rising edge
    rst_i       : in  std_ulogic; -- reset, synchronous, high-active
    -- TLPs from the link --
    rx_data_i   : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    rx_keep_i   : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    rx_last_i   : in  std_ulogic;
    rx_valid_i  : in  std_ulogic;
    rx_ready_o  : out std_ulogic;
    -- completions, to the DMA engine --
    cpl_data_o  : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    cpl_keep_o  : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    cpl_last_o  : out std_ulogic;
    cpl_valid_o : out std_ulogic;
    cpl_ready_i : in  std_ulogic;
    -- requests, to the completer --
    req_valid_o  : out std_ulogic;
    req_ready_i  : in  std_ulogic; -- dealt with
    req_header_o : out tlp_header_t;
    req_data_o   : out std_ulogic_vector(63 downto 0);
    req_dwords_o : out std_ulogic_vector(1 downto 0); -- DWs of payload that came: 0, 1, 2, more
    -- status --
    busy_o       : out std_ulogic
  );
end entity pcie_rx;

architecture pcie_rx_rtl of pcie_rx is

  type state_t is (S_HEADER, S_COMPLETION, S_DATA, S_DRAIN, S_REQUEST);
  signal state : state_t;

  signal completion : std_ulogic; -- the beat belongs to a completion
  signal ready      : std_ulogic;

begin

  -- Completions pass through -----------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  completion <= '1' when (state = S_COMPLETION) or
                         ((state = S_HEADER) and ((rx_data_i(31 downto 24) = TLP_CPL_C) or (rx_data_i(31 downto 24) = TLP_CPLD_C)))
                else '0';

  cpl_data_o  <= rx_data_i;
  cpl_keep_o  <= rx_keep_i;
  cpl_last_o  <= rx_last_i;
  cpl_valid_o <= rx_valid_i and completion;

  ready      <= '0' when (state = S_REQUEST) else cpl_ready_i when (completion = '1') else '1';
  rx_ready_o <= ready;


  -- Requests are collected -------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  collect: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        state <= S_HEADER;
      else
        case state is

          when S_HEADER =>
            if (rx_valid_i = '1') and (ready = '1') then
              if (completion = '1') then
                if (rx_last_i = '0') then
                  state <= S_COMPLETION;
                end if;
              else
                req_header_o <= rx_data_i(127 downto 0);
                req_dwords_o <= "00";
                if (rx_data_i(29) = '0') then -- DW3 of a short header has no meaning
                  req_header_o(127 downto 96) <= (others => '0');
                end if;
                if (rx_last_i = '1') then
                  state <= S_REQUEST;
                else
                  state <= S_DATA;
                end if;
              end if;
            end if;

          when S_COMPLETION =>
            if (rx_valid_i = '1') and (cpl_ready_i = '1') and (rx_last_i = '1') then
              state <= S_HEADER;
            end if;

          when S_DATA =>
            if (rx_valid_i = '1') then
              req_data_o <= rx_data_i(63 downto 0);
              if (rx_last_i = '0') or (rx_keep_i(2) = '1') then
                req_dwords_o <= "11";
              elsif (rx_keep_i(1) = '1') then
                req_dwords_o <= "10";
              else
                req_dwords_o <= "01";
              end if;
              if (rx_last_i = '1') then
                state <= S_REQUEST;
              else
                state <= S_DRAIN;
              end if;
            end if;

          when S_DRAIN =>
            if (rx_valid_i = '1') and (rx_last_i = '1') then
              state <= S_REQUEST;
            end if;

          when S_REQUEST =>
            if (req_ready_i = '1') then
              state <= S_HEADER;
            end if;

        end case;
      end if;
    end if;
  end process collect;

  req_valid_o <= '1' when (state = S_REQUEST) else '0';
  busy_o      <= '0' when (state = S_HEADER) else '1';

end architecture pcie_rx_rtl;
