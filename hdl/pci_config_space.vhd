-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Configuration space of the functions of one PCIe port                            --
-- -------------------------------------------------------------------------------- --
-- Type 0 header, PCI Express (0x40), MSI-X (0x80) and, for virtio functions, the   --
-- vendor capabilities of virtio 1.3, 4.1.4 (0x90..0xE7). 0x100..0xFFF reads 0.     --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;

entity pci_config_space is
  generic (
    FUNCTIONS_G : positive; -- functions of this port, 1 to 8
    VECTORS_G   : positive; -- MSI-X vectors of a function
    QUEUES_G    : positive; -- virtqueues of a function
    BAR0_BITS_G : positive; -- log2 of BAR0's size in bytes
    BAR1_BITS_G : positive; -- log2 of BAR1's size in bytes
    VIRTIO_G    : boolean   -- with virtio's vendor capabilities
  );
  port (
    clk_i            : in  std_ulogic; -- clock, rising edge
    rst_i            : in  std_ulogic; -- reset, synchronous, high-active
    -- accesses --
    acc_enable_i     : in  std_ulogic;
    acc_write_i      : in  std_ulogic;
    acc_function_i   : in  std_ulogic_vector(2 downto 0);
    acc_address_i    : in  std_ulogic_vector(15 downto 0);
    acc_data_i       : in  std_ulogic_vector(31 downto 0);
    acc_be_i         : in  std_ulogic_vector(3 downto 0);
    acc_ack_o        : out std_ulogic;
    acc_data_o       : out std_ulogic_vector(31 downto 0);
    -- identity --
    id_i             : in  word32_array_t(0 to FUNCTIONS_G-1); -- 31:16 device, 15:0 vendor
    class_i          : in  word32_array_t(0 to FUNCTIONS_G-1); -- 31:8 class code, 7:0 revision
    subsystem_i      : in  word32_array_t(0 to FUNCTIONS_G-1); -- 31:16 subsystem, 15:0 subsystem vendor
    intx_i           : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- Interrupt Status
    -- settings --
    memory_enable_o  : out std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    bus_master_o     : out std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    intx_disable_o   : out std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    bar0_o           : out word32_array_t(0 to FUNCTIONS_G-1);
    bar1_o           : out word32_array_t(0 to FUNCTIONS_G-1);
    mps_o            : out code3_array_t(0 to FUNCTIONS_G-1); -- Max_Payload_Size, at most 001 (256 bytes)
    mrrs_o           : out code3_array_t(0 to FUNCTIONS_G-1); -- Max_Read_Request_Size
    msix_enable_o    : out std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    msix_mask_o      : out std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- Function Mask
    window_bar_o     : out word16_array_t(0 to FUNCTIONS_G-1); -- PCI_CFG: cap.bar
    window_offset_o  : out word32_array_t(0 to FUNCTIONS_G-1); -- cap.offset
    window_length_o  : out word32_array_t(0 to FUNCTIONS_G-1); -- cap.length
    flr_o            : out std_ulogic_vector(FUNCTIONS_G-1 downto 0) -- function level reset, 1 cycle
  );
end entity pci_config_space;

