-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- The back-end endpoint of port 1: BAR0 (block BE), and block MG of the register   --
-- map                                                                              --
-- -------------------------------------------------------------------------------- --
-- Identification, CONTROL and STATUS, the two mailboxes, doorbells. One state      --
-- machine serves host 2, the management port, interrupt commands and events. The   --
-- mailboxes lie in one memory: F2H in words 0..255, H2F in words 256..511.         --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.cosim_regs_pkg.all;

entity backend_endpoint is
  generic (
    DATA_WIDTH_G    : positive;
    FUNCTIONS_G     : positive; -- virtio functions on port 0
    QUEUES_G        : positive; -- queues of a function
    VECTORS_G       : positive; -- MSI-X vectors of a virtio function
    BE_VECTORS_G    : positive; -- MSI-X vectors of this endpoint
    SCRATCH_BYTES_G : positive
  );
  port (
    clk_i          : in  std_ulogic; -- clock, rising edge
    rst_i          : in  std_ulogic; -- reset, synchronous, high-active
    -- accesses to BAR0 --
    acc_enable_i   : in  std_ulogic;
    acc_write_i    : in  std_ulogic;
    acc_address_i  : in  std_ulogic_vector(15 downto 0);
    acc_data_i     : in  std_ulogic_vector(31 downto 0);
    acc_be_i       : in  std_ulogic_vector(3 downto 0);
    acc_ack_o      : out std_ulogic;
    acc_data_o     : out std_ulogic_vector(31 downto 0);
    -- accesses of the management port --
    reg_enable_i   : in  std_ulogic;
    reg_write_i    : in  std_ulogic;
    reg_address_i  : in  std_ulogic_vector(31 downto 0);
    reg_data_i     : in  std_ulogic_vector(31 downto 0);
    reg_ack_o      : out std_ulogic;
    reg_data_o     : out std_ulogic_vector(31 downto 0);
    -- interrupt commands --
    int_valid_i    : in  std_ulogic;
    int_ready_o    : out std_ulogic;
    int_function_i : in  std_ulogic_vector(7 downto 0);
    int_index_i    : in  std_ulogic_vector(15 downto 0); -- vector
    -- events --
    ev_valid_o     : out std_ulogic;
    ev_ready_i     : in  std_ulogic;
    ev_opcode_o    : out std_ulogic_vector(7 downto 0);
    ev_dw2_o       : out std_ulogic_vector(31 downto 0);
    ev_dw3_o       : out std_ulogic_vector(31 downto 0);
    ev_dw4_o       : out std_ulogic_vector(31 downto 0);
    -- MSI-X --
    irq_valid_o    : out std_ulogic;
    irq_ready_i    : in  std_ulogic;
    irq_vector_o   : out std_ulogic_vector(15 downto 0);
    -- configuration space --
    msix_enable_i  : in  std_ulogic;
    flr_i          : in  std_ulogic;
    isr_o          : out std_ulogic; -- INTX_STATUS is not 0
    -- status --
    busy_o         : out std_ulogic
  );
end entity backend_endpoint;

architecture backend_endpoint_rtl of backend_endpoint is

  constant ID_C          : std_ulogic_vector(31 downto 0) := x"4353494D";
  constant VERSION_C     : std_ulogic_vector(31 downto 0) := x"00010000";
  constant GEOMETRY_C    : std_ulogic_vector(31 downto 0) :=
    x"00" & std_ulogic_vector(to_unsigned(QUEUES_G, 16)) & std_ulogic_vector(to_unsigned(FUNCTIONS_G, 8));
  constant MAILBOX_C     : natural := 1024; -- bytes of one mailbox
  constant DEVICE_STEP_C : natural := 16#400#; -- doorbells of one device

  -- doorbell marks: one bit per device and queue --
  constant MARKS_C : positive := FUNCTIONS_G*QUEUES_G;

  type state_t is (S_CLEAR, S_IDLE, S_HOST_READ, S_HOST_WRITE, S_REG_READ, S_INT_SEND);
  signal state : state_t;

  signal control     : std_ulogic_vector(31 downto 0);
  signal be_status   : std_ulogic_vector(31 downto 0);
  signal intx_status : std_ulogic_vector(31 downto 0);
  signal f2h_length  : std_ulogic_vector(10 downto 0);
  signal h2f_length  : std_ulogic_vector(10 downto 0);
  signal flr         : std_ulogic;

  -- events to be told --
  signal flr_mark     : std_ulogic;
  signal control_mark : std_ulogic;
  signal ack_mark     : std_ulogic; -- F2H was acknowledged
  signal post_mark    : std_ulogic; -- H2F was posted
  signal bell_mark    : std_ulogic_vector(MARKS_C-1 downto 0);
  signal bell_recent  : natural range 0 to MARKS_C-1; -- whose turn was last
  signal marked       : std_ulogic;
  signal ev_valid     : std_ulogic;

  signal place     : unsigned(8 downto 0); -- word of the mailbox memory
  signal ram_q     : std_ulogic_vector(31 downto 0);
  signal acc_ack   : std_ulogic;
  signal reg_ack   : std_ulogic;
  signal int_ready : std_ulogic;

