-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- Management port (CONTRACT.md, 4): executes commands, sends answers and events    --
-- -------------------------------------------------------------------------------- --
-- One command after the other. DMA commands are done with once the DMA engine has  --
-- queued them, so what follows them is not held up. Sending takes turns between    --
-- events and the rest (answers before ends of DMA commands).                       --
-- A MEM_READ or MEM_WRITE whose length is 0, above 4096 or not a multiple of 4, or --
-- whose offset is not a multiple of 32, counts as outside scratch; such a MEM_READ --
-- is answered with zeros, its length rounded down to what is allowed.              --
-- A DMA_DONE with a status other than OK has no payload.                           --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.cosim_regs_pkg.all;
use work.dma_pkg.all;

entity mgmt_port is
  generic (
    DATA_WIDTH_G    : positive := 256;
    SCRATCH_BYTES_G : positive := 65536 -- a power of two, at most 512 KiB
  );
  port (
    clk_i           : in  std_ulogic;
    rst_i           : in  std_ulogic;
    -- port 2 --
    rx_data_i       : in  std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    rx_keep_i       : in  std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    rx_last_i       : in  std_ulogic;
    rx_valid_i      : in  std_ulogic;
    rx_ready_o      : out std_ulogic;
    tx_data_o       : out std_ulogic_vector(DATA_WIDTH_G-1 downto 0);
    tx_keep_o       : out std_ulogic_vector(DATA_WIDTH_G/32-1 downto 0);
    tx_last_o       : out std_ulogic;
    tx_valid_o      : out std_ulogic;
    tx_ready_i      : in  std_ulogic;
    -- registers: strobes of one cycle, one access at a time --
    reg_addr_o      : out std_ulogic_vector(31 downto 0);
    reg_we_o        : out std_ulogic;
    reg_re_o        : out std_ulogic;
    reg_wdata_o     : out std_ulogic_vector(31 downto 0);
    reg_rdata_i     : in  std_ulogic_vector(31 downto 0);
    reg_ack_i       : in  std_ulogic;
    -- interrupts to raise --
    int_valid_o     : out std_ulogic;
    int_ready_i     : in  std_ulogic;
    int_port_o      : out std_ulogic_vector(3 downto 0);
    int_function_o  : out std_ulogic_vector(7 downto 0);
    int_index_o     : out std_ulogic_vector(15 downto 0);
    -- events --
    ev_valid_i      : in  std_ulogic;
    ev_ready_o      : out std_ulogic;
    ev_opcode_i     : in  std_ulogic_vector(7 downto 0);
    ev_dw2_i        : in  std_ulogic_vector(31 downto 0);
    ev_dw3_i        : in  std_ulogic_vector(31 downto 0);
    ev_dw4_i        : in  std_ulogic_vector(31 downto 0);
    -- DMA engine --
    command_o       : out dma_command_t;
    command_valid_o : out std_ulogic;
    command_ready_i : in  std_ulogic;
    done_i          : in  dma_done_t;
    done_valid_i    : in  std_ulogic;
    done_ready_o    : out std_ulogic;
    -- scratch --
    mem_re_o        : out std_ulogic;
    mem_raddr_o     : out std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    mem_rdata_i     : in  std_ulogic_vector(255 downto 0);
    mem_we_o        : out std_ulogic;
    mem_wready_i    : in  std_ulogic;
    mem_waddr_o     : out std_ulogic_vector(index_bits_f(SCRATCH_BYTES_G/32)-1 downto 0);
    mem_wbe_o       : out std_ulogic_vector(31 downto 0);
    mem_wdata_o     : out std_ulogic_vector(255 downto 0);
    busy_o          : out std_ulogic
  );
end entity mgmt_port;

