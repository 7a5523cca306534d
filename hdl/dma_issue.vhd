-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Reading side of the DMA engine: checks commands and walks over their source      --
-- -------------------------------------------------------------------------------- --
-- Each command is handed to the writing side when its reading starts, so the       --
-- reads of later commands are on their way while earlier ones are written.         --
-- A read ends at a multiple of the read size (the smaller of Max_Read_Request_Size --
-- and a slot), hence never crosses 4 KiB, and of a long source all reads but the   --
-- first and the last have the full size. The writing side relies on this rule.     --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.dma_pkg.all;

entity dma_issue is
  generic (
    FUNCTIONS_G     : positive; -- functions of port 0; port 1 has one
    SCRATCH_BYTES_G : positive
  );
  port (
    clk_i           : in  std_ulogic;
    rst_i           : in  std_ulogic;
    -- commands --
    command_i       : in  dma_command_t;
    command_valid_i : in  std_ulogic;
    command_ready_o : out std_ulogic;
    -- configuration of the functions --
    p0_bme_i        : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    p0_mrrs_i       : in  code3_array_t(0 to FUNCTIONS_G-1);
    p0_requester_i  : in  std_ulogic_vector(15 downto 0);
    p1_bme_i        : in  std_ulogic;
    p1_mrrs_i       : in  std_ulogic_vector(2 downto 0);
    p1_requester_i  : in  std_ulogic_vector(15 downto 0);
    -- commands begun, to the writing side --
    flight_o        : out dma_flight_t;
    flight_valid_o  : out std_ulogic;
    flight_ready_i  : in  std_ulogic;
    -- the writing side gave up the command being read: stop, and wait until the slots are clean --
    abort_i         : in  std_ulogic;
    aborted_o       : out std_ulogic;
    -- slots, one bit per port --
    alloc_ready_i   : in  std_ulogic_vector(1 downto 0);
    p0_alloc_tag_i  : in  unsigned(4 downto 0);
    p1_alloc_tag_i  : in  unsigned(4 downto 0);
    alloc_o         : out std_ulogic_vector(1 downto 0);
    alloc_place_o   : out natural range 0 to 127;
    alloc_length_o  : out natural range 0 to 128;
    alloc_lead_o    : out natural range 0 to 3;
    alloc_bytes_o   : out natural range 0 to SLOT_BYTES_C;
    alloc_last_o    : out std_ulogic;
    alloc_refuse_o  : out std_ulogic;
    -- MRd, one bit per port --
    read_header_o   : out tlp_header_t;
    read_valid_o    : out std_ulogic_vector(1 downto 0);
    read_ready_i    : in  std_ulogic_vector(1 downto 0);
    busy_o          : out std_ulogic
  );
end entity dma_issue;

architecture rtl of dma_issue is

  type state_t is (S_COMMAND, S_READ, S_ABORTED);
  signal state_q : state_t;

  -- source of the command --
  signal port_q     : natural range 0 to 1;
  signal function_q : natural range 0 to 255;
  signal size_q     : size_t;
  signal address_q  : unsigned(63 downto 0);
  signal left_q     : natural range 0 to DMA_LENGTH_MAX_C; -- bytes

  signal read_valid_q : std_ulogic_vector(1 downto 0);

  -- next read --
  signal place     : natural range 0 to SLOT_BYTES_C-1; -- byte of the slot
  signal bytes     : natural range 0 to SLOT_BYTES_C;
  signal dws       : natural range 0 to 128;
  signal step      : std_ulogic; -- a slot is taken
  signal bus_master : std_ulogic;

  function is_port_f(space : std_ulogic_vector(3 downto 0)) return boolean is
  begin
    return space = SPACE_PORT0_C or space = SPACE_PORT1_C;
  end function is_port_f;