architecture pci_config_space_rtl of pci_config_space is

  -- Command: writable bits (I/O Space, Memory Space, Bus Master, Parity, SERR, Interrupt Disable) --
  constant COMMAND_MASK_C : std_ulogic_vector(15 downto 0) := x"0547";
  -- Device Control: writable bits (error reporting, relaxed ordering, MPS, no snoop, MRRS) --
  constant DEVCTL_MASK_C  : std_ulogic_vector(15 downto 0) := x"78FF";
  constant DEVCTL_RESET_C : std_ulogic_vector(15 downto 0) := x"2810";

  -- virtio's capabilities, cfg_type --
  constant CAP_COMMON_CFG_C : std_ulogic_vector(7 downto 0) := x"01";
  constant CAP_NOTIFY_CFG_C : std_ulogic_vector(7 downto 0) := x"02";
  constant CAP_ISR_CFG_C    : std_ulogic_vector(7 downto 0) := x"03";
  constant CAP_DEVICE_CFG_C : std_ulogic_vector(7 downto 0) := x"04";
  constant CAP_PCI_CFG_C    : std_ulogic_vector(7 downto 0) := x"05";

  function select_f(condition : boolean; yes, no : std_ulogic_vector) return std_ulogic_vector is
  begin
    if condition then
      return yes;
    else
      return no;
    end if;
  end function select_f;

  constant HEADER_TYPE_C  : std_ulogic_vector(7 downto 0) := select_f(FUNCTIONS_G > 1, x"80", x"00");
  constant AFTER_MSIX_C   : std_ulogic_vector(7 downto 0) := select_f(VIRTIO_G, x"90", x"00");
  constant NOTIFY_LEN_C   : std_ulogic_vector(31 downto 0) := std_ulogic_vector(to_unsigned(4*QUEUES_G, 32));
  constant TABLE_SIZE_C   : std_ulogic_vector(10 downto 0) := std_ulogic_vector(to_unsigned(VECTORS_G-1, 11));

  -- registers --
  signal command       : word16_array_t(0 to FUNCTIONS_G-1);
  signal bar0          : word32_array_t(0 to FUNCTIONS_G-1);
  signal bar1          : word32_array_t(0 to FUNCTIONS_G-1);
  signal line          : word16_array_t(0 to FUNCTIONS_G-1); -- Interrupt Line in bits 7:0
  signal devctl        : word16_array_t(0 to FUNCTIONS_G-1);
  signal msix_enable   : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal msix_mask     : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal window_bar    : word16_array_t(0 to FUNCTIONS_G-1);
  signal window_offset : word32_array_t(0 to FUNCTIONS_G-1);
  signal window_length : word32_array_t(0 to FUNCTIONS_G-1);
  signal flr           : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal ack           : std_ulogic;