architecture rtl of mgmt_port is

  constant MEM_LENGTH_MAX_C : natural := 4096;

  -- commands --
  type state_t is (S_HEADER, S_REGISTER, S_MEM_WRITE, S_MEM_READ, S_DMA, S_INTERRUPT, S_REG_DATA, S_SKIP);
  signal state_q  : state_t;
  signal header_q : std_ulogic_vector(255 downto 0);
  signal more_q   : std_ulogic; -- the packet has beats left
  signal we_q     : std_ulogic;
  signal re_q     : std_ulogic;
  signal value_q  : std_ulogic_vector(31 downto 0);
  signal wrow_q   : unsigned(14 downto 0);
  signal wleft_q  : natural range 0 to MEM_LENGTH_MAX_C/4; -- DWs
  signal inside_q : std_ulogic; -- the range is inside scratch

  -- packets sent --
  type tx_state_t is (S_IDLE, S_TX_HEADER, S_TX_PAYLOAD);
  signal tx_state_q   : tx_state_t;
  signal tx_header_q  : std_ulogic_vector(255 downto 0);
  signal tx_row_q     : unsigned(14 downto 0);
  signal tx_left_q    : natural range 0 to MEM_LENGTH_MAX_C/4; -- DWs of payload to come
  signal tx_zero_q    : std_ulogic; -- payload of zeros
  signal tx_answer_q  : std_ulogic; -- the packet is a MEM_DATA
  signal tx_turn_q    : std_ulogic; -- an event goes first
  signal answer_ready : std_ulogic;
  signal done_ready   : std_ulogic;
  signal ev_ready     : std_ulogic;
  signal mem_sent     : std_ulogic;
  signal fetch        : std_ulogic;

  -- the rule was broken in the cycle before --
  signal outside : std_ulogic := '0';

  function word_f(header : std_ulogic_vector(255 downto 0); dw : natural) return std_ulogic_vector is
  begin
    return header(32*dw+31 downto 32*dw);
  end function word_f;

  -- MEM_READ and MEM_WRITE: legal and inside scratch --
  function inside_f(length : unsigned(31 downto 0); offset : unsigned(31 downto 0)) return boolean is
  begin
    return length /= 0 and length <= MEM_LENGTH_MAX_C and length(1 downto 0) = "00" and offset(4 downto 0) = "00000" and
           offset(31 downto 20) = x"000" and to_integer(offset(19 downto 0)) + to_integer(length(12 downto 0)) <= SCRATCH_BYTES_G;
  end function inside_f;