begin

  command_ready_o <= '1' when state_q = S_COMMAND and flight_ready_i = '1' else '0';
  aborted_o <= '1' when state_q = S_ABORTED else '0';
  busy_o <= '1' when state_q /= S_COMMAND or read_valid_q /= "00" else '0';
  read_valid_o <= read_valid_q;

  -- Begin of a command -------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  check: process(command_i, command_valid_i, state_q, p0_bme_i, p0_mrrs_i, p1_bme_i, p1_mrrs_i)
    variable bad_v    : boolean;
    variable master_v : boolean;
    variable mrrs_v   : std_ulogic_vector(2 downto 0);

    -- one end of the copy: the space exists, so does the function, scratch is long enough --
    impure function bad_end_f(
      space    : std_ulogic_vector(3 downto 0);
      fn       : std_ulogic_vector(7 downto 0);
      address  : std_ulogic_vector(63 downto 0)) return boolean is
    begin
      case space is
        when SPACE_PORT0_C   => return unsigned(fn) >= FUNCTIONS_G;
        when SPACE_PORT1_C   => return unsigned(fn) /= 0;
        when SPACE_SCRATCH_C =>
          return unsigned(address(63 downto 20)) /= 0 or
                 to_integer(unsigned(address(19 downto 0))) + to_integer(unsigned(command_i.length(20 downto 0))) > SCRATCH_BYTES_G;
        when others          => return true;
      end case;
    end function bad_end_f;

    impure function master_f(
      space : std_ulogic_vector(3 downto 0);
      fn    : std_ulogic_vector(7 downto 0)) return boolean is
    begin
      case space is
        when SPACE_PORT0_C => return p0_bme_i(to_integer(unsigned(fn)) mod FUNCTIONS_G) = '1';
        when SPACE_PORT1_C => return p1_bme_i = '1';
        when others        => return true;
      end case;
    end function master_f;

  begin
    flight_valid_o <= '0';
    flight_o.tag <= command_i.tag;
    flight_o.length <= command_i.length;
    flight_o.status <= DMA_OK_C;
    flight_o.give_back <= command_i.give_back;
    flight_o.source_space <= command_i.source_space(1 downto 0);
    flight_o.destination_space <= command_i.destination_space(1 downto 0);
    flight_o.destination_function <= command_i.destination_function;
    flight_o.source_address <= command_i.source_address(19 downto 0);
    flight_o.read_size <= "00";
    flight_o.destination_address <= command_i.destination_address;
    if command_valid_i = '1' then
      if state_q = S_COMMAND then
        flight_valid_o <= '1';
      end if;
      bad_v := unsigned(command_i.length) = 0 or unsigned(command_i.length) > DMA_LENGTH_MAX_C;
      bad_v := bad_v or bad_end_f(command_i.source_space, command_i.source_function, command_i.source_address);
      bad_v := bad_v or bad_end_f(command_i.destination_space, command_i.destination_function, command_i.destination_address);
      if command_i.give_back = '1' then
        bad_v := bad_v or command_i.destination_space /= SPACE_SCRATCH_C or command_i.destination_address(4 downto 0) /= "00000" or
                 unsigned(command_i.length) > RETURN_LENGTH_MAX_C;
      end if;
      master_v := master_f(command_i.source_space, command_i.source_function) and
                  master_f(command_i.destination_space, command_i.destination_function);
      if bad_v then
        flight_o.status <= DMA_BAD_COMMAND_C;
      elsif not master_v then
        flight_o.status <= DMA_NO_MASTER_C;
      end if;
      mrrs_v := p1_mrrs_i;
      if command_i.source_space = SPACE_PORT0_C then
        mrrs_v := p0_mrrs_i(to_integer(unsigned(command_i.source_function)) mod FUNCTIONS_G);
      end if;
      case mrrs_v is
        when "000"  => flight_o.read_size <= "00";
        when "001"  => flight_o.read_size <= "01";
        when others => flight_o.read_size <= "10";
      end case;
    end if;
  end process check;

  -- Next read ----------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  next_read: process(state_q, port_q, function_q, size_q, address_q, left_q, read_valid_q, read_ready_i, alloc_ready_i, abort_i,
                     p0_bme_i, p1_bme_i)
    variable place_v : natural range 0 to SLOT_BYTES_C-1;
    variable room_v  : natural range 0 to SLOT_BYTES_C;
    variable bytes_v : natural range 0 to SLOT_BYTES_C;
  begin
    place <= 0;
    bytes <= 0;
    dws <= 0;
    step <= '0';
    bus_master <= p1_bme_i;
    if state_q = S_READ then
      place_v := to_integer(address_q(8 downto 0));
      room_v := size_bytes_f(size_q) - modulo_f(place_v, size_q);
      bytes_v := minimum_f(left_q, room_v);
      place <= place_v;
      bytes <= bytes_v;
      dws <= (place_v mod 4 + bytes_v + 3) / 4;
      if port_q = 0 then
        bus_master <= p0_bme_i(function_q mod FUNCTIONS_G);
      end if;
      if alloc_ready_i(port_q) = '1' and abort_i = '0' and (read_valid_q and not read_ready_i) = "00" then
        step <= '1';
      end if;
    end if;
  end process next_read;

  alloc_o(0) <= step when port_q = 0 else '0';
  alloc_o(1) <= step when port_q = 1 else '0';
  alloc_place_o <= place / 4;
  alloc_length_o <= dws;
  alloc_lead_o <= place mod 4;
  alloc_bytes_o <= bytes;
  alloc_last_o <= '1' when bytes = left_q or bus_master = '0' else '0';
  alloc_refuse_o <= not bus_master;

  walk: process(clk_i)
    variable requester_v : std_ulogic_vector(15 downto 0);
    variable tag_v       : std_ulogic_vector(7 downto 0);
  begin
    if rising_edge(clk_i) then
      if (read_valid_q and read_ready_i) /= "00" then
        read_valid_q <= "00";
      end if;
      case state_q is

        when S_COMMAND =>
          if command_valid_i = '1' and flight_ready_i = '1' and flight_o.status = DMA_OK_C and is_port_f(command_i.source_space) then
            state_q <= S_READ;
            port_q <= to_integer(unsigned(command_i.source_space(0 downto 0)));
            function_q <= to_integer(unsigned(command_i.source_function));
            size_q <= to_integer(unsigned(flight_o.read_size));
            address_q <= unsigned(command_i.source_address);
            left_q <= to_integer(unsigned(command_i.length(20 downto 0)));
          end if;

        when S_READ =>
          if abort_i = '1' then
            state_q <= S_ABORTED;
          elsif step = '1' then
            if port_q = 0 then
              requester_v := std_ulogic_vector(unsigned(p0_requester_i) + function_q);
              tag_v := "000" & std_ulogic_vector(p0_alloc_tag_i);
            else
              requester_v := p1_requester_i;
              tag_v := "000" & std_ulogic_vector(p1_alloc_tag_i);
            end if;
            read_header_o <= memory_header_f(
              write     => '0',
              address   => std_ulogic_vector(address_q),
              length    => std_ulogic_vector(to_unsigned(dws, 10)),
              requester => requester_v,
              tag       => tag_v,
              last_be   => last_be_f(place mod 4, bytes),
              first_be  => first_be_f(place mod 4, bytes));
            if bus_master = '1' then
              read_valid_q(port_q) <= '1';
            end if;
            address_q <= address_q + bytes;
            left_q <= left_q - bytes;
            if bytes = left_q or bus_master = '0' then
              state_q <= S_COMMAND;
            end if;
          end if;

        when S_ABORTED =>
          if abort_i = '0' then
            state_q <= S_COMMAND;
          end if;

      end case;
      if rst_i = '1' then
        state_q <= S_COMMAND;
        port_q <= 0;
        read_valid_q <= "00";
      end if;
    end if;
  end process walk;

end architecture rtl;
