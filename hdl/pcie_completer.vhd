-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- PCIe port, completer: turns requests into register accesses and completions      --
-- -------------------------------------------------------------------------------- --
-- One request at a time. A request becomes one or two accesses of one DW each to   --
-- configuration space, BAR0 or BAR1 of a function. An access is held until its     --
-- target acknowledges it; where no byte is enabled the target changes nothing. The --
-- PCI_CFG window of virtio (1.3, 4.1.4.9) is opened here: an access to             --
-- pci_cfg_data becomes one to BAR0. A malformed TLP (2.3) is dropped.              --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;

entity pcie_completer is
  generic (
    FUNCTIONS_G : positive; -- functions of this port, 1 to 8
    BAR0_BITS_G : positive; -- log2 of BAR0's size in bytes, at most 16
    BAR1_BITS_G : positive; -- log2 of BAR1's size in bytes, at most 16
    VIRTIO_G    : boolean   -- the functions have a PCI_CFG capability
  );
  port (
    clk_i        : in  std_ulogic; -- clock, rising edge
    rst_i        : in  std_ulogic; -- reset, synchronous, high-active
    -- requests --
    req_valid_i  : in  std_ulogic;
    req_ready_o  : out std_ulogic;
    req_header_i : in  tlp_header_t;
    req_data_i   : in  std_ulogic_vector(63 downto 0);
    req_dwords_i : in  std_ulogic_vector(1 downto 0); -- DWs of payload that came: 0, 1, 2, more
    -- completions --
    cpl_valid_o  : out std_ulogic;
    cpl_ready_i  : in  std_ulogic;
    cpl_header_o : out tlp_header_t;
    cpl_data_o   : out std_ulogic_vector(63 downto 0);
    -- what configuration space says --
    memory_enable_i : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    bar0_i          : in  word32_array_t(0 to FUNCTIONS_G-1);
    bar1_i          : in  word32_array_t(0 to FUNCTIONS_G-1);
    window_bar_i    : in  word16_array_t(0 to FUNCTIONS_G-1); -- PCI_CFG: cap.bar
    window_offset_i : in  word32_array_t(0 to FUNCTIONS_G-1); -- cap.offset
    window_length_i : in  word32_array_t(0 to FUNCTIONS_G-1); -- cap.length
    -- accesses --
    acc_config_o    : out std_ulogic; -- to configuration space
    acc_bar0_o      : out std_ulogic; -- to BAR0
    acc_bar1_o      : out std_ulogic; -- to BAR1
    acc_write_o     : out std_ulogic;
    acc_function_o  : out std_ulogic_vector(2 downto 0);
    acc_address_o   : out std_ulogic_vector(15 downto 0); -- bits 1:0 are 0
    acc_data_o      : out std_ulogic_vector(31 downto 0);
    acc_be_o        : out std_ulogic_vector(3 downto 0);
    config_ack_i    : in  std_ulogic;
    config_data_i   : in  std_ulogic_vector(31 downto 0);
    bar0_ack_i      : in  std_ulogic;
    bar0_data_i     : in  std_ulogic_vector(31 downto 0);
    bar1_ack_i      : in  std_ulogic;
    bar1_data_i     : in  std_ulogic_vector(31 downto 0);
    -- status --
    requester_o     : out std_ulogic_vector(15 downto 0) -- captured bus and device, function 0
  );
end entity pcie_completer;