begin

  assert DATA_WIDTH_G = 256
    report "mgmt_port: DATA_WIDTH_G is " & integer'image(DATA_WIDTH_G) & ", this port is made for 256"
    severity failure;

  write_inside_scratch: assert outside = '0'
    report "a row beyond the end of scratch was written" severity failure;

  busy_o <= '1' when rx_valid_i = '1' or state_q /= S_HEADER or tx_state_q /= S_IDLE or ev_valid_i = '1' or done_valid_i = '1' else '0';

  -- Commands -----------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  rx_ready_o <= '1' when state_q = S_HEADER or state_q = S_SKIP else
                mem_wready_i when state_q = S_MEM_WRITE else '0';

  reg_addr_o <= word_f(header_q, 2);
  reg_wdata_o <= word_f(header_q, 4);
  reg_we_o <= we_q;
  reg_re_o <= re_q;

  int_valid_o <= '1' when state_q = S_INTERRUPT else '0';
  int_port_o <= header_q(67 downto 64);
  int_function_o <= header_q(79 downto 72);
  int_index_o <= header_q(111 downto 96);

  command_valid_o <= '1' when state_q = S_DMA else '0';
  command_o.tag <= header_q(31 downto 16);
  command_o.length <= word_f(header_q, 1);
  command_o.give_back <= header_q(96);
  command_o.source_space <= header_q(67 downto 64);
  command_o.destination_space <= header_q(71 downto 68);
  command_o.source_function <= header_q(79 downto 72);
  command_o.destination_function <= header_q(87 downto 80);
  command_o.source_address <= header_q(191 downto 128);
  command_o.destination_address <= header_q(255 downto 192);

  mem_we_o <= '1' when state_q = S_MEM_WRITE and rx_valid_i = '1' and inside_q = '1' and wleft_q /= 0 else '0';
  mem_waddr_o <= std_ulogic_vector(wrow_q(mem_waddr_o'range));
  mem_wdata_o <= rx_data_i;

  enables: process(state_q, rx_keep_i, wleft_q)
  begin
    mem_wbe_o <= (others => '0');
    if state_q = S_MEM_WRITE then
      for i in 0 to 7 loop
        if rx_keep_i(i) = '1' and i < wleft_q then
          mem_wbe_o(4*i+3 downto 4*i) <= "1111";
        end if;
      end loop;
    end if;
  end process enables;

  commands: process(clk_i)
    variable length_v : unsigned(31 downto 0);
    variable offset_v : unsigned(31 downto 0);
    variable dws_v    : natural range 0 to MEM_LENGTH_MAX_C/4;
    variable finish_v : boolean; -- the command is executed
  begin
    if rising_edge(clk_i) then
      we_q <= '0';
      re_q <= '0';
      finish_v := false;
      case state_q is

        when S_HEADER =>
          if rx_valid_i = '1' then
            header_q <= rx_data_i;
            more_q <= not rx_last_i;
            length_v := unsigned(rx_data_i(63 downto 32));
            offset_v := unsigned(rx_data_i(95 downto 64));
            case to_integer(unsigned(rx_data_i(7 downto 0))) is
              when OP_REG_WRITE_C =>
                we_q <= '1';
                state_q <= S_REGISTER;
              when OP_REG_READ_C =>
                re_q <= '1';
                state_q <= S_REGISTER;
              when OP_MEM_WRITE_C | OP_MEM_READ_C =>
                inside_q <= '0';
                if inside_f(length_v, offset_v) then
                  inside_q <= '1';
                end if;
                wrow_q <= offset_v(19 downto 5);
                dws_v := MEM_LENGTH_MAX_C/4;
                if length_v < MEM_LENGTH_MAX_C then
                  dws_v := to_integer(length_v(11 downto 2));
                end if;
                wleft_q <= dws_v;
                if unsigned(rx_data_i(7 downto 0)) = OP_MEM_READ_C then
                  state_q <= S_MEM_READ;
                elsif rx_last_i = '0' then
                  state_q <= S_MEM_WRITE;
                end if;
              when OP_DMA_C =>
                state_q <= S_DMA;
              when OP_INTERRUPT_C =>
                state_q <= S_INTERRUPT;
              when others => -- not a command
                if rx_last_i = '0' then
                  state_q <= S_SKIP;
                end if;
            end case;
          end if;

        when S_REGISTER =>
          if reg_ack_i = '1' then
            value_q <= reg_rdata_i;
            if unsigned(header_q(7 downto 0)) = OP_REG_READ_C then
              state_q <= S_REG_DATA;
            else
              finish_v := true;
            end if;
          end if;

        when S_REG_DATA =>
          finish_v := answer_ready = '1';

        when S_MEM_READ => -- until sent: the next command may write what is read here
          finish_v := mem_sent = '1';

        when S_MEM_WRITE =>
          if rx_valid_i = '1' and mem_wready_i = '1' then
            wrow_q <= wrow_q + 1;
            wleft_q <= wleft_q - minimum_f(wleft_q, 8);
            if rx_last_i = '1' then
              state_q <= S_HEADER;
            end if;
          end if;

        when S_DMA =>
          finish_v := command_ready_i = '1';

        when S_INTERRUPT =>
          finish_v := int_ready_i = '1';

        when S_SKIP =>
          if rx_valid_i = '1' and rx_last_i = '1' then
            state_q <= S_HEADER;
          end if;

      end case;
      if finish_v then
        state_q <= S_HEADER;
        if more_q = '1' then
          state_q <= S_SKIP;
        end if;
      end if;
      if rst_i = '1' then
        state_q <= S_HEADER;
        header_q <= (others => '0');
        we_q <= '0';
        re_q <= '0';
        wleft_q <= 0;
        inside_q <= '0';
      end if;
      outside <= '0';
      if mem_we_o = '1' and wrow_q >= SCRATCH_BYTES_G/32 and rst_i = '0' then
        outside <= '1';
      end if;
    end if;
  end process commands;

  -- Packets sent -------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  ev_ready_o <= ev_ready;
  done_ready_o <= done_ready;

  choose: process(tx_state_q, state_q, tx_turn_q, done_valid_i, ev_valid_i)
  begin
    answer_ready <= '0';
    done_ready <= '0';
    ev_ready <= '0';
    if tx_state_q = S_IDLE then
      if ev_valid_i = '1' and tx_turn_q = '1' then
        ev_ready <= '1';
      elsif state_q = S_REG_DATA or state_q = S_MEM_READ then
        answer_ready <= '1';
      elsif done_valid_i = '1' then
        done_ready <= '1';
      elsif ev_valid_i = '1' then
        ev_ready <= '1';
      end if;
    end if;
  end process choose;

  tx_valid_o <= '0' when tx_state_q = S_IDLE else '1';
  tx_last_o <= '1' when (tx_state_q = S_TX_HEADER and tx_left_q = 0) or (tx_state_q = S_TX_PAYLOAD and tx_left_q <= 8) else '0';
  tx_data_o <= tx_header_q     when tx_state_q /= S_TX_PAYLOAD else
               (others => '0') when tx_zero_q = '1' else
               mem_rdata_i;

  keep: process(tx_state_q, tx_left_q)
  begin
    tx_keep_o <= x"FF";
    if tx_state_q = S_TX_PAYLOAD then
      for i in 0 to 7 loop
        if i >= tx_left_q then
          tx_keep_o(i) <= '0';
        end if;
      end loop;
    end if;
  end process keep;

  -- next row, when the beat before it leaves --
  fetch <= '1' when tx_ready_i = '1' and ((tx_state_q = S_TX_HEADER and tx_left_q /= 0) or (tx_state_q = S_TX_PAYLOAD and tx_left_q > 8)) else '0';
  mem_re_o <= fetch and not tx_zero_q;
  mem_raddr_o <= std_ulogic_vector(tx_row_q(mem_raddr_o'range));
  mem_sent <= tx_answer_q and tx_ready_i and tx_last_o and tx_valid_o;

  sending: process(clk_i)
    variable header_v : std_ulogic_vector(255 downto 0);
  begin
    if rising_edge(clk_i) then
      case tx_state_q is

        when S_IDLE =>
          header_v := (others => '0');
          tx_left_q <= 0;
          tx_zero_q <= '0';
          tx_answer_q <= '0';
          if answer_ready = '1' then
            header_v(31 downto 16) := header_q(31 downto 16);
            header_v(95 downto 64) := word_f(header_q, 2);
            if state_q = S_REG_DATA then
              header_v(7 downto 0) := std_ulogic_vector(to_unsigned(OP_REG_DATA_C, 8));
              header_v(159 downto 128) := value_q;
            else
              header_v(7 downto 0) := std_ulogic_vector(to_unsigned(OP_MEM_DATA_C, 8));
              header_v(63 downto 32) := std_ulogic_vector(to_unsigned(4 * wleft_q, 32));
              tx_left_q <= wleft_q;
              tx_row_q <= wrow_q;
              tx_zero_q <= not inside_q;
              tx_answer_q <= '1';
            end if;
            tx_turn_q <= '1';
          elsif done_ready = '1' then
            header_v(7 downto 0) := std_ulogic_vector(to_unsigned(OP_DMA_DONE_C, 8));
            header_v(15 downto 8) := "00000" & done_i.status;
            header_v(31 downto 16) := done_i.tag;
            header_v(63 downto 32) := done_i.length;
            tx_row_q <= unsigned(done_i.offset(19 downto 5));
            if done_i.give_back = '1' and done_i.status = DMA_OK_C then
              tx_left_q <= (to_integer(unsigned(done_i.length(12 downto 0))) + 3) / 4;
            end if;
            tx_turn_q <= '1';
          elsif ev_ready = '1' then
            header_v(7 downto 0) := ev_opcode_i;
            header_v(95 downto 64) := ev_dw2_i;
            header_v(127 downto 96) := ev_dw3_i;
            header_v(159 downto 128) := ev_dw4_i;
            tx_turn_q <= '0';
          end if;
          if answer_ready = '1' or done_ready = '1' or ev_ready = '1' then
            tx_header_q <= header_v;
            tx_state_q <= S_TX_HEADER;
          end if;

        when S_TX_HEADER =>
          if tx_ready_i = '1' then
            if tx_left_q = 0 then
              tx_state_q <= S_IDLE;
            else
              tx_state_q <= S_TX_PAYLOAD;
            end if;
          end if;

        when S_TX_PAYLOAD =>
          if tx_ready_i = '1' then
            if tx_left_q <= 8 then
              tx_state_q <= S_IDLE;
            else
              tx_left_q <= tx_left_q - 8;
            end if;
          end if;

      end case;
      if fetch = '1' then
        tx_row_q <= tx_row_q + 1;
      end if;
      if rst_i = '1' then
        tx_state_q <= S_IDLE;
        tx_turn_q <= '0';
        tx_answer_q <= '0';
      end if;
    end if;
  end process sending;

end architecture rtl;