begin

  serve: process(clk_i)
    type ram_t is array (0 to 511) of std_ulogic_vector(31 downto 0);
    variable ram         : ram_t;
    variable ram_read_v  : boolean;
    variable ram_write_v : boolean;
    variable ram_word_v  : unsigned(8 downto 0);
    variable ram_data_v  : std_ulogic_vector(31 downto 0);
    variable address_v   : natural range 0 to 65535;
    variable written_v   : std_ulogic_vector(31 downto 0);
    variable device_v    : natural range 0 to 63;
    variable queue_v     : natural range 0 to 255;
    variable m_v         : natural range 0 to MARKS_C-1;
  begin
    if rising_edge(clk_i) then
      ram_read_v  := false;
      ram_write_v := false;
      ram_word_v  := place;
      ram_data_v  := acc_data_i;

      if (rst_i = '1') then
        state        <= S_CLEAR;
        place        <= (others => '0');
        control      <= (others => '0');
        be_status    <= (others => '0');
        intx_status  <= (others => '0');
        f2h_length   <= (others => '0');
        h2f_length   <= (others => '0');
        flr          <= '0';
        flr_mark     <= '0';
        control_mark <= '0';
        ack_mark     <= '0';
        post_mark    <= '0';
        bell_mark    <= (others => '0');
        bell_recent  <= 0;
        ev_valid     <= '0';
        acc_ack      <= '0';
        reg_ack      <= '0';
        int_ready    <= '0';
        irq_valid_o  <= '0';
      else
        if (flr_i = '1') then
          flr <= '1';
        end if;
        if (ev_valid = '1') and (ev_ready_i = '1') then
          ev_valid <= '0';
        end if;
        if (acc_ack = '1') then
          acc_ack <= '0';
        end if;
        if (reg_ack = '1') then
          reg_ack <= '0';
        end if;
        if (int_ready = '1') then
          int_ready <= '0';
        end if;

        -- what is served in one go, and the beginning of everything else ------------------
        -- --------------------------------------------------------------------------------
        if (state = S_IDLE) then
          if (flr = '1') then
            -- Function level reset --------------------------------------------------
            -- ------------------------------------------------------------------------
            flr          <= flr_i;
            flr_mark     <= '1';
            control      <= (others => '0');
            intx_status  <= (others => '0');
            f2h_length   <= (others => '0');
            h2f_length   <= (others => '0');
            control_mark <= '0';
            ack_mark     <= '0';
            post_mark    <= '0';
            bell_mark    <= (others => '0');
            place        <= (others => '0');
            state        <= S_CLEAR;

          elsif (acc_enable_i = '1') and (acc_ack = '0') then
            -- Access of host 2 -------------------------------------------------------
            -- ------------------------------------------------------------------------
            address_v  := to_integer(unsigned(acc_address_i(15 downto 2)) & "00");
            written_v  := merge_bytes_f(x"00000000", acc_data_i, acc_be_i);
            acc_ack    <= '1';
            acc_data_o <= (others => '0');
            if (address_v >= BE_DOORBELL_C) then
              device_v := (address_v - BE_DOORBELL_C) / DEVICE_STEP_C;
              queue_v  := to_integer(unsigned(acc_address_i(9 downto 2)));
              if (acc_write_i = '1') and (acc_be_i /= "0000") and (device_v < FUNCTIONS_G) and (queue_v < QUEUES_G) then
                bell_mark((device_v*QUEUES_G + queue_v) mod MARKS_C) <= '1';
              end if;
            elsif (address_v >= BE_F2H_DATA_C) and (address_v < BE_H2F_DATA_C + MAILBOX_C) then
              -- the mailboxes follow one another --
              place      <= unsigned(acc_address_i(10 downto 2));
              ram_word_v := unsigned(acc_address_i(10 downto 2));
              if (acc_write_i = '0') then
                acc_ack    <= '0';
                ram_read_v := true;
                state      <= S_HOST_READ;
              elsif (address_v >= BE_H2F_DATA_C) then
                if (acc_be_i = "1111") then
                  ram_write_v := true;
                else
                  acc_ack    <= '0';
                  ram_read_v := true;
                  state      <= S_HOST_WRITE;
                end if;
              end if;
            else
              case address_v is
                when BE_ID_C       => acc_data_o <= ID_C;
                when BE_VERSION_C  => acc_data_o <= VERSION_C;
                when BE_GEOMETRY_C => acc_data_o <= GEOMETRY_C;
                when BE_VECTORS_C  => acc_data_o <= std_ulogic_vector(to_unsigned(BE_VECTORS_G, 32));
                when BE_CONTROL_C =>
                  acc_data_o <= control;
                  if (acc_write_i = '1') and (acc_be_i /= "0000") then
                    control      <= merge_bytes_f(control, acc_data_i, acc_be_i);
                    control_mark <= '1';
                  end if;
                when BE_STATUS_C => acc_data_o <= be_status;
                when BE_INTX_STATUS_C =>
                  acc_data_o <= intx_status;
                  if (acc_write_i = '0') and (acc_be_i /= "0000") then
                    intx_status <= (others => '0');
                  end if;
                when BE_F2H_STATUS_C => acc_data_o(10 downto 0) <= f2h_length;
                when BE_F2H_ACK_C =>
                  if (acc_write_i = '1') and (acc_be_i /= "0000") and (unsigned(f2h_length) /= 0) then
                    f2h_length <= (others => '0');
                    ack_mark   <= '1';
                  end if;
                when BE_H2F_STATUS_C => acc_data_o(10 downto 0) <= h2f_length;
                when BE_H2F_POST_C =>
                  if (acc_write_i = '1') and (unsigned(h2f_length) = 0) and
                     (unsigned(written_v) /= 0) and (unsigned(written_v) <= MAILBOX_C) then
                    h2f_length <= written_v(10 downto 0);
                    post_mark  <= '1';
                  end if;
                when others => null;
              end case;
            end if;

          elsif (reg_enable_i = '1') and (reg_ack = '0') then
            -- Access of the management port ------------------------------------------
            -- ------------------------------------------------------------------------
            address_v  := to_integer(unsigned(reg_address_i(15 downto 2)) & "00");
            reg_ack    <= '1';
            reg_data_o <= (others => '0');
            if (address_v >= MG_F2H_DATA_C) and (address_v < MG_H2F_DATA_C + MAILBOX_C) then
              ram_word_v := unsigned(reg_address_i(10 downto 2));
              ram_data_v := reg_data_i;
              if (reg_write_i = '1') then
                ram_write_v := address_v < MG_H2F_DATA_C;
              else
                reg_ack    <= '0';
                ram_read_v := true;
                state      <= S_REG_READ;
              end if;
            else
              case address_v is
                when MG_ID_C           => reg_data_o <= ID_C;
                when MG_VERSION_C      => reg_data_o <= VERSION_C;
                when MG_GEOMETRY_C     => reg_data_o <= GEOMETRY_C;
                when MG_VECTORS_C      => reg_data_o <= std_ulogic_vector(to_unsigned(BE_VECTORS_G, 16)) & std_ulogic_vector(to_unsigned(VECTORS_G, 16));
                when MG_SCRATCH_SIZE_C => reg_data_o <= std_ulogic_vector(to_unsigned(SCRATCH_BYTES_G, 32));
                when MG_DATA_WIDTH_C   => reg_data_o <= std_ulogic_vector(to_unsigned(DATA_WIDTH_G, 32));
                when MG_F2H_CONTROL_C =>
                  reg_data_o(10 downto 0) <= f2h_length;
                  if (reg_write_i = '1') then
                    f2h_length <= reg_data_i(10 downto 0);
                  end if;
                when MG_H2F_CONTROL_C =>
                  reg_data_o(10 downto 0) <= h2f_length;
                  if (reg_write_i = '1') then
                    h2f_length <= (others => '0');
                  end if;
                when MG_BE_STATUS_C =>
                  reg_data_o <= be_status;
                  if (reg_write_i = '1') then
                    be_status <= reg_data_i;
                  end if;
                when MG_BE_CONTROL_C => reg_data_o <= control;
                when others => null;
              end case;
            end if;

          elsif (int_valid_i = '1') and (int_ready = '0') then
            -- Interrupt command ------------------------------------------------------
            -- ------------------------------------------------------------------------
            int_ready <= '1';
            if (unsigned(int_function_i) = 0) and (unsigned(int_index_i) < BE_VECTORS_G) then
              irq_vector_o <= int_index_i;
              if (msix_enable_i = '1') then
                irq_valid_o <= '1';
                state       <= S_INT_SEND;
              elsif (unsigned(int_index_i) < 31) then
                intx_status(to_integer(unsigned(int_index_i(4 downto 0)))) <= '1';
              else
                intx_status(31) <= '1';
              end if;
            end if;

          elsif (marked = '1') and (ev_valid = '0') then
            -- Event ------------------------------------------------------------------
            -- ------------------------------------------------------------------------
            ev_valid <= '1';
            ev_dw2_o <= x"00000001";
            ev_dw3_o <= (others => '0');
            ev_dw4_o <= (others => '0');
            if (flr_mark = '1') then
              flr_mark    <= '0';
              ev_opcode_o <= std_ulogic_vector(to_unsigned(OP_FLR_C, 8));
            elsif (control_mark = '1') then
              control_mark <= '0';
              ev_opcode_o  <= std_ulogic_vector(to_unsigned(OP_BACKEND_C, 8));
              ev_dw3_o     <= control;
            elsif (ack_mark = '1') then
              ack_mark    <= '0';
              ev_opcode_o <= std_ulogic_vector(to_unsigned(OP_MAILBOX_C, 8));
            elsif (post_mark = '1') then
              post_mark   <= '0';
              ev_opcode_o <= std_ulogic_vector(to_unsigned(OP_MAILBOX_C, 8));
              ev_dw3_o    <= x"00000001";
              ev_dw4_o(10 downto 0) <= h2f_length;
            else
              -- the first after the one that had the last turn, else the first --
              m_v := 0;
              for m in MARKS_C-1 downto 0 loop
                if (bell_mark(m) = '1') then
                  m_v := m;
                end if;
              end loop;
              for m in MARKS_C-1 downto 0 loop
                if (bell_mark(m) = '1') and (m > bell_recent) then
                  m_v := m;
                end if;
              end loop;
              bell_mark(m_v) <= '0';
              bell_recent    <= m_v;
              ev_opcode_o    <= std_ulogic_vector(to_unsigned(OP_DOORBELL_C, 8));
              ev_dw2_o       <= x"0000" & std_ulogic_vector(to_unsigned(m_v / QUEUES_G, 8)) & x"01";
              ev_dw3_o       <= std_ulogic_vector(to_unsigned(m_v mod QUEUES_G, 32));
            end if;
          end if;

        -- the rest ------------------------------------------------------------------------
        -- --------------------------------------------------------------------------------
        else
          case state is

            -- empty mailboxes --
            when S_CLEAR =>
              ram_write_v := true;
              ram_data_v  := (others => '0');
              place       <= place + 1;
              if (place = 511) then
                state <= S_IDLE;
              end if;

            -- mailboxes --
            when S_HOST_READ =>
              acc_data_o <= ram_q;
              acc_ack    <= '1';
              state      <= S_IDLE;

            when S_HOST_WRITE =>
              ram_write_v := true;
              ram_data_v  := merge_bytes_f(ram_q, acc_data_i, acc_be_i);
              acc_ack     <= '1';
              state       <= S_IDLE;

            when S_REG_READ =>
              reg_data_o <= ram_q;
              reg_ack    <= '1';
              state      <= S_IDLE;

            -- MSI-X --
            when S_INT_SEND =>
              if (irq_ready_i = '1') then
                irq_valid_o <= '0';
                state       <= S_IDLE;
              end if;

            when others => null; -- S_IDLE

          end case;
        end if;
      end if;

      -- the memory: one port --
      if ram_write_v then
        ram(to_integer(ram_word_v)) := ram_data_v;
      elsif ram_read_v then
        ram_q <= ram(to_integer(ram_word_v));
      end if;
    end if;
  end process serve;


  -- Outputs ----------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  acc_ack_o   <= acc_ack;
  reg_ack_o   <= reg_ack;
  int_ready_o <= int_ready;
  ev_valid_o  <= ev_valid;

  isr_o <= '0' when (unsigned(intx_status) = 0) or ((flr or flr_i) = '1') else '1'; -- gone with the reset, not a cycle later

  marked <= '1' when ((flr_mark or control_mark or ack_mark or post_mark) = '1') or (unsigned(bell_mark) /= 0) else '0';

  busy_o <= '0' when (state = S_IDLE) and (marked = '0') and (ev_valid = '0') and (flr = '0') else '1';

end architecture backend_endpoint_rtl;