architecture pcie_completer_rtl of pcie_completer is

  constant PCI_CFG_DATA_C : std_ulogic_vector(11 downto 0) := x"0E4";

  type state_t is (S_IDLE, S_ACCESS, S_COMPLETE, S_DONE);
  signal state : state_t;

  signal bus_device    : std_ulogic_vector(12 downto 0); -- as captured from CfgWr0
  signal read          : std_ulogic;                     -- the completion carries data
  signal posted        : std_ulogic;                     -- there is no completion
  signal status        : std_ulogic_vector(2 downto 0);
  signal completer     : std_ulogic_vector(15 downto 0);
  signal byte_count    : std_ulogic_vector(11 downto 0);
  signal lower_address : std_ulogic_vector(6 downto 0);
  signal second        : std_ulogic; -- a second DW is to come
  signal upper         : std_ulogic; -- it is the second DW
  signal window        : std_ulogic; -- through the PCI_CFG window
  signal shift         : std_ulogic_vector(1 downto 0); -- and from this byte lane on
  signal enables       : std_ulogic_vector(3 downto 0);
  signal acc_config    : std_ulogic;
  signal acc_bar0      : std_ulogic;
  signal acc_bar1      : std_ulogic;
  signal address       : std_ulogic_vector(15 downto 0);
  signal data          : std_ulogic_vector(63 downto 0);
  signal length        : std_ulogic_vector(9 downto 0);

  -- lowest enabled byte --
  function lowest_f(be : std_ulogic_vector(3 downto 0)) return natural is
  begin
    if (be(0) = '1') then return 0;
    elsif (be(1) = '1') then return 1;
    elsif (be(2) = '1') then return 2;
    elsif (be(3) = '1') then return 3;
    else return 0;
    end if;
  end function lowest_f;

  -- highest enabled byte --
  function highest_f(be : std_ulogic_vector(3 downto 0)) return natural is
  begin
    if (be(3) = '1') then return 3;
    elsif (be(2) = '1') then return 2;
    elsif (be(1) = '1') then return 1;
    else return 0;
    end if;
  end function highest_f;

  -- payload and Length differ, byte enables that are not allowed, a digest --
  function malformed_f(header : tlp_header_t; dwords : std_ulogic_vector(1 downto 0)) return boolean is
    variable length_v  : unsigned(9 downto 0);
    variable payload_v : unsigned(1 downto 0); -- as dwords counts
    variable place_v   : unsigned(10 downto 0);
  begin
    length_v  := unsigned(header(9 downto 0));
    payload_v := "00";
    if (header(30) = '1') then
      payload_v := "11";
      if (length_v = 1) or (length_v = 2) then
        payload_v := length_v(1 downto 0);
      end if;
    end if;
    if (header(15) = '1') or (unsigned(dwords) /= payload_v) then
      return true;
    end if;
    case header(31 downto 24) is
      when TLP_CFGRD0_C | TLP_CFGWR0_C | x"05" | x"45" | x"02" | x"42" =>
        return (length_v /= 1) or (header(39 downto 36) /= "0000");
      when TLP_MRD32_C | TLP_MRD64_C | TLP_MWR32_C | TLP_MWR64_C =>
        if (length_v = 1) then
          return header(39 downto 36) /= "0000";
        elsif (header(35 downto 32) = "0000") or (header(39 downto 36) = "0000") then
          return true;
        else -- across 4 KiB
          place_v := '0' & unsigned(header(75 downto 66));
          if (header(29) = '1') then
            place_v := '0' & unsigned(header(107 downto 98));
          end if;
          if (length_v = 0) then
            return place_v /= 0;
          else
            return place_v + length_v > 1024;
          end if;
        end if;
      when others =>
        return false;
    end case;
  end function malformed_f;