begin

  registers: process(clk_i)
    variable f_v      : natural range 0 to FUNCTIONS_G-1;
    variable read_v   : std_ulogic_vector(31 downto 0); -- the DW as it reads
    variable new_v    : std_ulogic_vector(31 downto 0); -- the DW with the written bytes
    variable offset_v : std_ulogic_vector(7 downto 0);
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        for f in 0 to FUNCTIONS_G-1 loop
          command(f)       <= (others => '0');
          bar0(f)          <= (others => '0');
          bar1(f)          <= (others => '0');
          line(f)          <= (others => '0');
          devctl(f)        <= DEVCTL_RESET_C;
          window_bar(f)    <= (others => '0');
          window_offset(f) <= (others => '0');
          window_length(f) <= (others => '0');
        end loop;
        msix_enable <= (others => '0');
        msix_mask   <= (others => '0');
        flr         <= (others => '0');
        ack         <= '0';
      elsif (ack = '1') then
        ack <= '0';
        flr <= (others => '0');
      elsif (acc_enable_i = '1') then
        ack      <= '1';
        f_v      := to_integer(unsigned(acc_function_i));
        offset_v := acc_address_i(7 downto 2) & "00";
        read_v   := (others => '0');
        if (acc_address_i(11 downto 8) = "0000") then
          case offset_v is
            when x"00" => read_v := id_i(f_v);
            when x"04" => read_v := x"00" & "0001" & intx_i(f_v) & "000" & command(f_v); -- Status: capabilities list
            when x"08" => read_v := class_i(f_v);
            when x"0C" => read_v := x"00" & HEADER_TYPE_C & x"0000";
            when x"10" => read_v := bar0(f_v);
            when x"14" => read_v := bar1(f_v);
            when x"2C" => read_v := subsystem_i(f_v);
            when x"34" => read_v := x"00000040";
            when x"3C" => read_v := x"000001" & line(f_v)(7 downto 0); -- INTA
            -- PCI Express --
            when x"40" => read_v := x"0002" & x"80" & x"10";  -- version 2, endpoint
            when x"44" => read_v := x"10008001";              -- FLR, role-based error reporting, 256 bytes
            when x"48" => read_v := x"0000" & devctl(f_v);
            when x"4C" => read_v := x"00000083";              -- x8, 8 GT/s
            when x"50" => read_v := x"00830000";
            -- MSI-X --
            when x"80" => read_v := msix_enable(f_v) & msix_mask(f_v) & "000" & TABLE_SIZE_C & AFTER_MSIX_C & x"11";
            when x"84" => read_v := x"00000001";              -- table: BAR1, 0
            when x"88" => read_v := x"00002001";              -- PBA: BAR1, 0x2000
            when others => null;
          end case;
          if VIRTIO_G then
            case offset_v is
              when x"90" => read_v := CAP_COMMON_CFG_C & x"10" & x"A0" & x"09";
              when x"98" => read_v := x"00000000";
              when x"9C" => read_v := x"0000003C";
              when x"A0" => read_v := CAP_NOTIFY_CFG_C & x"14" & x"B4" & x"09";
              when x"A8" => read_v := x"00003000";
              when x"AC" => read_v := NOTIFY_LEN_C;
              when x"B0" => read_v := x"00000004";            -- notify_off_multiplier
              when x"B4" => read_v := CAP_ISR_CFG_C & x"10" & x"C4" & x"09";
              when x"BC" => read_v := x"00001000";
              when x"C0" => read_v := x"00000001";
              when x"C4" => read_v := CAP_DEVICE_CFG_C & x"10" & x"D4" & x"09";
              when x"CC" => read_v := x"00002000";
              when x"D0" => read_v := x"00000100";
              when x"D4" => read_v := CAP_PCI_CFG_C & x"14" & x"00" & x"09";
              when x"D8" => read_v := x"0000" & window_bar(f_v);
              when x"DC" => read_v := window_offset(f_v);
              when x"E0" => read_v := window_length(f_v);
              when others => null;
            end case;
          end if;
        end if;

        if (acc_write_i = '0') then
          acc_data_o <= read_v;
        elsif (acc_address_i(11 downto 8) = "0000") then
          new_v := merge_bytes_f(read_v, acc_data_i, acc_be_i);
          case offset_v is
            when x"04" => command(f_v) <= new_v(15 downto 0) and COMMAND_MASK_C;
            when x"10" => bar0(f_v)(31 downto BAR0_BITS_G) <= new_v(31 downto BAR0_BITS_G);
            when x"14" => bar1(f_v)(31 downto BAR1_BITS_G) <= new_v(31 downto BAR1_BITS_G);
            when x"3C" => line(f_v)(7 downto 0) <= new_v(7 downto 0);
            when x"48" => devctl(f_v) <= new_v(15 downto 0) and DEVCTL_MASK_C;
            when x"80" =>
              msix_enable(f_v) <= new_v(31);
              msix_mask(f_v)   <= new_v(30);
            when x"D8" => window_bar(f_v)(7 downto 0) <= new_v(7 downto 0);
            when x"DC" => window_offset(f_v) <= new_v;
            when x"E0" => window_length(f_v) <= new_v;
            when others => null;
          end case;
          -- function level reset --
          if (offset_v = x"48") and (acc_be_i(1) = '1') and (acc_data_i(15) = '1') then
            flr(f_v)           <= '1';
            command(f_v)       <= (others => '0');
            bar0(f_v)          <= (others => '0');
            bar1(f_v)          <= (others => '0');
            line(f_v)          <= (others => '0');
            devctl(f_v)        <= DEVCTL_RESET_C;
            msix_enable(f_v)   <= '0';
            msix_mask(f_v)     <= '0';
            window_bar(f_v)    <= (others => '0');
            window_offset(f_v) <= (others => '0');
            window_length(f_v) <= (others => '0');
          end if;
        end if;
      end if;
    end if;
  end process registers;

  acc_ack_o <= ack;
  flr_o     <= flr;


  -- Settings ---------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  settings: for f in 0 to FUNCTIONS_G-1 generate
    memory_enable_o(f) <= command(f)(1);
    bus_master_o(f)    <= command(f)(2);
    intx_disable_o(f)  <= command(f)(10);
    mps_o(f)           <= "000" when (devctl(f)(7 downto 5) = "000") else "001";
    mrrs_o(f)          <= devctl(f)(14 downto 12);
  end generate settings;

  bar0_o          <= bar0;
  bar1_o          <= bar1;
  msix_enable_o   <= msix_enable;
  msix_mask_o     <= msix_mask;
  window_bar_o    <= window_bar;
  window_offset_o <= window_offset;
  window_length_o <= window_length;

end architecture pci_config_space_rtl;
