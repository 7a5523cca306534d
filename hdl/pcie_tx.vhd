-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- PCIe port, transmit side: joins the sources of TLPs, a whole TLP at a time       --
-- -------------------------------------------------------------------------------- --
-- INTx messages go first and hold completions back, so that Deassert_INTA leaves   --
-- before the completion of the read that caused it. Completions, MSI-X messages    --
-- and the DMA engine take turns. There is no FIFO: what a source has given away    --
-- has left.                                                                        --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;

library work;
use work.cosim_pkg.all;

entity pcie_tx is
  generic (
    DATA_WIDTH_G : positive := 256
  );
  port (
    clk_i         : in  std_ulogic; -- clock, rising edge
    rst_i         : in  std_ulogic; -- reset, synchronous, high-active
    -- INTx messages --
    intx_pending_i : in  std_ulogic; -- a message is to come: completions wait
    intx_valid_i   : in  std_ulogic;
    intx_ready_o   : out std_ulogic;
    intx_header_i  : in  tlp_header_t;
    -- completions: up to 2 DWs --
    cpl_valid_i    : in  std_ulogic;
    cpl_ready_o    : out std_ulogic;
    cpl_header_i   : in  tlp_header_t;
    cpl_data_i     : in  std_ulogic_vector(63 downto 0);
    -- MSI-X messages --
    msix_valid_i   : in  std_ulogic;
    msix_ready_o   : out std_ulogic;
    msix_header_i  : in  tlp_header_t;
    msix_data_i    : in  std_ulogic_vector(31 downto 0);
    -- DMA engine --
    dma_data_i     : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    dma_keep_i     : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    dma_last_i     : in  std_ulogic;
    dma_valid_i    : in  std_ulogic;
    dma_ready_o    : out std_ulogic;
    -- TLPs to the link --
    tx_data_o      : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    tx_keep_o      : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    tx_last_o      : out std_ulogic;
    tx_valid_o     : out std_ulogic;
    tx_ready_i     : in  std_ulogic;
    -- status --
    busy_o         : out std_ulogic
  );
end entity pcie_tx;

architecture pcie_tx_rtl of pcie_tx is

  type source_t is (NONE, INTX, CPL, MSIX, DMA);
  signal chosen : source_t; -- by arbitration, this cycle
  signal source : source_t; -- whose TLP is on the way; NONE between TLPs
  signal sender : source_t;
  signal recent : source_t; -- who had the last turn

  -- the one TLP of a small source --
  signal header  : tlp_header_t;
  signal data    : std_ulogic_vector(63 downto 0);
  signal payload : std_ulogic; -- its second beat

  signal last  : std_ulogic;
  signal valid : std_ulogic;

begin

  -- Arbitration, between TLPs ----------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  arbitrate: process(all)
    variable cpl_v : boolean;
  begin
    cpl_v := (cpl_valid_i = '1') and (intx_pending_i = '0');
    chosen <= NONE;
    if (intx_valid_i = '1') then
      chosen <= INTX;
    else
      case recent is
        when CPL =>
          if (msix_valid_i = '1') then chosen <= MSIX;
          elsif (dma_valid_i = '1') then chosen <= DMA;
          elsif cpl_v then chosen <= CPL;
          end if;
        when MSIX =>
          if (dma_valid_i = '1') then chosen <= DMA;
          elsif cpl_v then chosen <= CPL;
          elsif (msix_valid_i = '1') then chosen <= MSIX;
          end if;
        when others =>
          if cpl_v then chosen <= CPL;
          elsif (msix_valid_i = '1') then chosen <= MSIX;
          elsif (dma_valid_i = '1') then chosen <= DMA;
          end if;
      end case;
    end if;
  end process arbitrate;

  sender <= chosen when (source = NONE) else source;


  -- A TLP that has shown its first beat keeps the link up to its last ------------------
  -- ------------------------------------------------------------------------------------
  keep_turn: process(clk_i)
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        source  <= NONE;
        recent  <= NONE;
        payload <= '0';
      elsif (valid = '1') then
        source <= sender;
        if (tx_ready_i = '1') then
          payload <= not last;
          if (last = '1') then
            source <= NONE;
            if (sender /= INTX) then
              recent <= sender;
            end if;
          end if;
        end if;
      end if;
    end if;
  end process keep_turn;


  -- Small TLPs: a header, perhaps one beat of payload ----------------------------------
  -- ------------------------------------------------------------------------------------
  with sender select header <=
    intx_header_i when INTX,
    msix_header_i when MSIX,
    cpl_header_i  when others;

  data <= (x"00000000" & msix_data_i) when (sender = MSIX) else cpl_data_i;


  -- Beats ------------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  beats: process(all)
  begin
    tx_data_o <= (others => '0');
    tx_keep_o <= (others => '0');
    if (sender = DMA) then
      tx_data_o <= dma_data_i;
      tx_keep_o <= dma_keep_i;
    elsif (sender /= NONE) then
      if (payload = '0') then
        tx_data_o(127 downto 0) <= header;
        tx_keep_o(2 downto 0)   <= "111";
        tx_keep_o(3)            <= header(29);
      else
        tx_data_o(63 downto 0) <= data;
        tx_keep_o(0)           <= '1';
        tx_keep_o(1)           <= header(1); -- Length is 1 or 2
      end if;
    end if;
  end process beats;

  last <= dma_last_i when (sender = DMA) else (payload or not header(30));

  valid <= '0' when (sender = NONE) else dma_valid_i when (sender = DMA) else '1';

  tx_last_o  <= last;
  tx_valid_o <= valid;

  intx_ready_o <= tx_ready_i when (sender = INTX) and (last = '1') else '0';
  cpl_ready_o  <= tx_ready_i when (sender = CPL) and (last = '1') else '0';
  msix_ready_o <= tx_ready_i when (sender = MSIX) and (last = '1') else '0';
  dma_ready_o  <= tx_ready_i when (sender = DMA) else '0';

  busy_o <= '0' when (sender = NONE) else '1';

end architecture pcie_tx_rtl;