begin

  complete: process(clk_i)
    variable type_v     : std_ulogic_vector(7 downto 0);
    variable first_be_v : std_ulogic_vector(3 downto 0);
    variable last_be_v  : std_ulogic_vector(3 downto 0);
    variable length_v   : natural range 0 to 1024;
    variable number_v   : natural range 0 to 7;
    variable address_v  : std_ulogic_vector(31 downto 0);
    variable bar0_v     : boolean;
    variable bar1_v     : boolean;
    variable offset_v   : std_ulogic_vector(31 downto 0);
    variable enables_v  : std_ulogic_vector(3 downto 0);
    variable ack_v      : std_ulogic;
    variable data_v     : std_ulogic_vector(31 downto 0);
  begin
    if rising_edge(clk_i) then
      if (rst_i = '1') then
        state      <= S_IDLE;
        bus_device <= "0000000100000"; -- bus 1, device 0 until it is told
        acc_config <= '0';
        acc_bar0   <= '0';
        acc_bar1   <= '0';
        read       <= '0';
        length     <= (others => '0');
      else
        case state is

          -- decode --
          when S_IDLE =>
            if (req_valid_i = '1') then
              type_v     := req_header_i(31 downto 24);
              first_be_v := req_header_i(35 downto 32);
              last_be_v  := req_header_i(39 downto 36);
              length_v   := to_integer(unsigned(req_header_i(9 downto 0)));
              if (length_v = 0) then
                length_v := 1024;
              end if;
              state         <= S_COMPLETE;
              read          <= '0';
              posted        <= '0';
              status        <= CPL_UR_C;
              completer     <= bus_device & "000";
              byte_count    <= x"004";
              lower_address <= (others => '0');
              second        <= '0';
              upper         <= '0';
              shift         <= "00";
              window        <= '0';
              data          <= (others => '0');
              length        <= "0000000001";
              acc_write_o   <= '0';
              acc_data_o    <= req_data_i(31 downto 0);
              enables       <= first_be_v;

              case type_v is

                when TLP_CFGRD0_C | TLP_CFGWR0_C =>
                  number_v  := to_integer(unsigned(req_header_i(82 downto 80)));
                  completer <= req_header_i(95 downto 80);
                  if (number_v < FUNCTIONS_G) then
                    state          <= S_ACCESS;
                    status         <= CPL_SC_C;
                    read           <= not type_v(6);
                    acc_write_o    <= type_v(6);
                    acc_config     <= '1';
                    acc_function_o <= req_header_i(82 downto 80);
                    address        <= "0000" & req_header_i(75 downto 66) & "00";
                    completer      <= bus_device & req_header_i(82 downto 80);
                    if (type_v = TLP_CFGWR0_C) then
                      bus_device <= req_header_i(95 downto 83);
                      completer  <= req_header_i(95 downto 80);
                    end if;
                    -- through the PCI_CFG window --
                    if VIRTIO_G and (req_header_i(75 downto 66) = PCI_CFG_DATA_C(11 downto 2)) then
                      acc_config <= '0';
                      offset_v   := window_offset_i(number_v);
                      enables_v  := "0000";
                      case window_length_i(number_v) is
                        when x"00000001" =>
                          enables_v := "0001";
                        when x"00000002" =>
                          if (offset_v(0) = '0') then
                            enables_v := "0011";
                          end if;
                        when x"00000004" =>
                          if (offset_v(1 downto 0) = "00") then
                            enables_v := "1111";
                          end if;
                        when others => null;
                      end case;
                      if (type_v(6) = '1') then
                        enables_v := enables_v and first_be_v;
                      end if;
                      enables_v := std_ulogic_vector(shift_left(unsigned(enables_v), to_integer(unsigned(offset_v(1 downto 0)))));
                      if (unsigned(window_bar_i(number_v)) = 0) and (unsigned(offset_v(31 downto BAR0_BITS_G)) = 0) and
                         (enables_v /= "0000") and (first_be_v /= "0000") then
                        window     <= '1';
                        acc_bar0   <= '1';
                        address    <= offset_v(15 downto 2) & "00";
                        shift      <= offset_v(1 downto 0);
                        enables    <= enables_v;
                        acc_data_o <= std_ulogic_vector(shift_left(unsigned(req_data_i(31 downto 0)), 8*to_integer(unsigned(offset_v(1 downto 0)))));
                      else
                        state <= S_COMPLETE;
                      end if;
                    end if;
                  end if;

                when TLP_MRD32_C | TLP_MRD64_C | TLP_MWR32_C | TLP_MWR64_C =>
                  read   <= '0';
                  posted <= type_v(6);
                  if (type_v(5) = '1') then
                    address_v := req_header_i(127 downto 98) & "00";
                  else
                    address_v := req_header_i(95 downto 66) & "00";
                  end if;
                  if (type_v(6) = '0') then
                    lower_address <= address_v(6 downto 2) & std_ulogic_vector(to_unsigned(lowest_f(first_be_v), 2));
                    if (length_v = 1) then
                      byte_count <= std_ulogic_vector(to_unsigned(highest_f(first_be_v) - lowest_f(first_be_v) + 1, 12));
                    else
                      byte_count <= std_ulogic_vector(to_unsigned((4*length_v - lowest_f(first_be_v) - 3 + highest_f(last_be_v)) mod 4096, 12));
                    end if;
                  end if;
                  -- whose BAR --
                  bar0_v   := false;
                  bar1_v   := false;
                  number_v := 0;
                  if (type_v(5) = '0') or (unsigned(req_header_i(95 downto 64)) = 0) then
                    for f in FUNCTIONS_G-1 downto 0 loop
                      if (memory_enable_i(f) = '1') then
                        if (address_v(31 downto BAR1_BITS_G) = bar1_i(f)(31 downto BAR1_BITS_G)) then
                          bar0_v := false; bar1_v := true; number_v := f;
                        end if;
                        if (address_v(31 downto BAR0_BITS_G) = bar0_i(f)(31 downto BAR0_BITS_G)) then
                          bar0_v := true; bar1_v := false; number_v := f;
                        end if;
                      end if;
                    end loop;
                  end if;
                  if bar0_v or bar1_v then
                    completer      <= bus_device & std_ulogic_vector(to_unsigned(number_v, 3));
                    acc_function_o <= std_ulogic_vector(to_unsigned(number_v, 3));
                    acc_write_o    <= type_v(6);
                    if (length_v > 2) then
                      status <= CPL_CA_C;
                    else
                      status <= CPL_SC_C;
                      read   <= not type_v(6);
                      length <= req_header_i(9 downto 0);
                      if (length_v = 2) then
                        second <= '1';
                      end if;
                      address <= (others => '0');
                      if bar0_v then
                        address(BAR0_BITS_G-1 downto 0) <= address_v(BAR0_BITS_G-1 downto 0);
                      else
                        address(BAR1_BITS_G-1 downto 0) <= address_v(BAR1_BITS_G-1 downto 0);
                      end if;
                      state <= S_ACCESS;
                      if bar0_v then
                        acc_bar0 <= '1';
                      else
                        acc_bar1 <= '1';
                      end if;
                    end if;
                  end if;

                -- locked reads, I/O, type 1 configuration, atomic operations: nobody here --
                when x"01" | x"21" | x"02" | x"42" | x"05" | x"45" | x"4C" | x"6C" | x"4D" | x"6D" | x"4E" | x"6E" => null;

                -- messages, and what is no TLP --
                when others =>
                  posted <= '1';

              end case;

              if malformed_f(req_header_i, req_dwords_i) then
                state      <= S_COMPLETE;
                posted     <= '1';
                bus_device <= bus_device;
                acc_config <= '0';
                acc_bar0   <= '0';
                acc_bar1   <= '0';
              end if;
            end if;

          -- one DW --
          when S_ACCESS =>
            ack_v  := '0';
            data_v := config_data_i;
            if (acc_config = '1') then
              ack_v := config_ack_i;
            elsif (acc_bar0 = '1') then
              ack_v  := bar0_ack_i;
              data_v := bar0_data_i;
            else
              ack_v  := bar1_ack_i;
              data_v := bar1_data_i;
            end if;
            if (window = '1') then
              data_v := merge_bytes_f(x"00000000", data_v, enables);
            end if;
            if (ack_v = '1') then
              if (upper = '1') then
                data(63 downto 32) <= data_v;
              else
                data(31 downto 0) <= std_ulogic_vector(shift_right(unsigned(data_v), 8*to_integer(unsigned(shift))));
              end if;
              if (second = '1') and (upper = '0') then
                upper      <= '1';
                address    <= std_ulogic_vector(unsigned(address) + 4);
                acc_data_o <= req_data_i(63 downto 32);
                enables    <= req_header_i(39 downto 36);
              else
                acc_config <= '0';
                acc_bar0   <= '0';
                acc_bar1   <= '0';
                state      <= S_COMPLETE;
              end if;
            end if;

          -- answer --
          when S_COMPLETE =>
            if (posted = '1') or (cpl_ready_i = '1') then
              state <= S_DONE;
            end if;

          when S_DONE =>
            state <= S_IDLE;

        end case;
      end if;
    end if;
  end process complete;

  req_ready_o <= '1' when (state = S_DONE) else '0';

  cpl_valid_o  <= '1' when (state = S_COMPLETE) and (posted = '0') else '0';
  cpl_header_o <= completion_header_f(length and (9 downto 0 => read), completer, status, byte_count,
                                      req_header_i(63 downto 48), req_header_i(47 downto 40), lower_address);
  cpl_data_o   <= data;

  acc_config_o  <= acc_config;
  acc_bar0_o    <= acc_bar0;
  acc_bar1_o    <= acc_bar1;
  acc_address_o <= address;
  acc_be_o      <= enables;

  requester_o <= bus_device & "000";

end architecture pcie_completer_rtl;
