-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- The virtio side of port 0's functions: BAR0, and block FN of the register map    --
-- -------------------------------------------------------------------------------- --
-- COMMON_CFG, ISR, DEVICE_CFG and NOTIFY of virtio 1.3, 4.1.4. One state machine   --
-- serves all functions, one job at a time: an access of host 1, an access of the   --
-- management port, an interrupt command, a reset, an event. What is per function   --
-- lies in registers, what is per queue and DEVICE_CFG in one memory:               --
--                                                                                  --
--   function & 0 & 0..63     DEVICE_CFG                                            --
--   function & 0 & 64..95    FIFO of 16 CONFIG_WRITE events, two words each        --
--   function & 1 & queue & r register r of block QU, r = 11: value of the notify   --
--                                                                                  --
-- The vector is kept inverted and a queue_size of 0 stands for the limit, so that  --
-- zeros are the reset values of a queue.                                           --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library work;
use work.cosim_pkg.all;
use work.cosim_regs_pkg.all;

entity virtio_functions is
  generic (
    FUNCTIONS_G : positive; -- 1 to 8
    QUEUES_G    : positive; -- queues of a function, 1 to 64
    VECTORS_G   : positive  -- MSI-X vectors of a function
  );
  port (
    clk_i          : in  std_ulogic; -- clock, rising edge
    rst_i          : in  std_ulogic; -- reset, synchronous, high-active
    -- accesses to BAR0 --
    acc_enable_i   : in  std_ulogic;
    acc_write_i    : in  std_ulogic;
    acc_function_i : in  std_ulogic_vector(2 downto 0);
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
    int_index_i    : in  std_ulogic_vector(15 downto 0); -- queue, 0xFFFF: configuration change
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
    irq_function_o : out std_ulogic_vector(2 downto 0);
    irq_vector_o   : out std_ulogic_vector(15 downto 0);
    -- configuration space --
    bus_master_i   : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    msix_enable_i  : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    flr_i          : in  std_ulogic_vector(FUNCTIONS_G-1 downto 0);
    isr_o          : out std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- ISR is not 0
    id_o           : out word32_array_t(0 to FUNCTIONS_G-1);
    class_o        : out word32_array_t(0 to FUNCTIONS_G-1);
    subsystem_o    : out word32_array_t(0 to FUNCTIONS_G-1);
    -- status --
    busy_o         : out std_ulogic
  );
end entity virtio_functions;

architecture virtio_functions_rtl of virtio_functions is

  -- device_status bits (virtio 1.3, 2.1) --
  constant STATUS_DRIVER_OK_C   : natural := 2;
  constant STATUS_FEATURES_OK_C : natural := 3;
  constant STATUS_NEEDS_RESET_C : natural := 6;

  -- feature bits, counted from bit 32 on (virtio 1.3, 6) --
  constant F_VERSION_1_C   : natural := 32-32;
  constant F_RING_PACKED_C : natural := 34-32;
  constant F_RING_RESET_C  : natural := 40-32;

  -- registers of a queue, as words of the memory --
  constant R_LIMIT_C  : natural := QU_SIZE_LIMIT_C/4;
  constant R_SIZE_C   : natural := QU_SIZE_C/4;
  constant R_ENABLE_C : natural := QU_ENABLE_C/4;
  constant R_VECTOR_C : natural := QU_VECTOR_C/4;
  constant R_DESC_C   : natural := QU_DESC_LO_C/4;
  constant R_RESET_C  : natural := QU_RESET_C/4;
  constant R_NOTIFY_C : natural := 11;

  -- memory --
  constant QUEUE_BITS_C    : positive := index_bits_f(QUEUES_G);
  constant FUNCTION_BITS_C : positive := index_bits_f(FUNCTIONS_G);
  constant LOCAL_BITS_C    : positive := maximum(7, QUEUE_BITS_C + 4);
  constant RAM_BITS_C      : positive := FUNCTION_BITS_C + 1 + LOCAL_BITS_C;
  constant CONFIG_FIFO_C   : natural := 64; -- first word
  subtype ram_address_t is unsigned(RAM_BITS_C-1 downto 0);

  -- a word of a function's lower half --
  function config_word_f(f : natural; word : natural) return ram_address_t is
  begin
    return to_unsigned(f, FUNCTION_BITS_C) & '0' & to_unsigned(word, LOCAL_BITS_C);
  end function config_word_f;

  -- a register of a queue --
  function queue_word_f(f : natural; q : natural; r : natural) return ram_address_t is
  begin
    return to_unsigned(f, FUNCTION_BITS_C) & '1' & to_unsigned(q, LOCAL_BITS_C-4) & to_unsigned(r, 4);
  end function queue_word_f;

  -- queue marks: one bit per function and queue --
  constant MARKS_C : positive := FUNCTIONS_G*QUEUES_G;

  type byte_array_t is array (natural range <>) of std_ulogic_vector(7 downto 0);
  type nibble_array_t is array (natural range <>) of unsigned(3 downto 0);
  type count_array_t is array (natural range <>) of unsigned(4 downto 0);

  type state_t is (
    S_IDLE, S_CLEAR,
    S_HOST_READ, S_HOST_WRITE, S_QUEUE_RESET, S_SIZE_LIMIT, S_SIZE_SIZE, S_SIZE_VECTOR, S_SIZE_STORE, S_CONFIG_STORE,
    S_REG_READ, S_REG_SIZE, S_REG_RESET,
    S_INT_QUEUE, S_INT_RAISE, S_INT_SEND,
    S_EV_NOTIFY, S_EV_CONFIG_PLACE, S_EV_CONFIG_VALUE);
  signal state : state_t;

  -- registers of the functions --
  signal pci_id          : word32_array_t(0 to FUNCTIONS_G-1);
  signal class_revision  : word32_array_t(0 to FUNCTIONS_G-1);
  signal subsystem       : word32_array_t(0 to FUNCTIONS_G-1);
  signal device_lo       : word32_array_t(0 to FUNCTIONS_G-1); -- device features
  signal device_hi       : word32_array_t(0 to FUNCTIONS_G-1);
  signal driver_lo       : word32_array_t(0 to FUNCTIONS_G-1); -- driver features
  signal driver_hi       : word32_array_t(0 to FUNCTIONS_G-1);
  signal device_select   : word32_array_t(0 to FUNCTIONS_G-1);
  signal driver_select   : word32_array_t(0 to FUNCTIONS_G-1);
  signal config_vector   : word16_array_t(0 to FUNCTIONS_G-1);
  signal num_queues      : word16_array_t(0 to FUNCTIONS_G-1);
  signal queue_select    : word16_array_t(0 to FUNCTIONS_G-1);
  signal device_status   : byte_array_t(0 to FUNCTIONS_G-1);
  signal generation      : byte_array_t(0 to FUNCTIONS_G-1);
  signal config_read     : std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- by the driver, since generation was counted
  signal isr_queue       : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal isr_config      : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal reset_pending   : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal flr             : std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- to be done
  signal exists          : std_ulogic_vector(MARKS_C-1 downto 0);     -- the queue's limit is not 0

  -- events to be told --
  signal flr_mark        : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal reset_mark      : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal status_mark     : std_ulogic_vector(FUNCTIONS_G-1 downto 0);
  signal config_mark     : std_ulogic_vector(FUNCTIONS_G-1 downto 0); -- the FIFO is not empty
  signal config_head     : nibble_array_t(0 to FUNCTIONS_G-1);
  signal config_count    : count_array_t(0 to FUNCTIONS_G-1);
  signal q_reset_mark    : std_ulogic_vector(MARKS_C-1 downto 0);
  signal notify_mark     : std_ulogic_vector(MARKS_C-1 downto 0);
  signal notify_recent   : natural range 0 to MARKS_C-1;              -- whose turn was last
  signal marked          : std_ulogic;
  signal ev_valid        : std_ulogic;
  signal ev_notify       : std_ulogic; -- the event is a NOTIFY

  -- the job being done --
  signal f_job       : natural range 0 to FUNCTIONS_G-1;
  signal q_job       : natural range 0 to QUEUES_G-1;
  signal limit       : std_ulogic_vector(15 downto 0);
  signal size        : std_ulogic_vector(15 downto 0);
  signal vector      : std_ulogic_vector(15 downto 0);
  signal by_config   : std_ulogic; -- the interrupt is a configuration change's
  signal clear_from  : ram_address_t;
  signal clear_to    : ram_address_t;
  signal clear_limit : std_ulogic; -- the limits too
  signal clear_reg   : std_ulogic; -- the management port waits for the end
  signal ram_q       : std_ulogic_vector(31 downto 0);
  signal acc_ack     : std_ulogic;
  signal reg_ack     : std_ulogic;
  signal int_ready   : std_ulogic;

  -- the one bit set --
  function power_of_two_f(value : std_ulogic_vector(15 downto 0)) return boolean is
  begin
    return (unsigned(value) /= 0) and ((unsigned(value) and (unsigned(value) - 1)) = 0);
  end function power_of_two_f;

  -- 16 bits with the written bytes --
  function merge_half_f(half, data : std_ulogic_vector(15 downto 0); enables : std_ulogic_vector(1 downto 0)) return std_ulogic_vector is
    variable result_v : std_ulogic_vector(15 downto 0);
  begin
    result_v := half;
    if (enables(0) = '1') then
      result_v(7 downto 0) := data(7 downto 0);
    end if;
    if (enables(1) = '1') then
      result_v(15 downto 8) := data(15 downto 8);
    end if;
    return result_v;
  end function merge_half_f;

begin

  serve: process(clk_i)
    type ram_t is array (0 to 2**RAM_BITS_C-1) of std_ulogic_vector(31 downto 0);
    variable ram           : ram_t;
    variable ram_read_v    : boolean;
    variable ram_write_v   : boolean;
    variable ram_address_v : ram_address_t;
    variable ram_data_v    : std_ulogic_vector(31 downto 0);
    variable f_v           : natural range 0 to FUNCTIONS_G-1;
    variable q_v           : natural range 0 to QUEUES_G-1;
    variable m_v           : natural range 0 to MARKS_C-1;
    variable word_v        : natural range 0 to 1023;
    variable local_v       : natural range 0 to 65535;
    variable valid_v       : boolean;
    variable low_v         : natural range 0 to 3;
    variable high_v        : natural range 0 to 3;
    variable slot_v        : unsigned(3 downto 0);
    variable status_v      : std_ulogic_vector(7 downto 0);
    variable read_v        : std_ulogic_vector(31 downto 0);
    variable do_reset_v    : boolean;
    variable changed_v     : boolean; -- DEVICE_CFG
    variable count_v       : unsigned(4 downto 0);
  begin
    if rising_edge(clk_i) then
      ram_read_v    := false;
      ram_write_v   := false;
      ram_address_v := clear_from;
      ram_data_v    := (others => '0');

      if (rst_i = '1') then
        state <= S_CLEAR;
        for f in 0 to FUNCTIONS_G-1 loop
          pci_id(f)         <= x"10401AF4";
          class_revision(f) <= x"FF000001";
          subsystem(f)      <= (others => '0');
          device_lo(f)      <= (others => '0');
          device_hi(f)      <= (others => '0');
          driver_lo(f)      <= (others => '0');
          driver_hi(f)      <= (others => '0');
          device_select(f)  <= (others => '0');
          driver_select(f)  <= (others => '0');
          config_vector(f)  <= (others => '1');
          num_queues(f)     <= std_ulogic_vector(to_unsigned(QUEUES_G, 16));
          queue_select(f)   <= (others => '0');
          device_status(f)  <= (others => '0');
          generation(f)     <= (others => '0');
          config_head(f)    <= (others => '0');
          config_count(f)   <= (others => '0');
        end loop;
        isr_queue     <= (others => '0');
        isr_config    <= (others => '0');
        reset_pending <= (others => '0');
        config_read   <= (others => '0');
        flr           <= (others => '0');
        exists        <= (others => '0');
        flr_mark      <= (others => '0');
        reset_mark    <= (others => '0');
        status_mark   <= (others => '0');
        config_mark   <= (others => '0');
        q_reset_mark  <= (others => '0');
        notify_mark   <= (others => '0');
        notify_recent <= 0;
        ev_valid      <= '0';
        ev_notify     <= '0';
        clear_from    <= (others => '0');
        clear_to      <= (others => '1');
        clear_limit   <= '1';
        clear_reg     <= '0';
        acc_ack       <= '0';
        reg_ack       <= '0';
        int_ready     <= '0';
        irq_valid_o   <= '0';
      else
        if (unsigned(flr_i) /= 0) then
          flr <= flr or flr_i;
        end if;
        if (ev_valid = '1') and (ev_ready_i = '1') then
          ev_valid  <= '0';
          ev_notify <= '0';
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
          do_reset_v := false;
          f_v        := 0;
          q_v        := 0;

          if (unsigned(flr) /= 0) then
            -- Function level reset --------------------------------------------------
            -- ------------------------------------------------------------------------
            for f in FUNCTIONS_G-1 downto 0 loop
              if (flr(f) = '1') then
                f_v := f;
              end if;
            end loop;
            flr(f_v)      <= flr_i(f_v);
            flr_mark(f_v) <= '1';
            do_reset_v    := true;

          elsif (acc_enable_i = '1') and (acc_ack = '0') then
            -- Access of host 1 -------------------------------------------------------
            -- ------------------------------------------------------------------------
            f_v     := to_integer(unsigned(acc_function_i));
            f_job   <= f_v;
            word_v  := to_integer(unsigned(acc_address_i(11 downto 2)));
            valid_v := false; -- the selected queue exists
            if (unsigned(queue_select(f_v)) < unsigned(num_queues(f_v))) then
              q_v     := to_integer(unsigned(queue_select(f_v)(QUEUE_BITS_C-1 downto 0)));
              valid_v := exists(f_v*QUEUES_G + q_v) = '1';
            end if;
            acc_ack    <= '1';
            acc_data_o <= (others => '0');

            case acc_address_i(13 downto 12) is

              when "00" => -- COMMON_CFG
                q_job <= q_v;
                case word_v is
                  when 0 => -- device_feature_select
                    acc_data_o <= device_select(f_v);
                    if (acc_write_i = '1') then
                      device_select(f_v) <= merge_bytes_f(device_select(f_v), acc_data_i, acc_be_i);
                    end if;
                  when 1 => -- device_feature
                    if (unsigned(device_select(f_v)) = 0) then
                      acc_data_o <= device_lo(f_v);
                    elsif (unsigned(device_select(f_v)) = 1) then
                      acc_data_o <= device_hi(f_v);
                    end if;
                  when 2 => -- driver_feature_select
                    acc_data_o <= driver_select(f_v);
                    if (acc_write_i = '1') then
                      driver_select(f_v) <= merge_bytes_f(driver_select(f_v), acc_data_i, acc_be_i);
                    end if;
                  when 3 => -- driver_feature
                    if (unsigned(driver_select(f_v)) = 0) then
                      acc_data_o <= driver_lo(f_v);
                      if (acc_write_i = '1') and (device_status(f_v)(STATUS_FEATURES_OK_C) = '0') then
                        driver_lo(f_v) <= merge_bytes_f(driver_lo(f_v), acc_data_i, acc_be_i);
                      end if;
                    elsif (unsigned(driver_select(f_v)) = 1) then
                      acc_data_o <= driver_hi(f_v);
                      if (acc_write_i = '1') and (device_status(f_v)(STATUS_FEATURES_OK_C) = '0') then
                        driver_hi(f_v) <= merge_bytes_f(driver_hi(f_v), acc_data_i, acc_be_i);
                      end if;
                    end if;
                  when 4 => -- config_msix_vector, num_queues
                    acc_data_o <= num_queues(f_v) & config_vector(f_v);
                    if (acc_write_i = '1') and (acc_be_i(1 downto 0) /= "00") then
                      read_v(15 downto 0) := merge_half_f(config_vector(f_v), acc_data_i(15 downto 0), acc_be_i(1 downto 0));
                      if (unsigned(read_v(15 downto 0)) >= VECTORS_G) then
                        read_v(15 downto 0) := (others => '1');
                      end if;
                      config_vector(f_v) <= read_v(15 downto 0);
                    end if;
                  when 5 => -- device_status, config_generation, queue_select
                    status_v := device_status(f_v);
                    if (reset_pending(f_v) = '1') then
                      status_v := (STATUS_NEEDS_RESET_C => '1', others => '0');
                    end if;
                    acc_data_o <= queue_select(f_v) & generation(f_v) & status_v;
                    if (acc_write_i = '1') then
                      queue_select(f_v) <= merge_half_f(queue_select(f_v), acc_data_i(31 downto 16), acc_be_i(3 downto 2));
                      if (acc_be_i(0) = '1') and (reset_pending(f_v) = '0') then
                        if (unsigned(acc_data_i(7 downto 0)) = 0) then
                          do_reset_v := true;
                        else
                          status_v := acc_data_i(7 downto 0);
                          status_v(STATUS_NEEDS_RESET_C) := '0';
                          if ((driver_lo(f_v) and not device_lo(f_v)) /= x"00000000") or
                             ((driver_hi(f_v) and not device_hi(f_v)) /= x"00000000") or
                             (driver_hi(f_v)(F_VERSION_1_C) = '0') then
                            status_v(STATUS_FEATURES_OK_C) := '0';
                          end if;
                          device_status(f_v) <= device_status(f_v) or status_v;
                          status_mark(f_v)   <= '1';
                        end if;
                      end if;
                    end if;
                  when 6 => -- queue_size, queue_msix_vector
                    if valid_v then
                      acc_ack       <= '0';
                      ram_read_v    := true;
                      ram_address_v := queue_word_f(f_v, q_v, R_LIMIT_C);
                      state         <= S_SIZE_LIMIT;
                    end if;
                  when 7 => -- queue_enable, queue_notify_off
                    if valid_v then
                      ram_address_v := queue_word_f(f_v, q_v, R_ENABLE_C);
                      if (acc_write_i = '0') then
                        acc_ack    <= '0';
                        ram_read_v := true;
                        state      <= S_HOST_READ;
                      elsif (acc_be_i(0) = '1') and (acc_data_i(7 downto 0) = x"01") and
                            ((acc_be_i(1) = '0') or (acc_data_i(15 downto 8) = x"00")) then
                        ram_write_v := true;
                        ram_data_v  := x"00000001";
                      end if;
                    end if;
                  when 8 to 13 => -- queue_desc, queue_driver, queue_device
                    if valid_v then
                      acc_ack       <= '0';
                      ram_read_v    := true;
                      ram_address_v := queue_word_f(f_v, q_v, R_DESC_C + word_v - 8);
                      if (acc_write_i = '0') then
                        state <= S_HOST_READ;
                      else
                        state <= S_HOST_WRITE;
                      end if;
                    end if;
                  when 14 => -- queue_notify_data, queue_reset
                    if valid_v then
                      ram_address_v := queue_word_f(f_v, q_v, R_RESET_C);
                      if (acc_write_i = '0') then
                        acc_ack    <= '0';
                        ram_read_v := true;
                        state      <= S_HOST_READ;
                      elsif (acc_be_i(2) = '1') and (acc_data_i(23 downto 16) = x"01") and
                            ((acc_be_i(3) = '0') or (acc_data_i(31 downto 24) = x"00")) and
                            (device_status(f_v)(STATUS_FEATURES_OK_C) = '1') and (driver_hi(f_v)(F_RING_RESET_C) = '1') then
                        acc_ack    <= '0';
                        ram_read_v := true;
                        state      <= S_QUEUE_RESET;
                      end if;
                    end if;
                  when others => null;
                end case;

              when "01" => -- ISR
                if (word_v = 0) then
                  acc_data_o(1 downto 0) <= isr_config(f_v) & isr_queue(f_v);
                  if (acc_write_i = '0') and (acc_be_i(0) = '1') then
                    isr_queue(f_v)  <= '0';
                    isr_config(f_v) <= '0';
                  end if;
                end if;

              when "10" => -- DEVICE_CFG
                if (word_v < 64) then
                  if (acc_write_i = '0') then
                    acc_ack       <= '0';
                    ram_read_v    := true;
                    ram_address_v := config_word_f(f_v, word_v);
                    state         <= S_HOST_READ;
                    if (acc_be_i /= "0000") then
                      config_read(f_v) <= '1';
                    end if;
                  elsif (acc_be_i /= "0000") and (config_count(f_v) < 16) then
                    low_v  := 0;
                    high_v := 0;
                    for b in 3 downto 0 loop
                      if (acc_be_i(b) = '1') then
                        low_v := b;
                      end if;
                    end loop;
                    for b in 0 to 3 loop
                      if (acc_be_i(b) = '1') then
                        high_v := b;
                      end if;
                    end loop;
                    acc_ack       <= '0';
                    slot_v        := config_head(f_v) + config_count(f_v)(3 downto 0);
                    ram_write_v   := true;
                    ram_address_v := config_word_f(f_v, CONFIG_FIFO_C + 2*to_integer(slot_v));
                    ram_data_v    := x"00" & std_ulogic_vector(to_unsigned(high_v - low_v + 1, 8)) &
                                     std_ulogic_vector(to_unsigned(4*word_v + low_v, 16));
                    clear_from    <= config_word_f(f_v, CONFIG_FIFO_C + 2*to_integer(slot_v) + 1);
                    size          <= std_ulogic_vector(to_unsigned(8*low_v, 16));
                    state         <= S_CONFIG_STORE;
                  end if;
                end if;

              when others => -- NOTIFY
                if (acc_write_i = '1') and (acc_be_i /= "0000") and (word_v < QUEUES_G) then
                  if (word_v < unsigned(num_queues(f_v))) then
                    ram_write_v   := true;
                    ram_address_v := queue_word_f(f_v, word_v, R_NOTIFY_C);
                    ram_data_v    := merge_bytes_f(x"00000000", acc_data_i, acc_be_i);
                    if (ev_notify = '1') and (ev_ready_i = '0') and (notify_recent = f_v*QUEUES_G + word_v) then
                      ev_dw4_o <= ram_data_v; -- its event has not left yet
                    else
                      notify_mark(f_v*QUEUES_G + word_v) <= '1';
                    end if;
                  end if;
                end if;

            end case;

          elsif (reg_enable_i = '1') and (reg_ack = '0') then
            -- Access of the management port ------------------------------------------
            -- ------------------------------------------------------------------------
            local_v    := to_integer(unsigned(reg_address_i(15 downto 2)) & "00");
            changed_v  := false;
            reg_ack    <= '1';
            reg_data_o <= (others => '0');
            if (unsigned(reg_address_i(31 downto 16)) /= 0) and (unsigned(reg_address_i(31 downto 16)) <= FUNCTIONS_G) then
              f_v   := to_integer(unsigned(reg_address_i(19 downto 16)) - 1);
              f_job <= f_v;
              if (local_v < FN_DEVICE_CONFIG_C) then
                case local_v is
                  when FN_PCI_ID_C =>
                    reg_data_o <= pci_id(f_v);
                    if (reg_write_i = '1') then
                      pci_id(f_v) <= reg_data_i;
                    end if;
                  when FN_CLASS_REVISION_C =>
                    reg_data_o <= class_revision(f_v);
                    if (reg_write_i = '1') then
                      class_revision(f_v) <= reg_data_i;
                    end if;
                  when FN_SUBSYSTEM_C =>
                    reg_data_o <= subsystem(f_v);
                    if (reg_write_i = '1') then
                      subsystem(f_v) <= reg_data_i;
                    end if;
                  when FN_CONTROL_C =>
                    if (reg_write_i = '1') then
                      valid_v := reset_pending(f_v) = '0';
                      if (reg_data_i(1) = '1') and (reset_mark(f_v) = '0') then -- RESET_ACK of a reset that was told
                        reset_pending(f_v) <= '0';
                        valid_v            := true;
                      end if;
                      if (reg_data_i(0) = '1') and valid_v then
                        device_status(f_v)(STATUS_NEEDS_RESET_C) <= '1';
                      end if;
                      changed_v := reg_data_i(2) = '1';
                      if ((reg_data_i(0) = '1') or (reg_data_i(2) = '1')) and valid_v and
                         (device_status(f_v)(STATUS_DRIVER_OK_C) = '1') then
                        by_config <= '1';
                        vector    <= config_vector(f_v);
                        state     <= S_INT_RAISE;
                      end if;
                    end if;
                  when FN_DEVICE_FEATURES_LO_C =>
                    reg_data_o <= device_lo(f_v);
                    if (reg_write_i = '1') then
                      device_lo(f_v) <= reg_data_i;
                    end if;
                  when FN_DEVICE_FEATURES_HI_C =>
                    reg_data_o <= device_hi(f_v);
                    if (reg_write_i = '1') then
                      device_hi(f_v) <= reg_data_i;
                    end if;
                  when FN_DRIVER_FEATURES_LO_C => reg_data_o <= driver_lo(f_v);
                  when FN_DRIVER_FEATURES_HI_C => reg_data_o <= driver_hi(f_v);
                  when FN_STATUS_C =>
                    reg_data_o(7 downto 0) <= device_status(f_v);
                    reg_data_o(8)          <= reset_pending(f_v);
                    reg_data_o(9)          <= bus_master_i(f_v);
                    reg_data_o(10)         <= msix_enable_i(f_v);
                  when FN_NUM_QUEUES_C =>
                    reg_data_o(15 downto 0) <= num_queues(f_v);
                    if (reg_write_i = '1') then
                      num_queues(f_v) <= reg_data_i(15 downto 0);
                      if (unsigned(reg_data_i) > QUEUES_G) then
                        num_queues(f_v) <= std_ulogic_vector(to_unsigned(QUEUES_G, 16));
                      end if;
                    end if;
                  when FN_CONFIG_VECTOR_C     => reg_data_o(15 downto 0) <= config_vector(f_v);
                  when FN_CONFIG_GENERATION_C => reg_data_o(7 downto 0)  <= generation(f_v);
                  when FN_ISR_C               => reg_data_o(1 downto 0)  <= isr_config(f_v) & isr_queue(f_v);
                  when others => null;
                end case;
              elsif (local_v < FN_DEVICE_CONFIG_C + 256) then
                ram_address_v := config_word_f(f_v, (local_v - FN_DEVICE_CONFIG_C)/4);
                if (reg_write_i = '1') then
                  ram_write_v := true;
                  ram_data_v  := reg_data_i;
                  changed_v   := true;
                else
                  reg_ack    <= '0';
                  ram_read_v := true;
                  state      <= S_REG_READ;
                end if;
              elsif (local_v >= FN_QUEUE_C) and (local_v < FN_QUEUE_C + 64*QUEUES_G) then
                q_v           := (local_v - FN_QUEUE_C)/64;
                q_job         <= q_v;
                word_v        := to_integer(unsigned(reg_address_i(5 downto 2)));
                ram_address_v := queue_word_f(f_v, q_v, word_v);
                if (reg_write_i = '1') then
                  if (word_v = R_LIMIT_C) then
                    ram_write_v := true;
                    ram_data_v  := reg_data_i;
                    exists(f_v*QUEUES_G + q_v) <= '0';
                    if (unsigned(reg_data_i(15 downto 0)) /= 0) then
                      exists(f_v*QUEUES_G + q_v) <= '1';
                    end if;
                  elsif (word_v = R_RESET_C) then
                    reg_ack    <= '0';
                    ram_read_v := true;
                    state      <= S_REG_RESET;
                  end if;
                elsif (word_v <= R_RESET_C) then
                  reg_ack    <= '0';
                  ram_read_v := true;
                  state      <= S_REG_READ;
                  if (word_v = R_SIZE_C) then
                    state <= S_REG_SIZE;
                  end if;
                end if;
              end if;
              -- once for all changes between two reads of the driver: however many, it does not come round --
              if changed_v and (config_read(f_v) = '1') then
                config_read(f_v) <= '0';
                generation(f_v)  <= std_ulogic_vector(unsigned(generation(f_v)) + 1);
              end if;
            end if;

          elsif (int_valid_i = '1') and (int_ready = '0') then
            -- Interrupt command -------------------------------------------------------
            -- ------------------------------------------------------------------------
            int_ready <= '1';
            by_config <= '0';
            if (unsigned(int_function_i) < FUNCTIONS_G) then
              f_v   := to_integer(unsigned(int_function_i(2 downto 0)));
              f_job <= f_v;
              if (device_status(f_v)(STATUS_DRIVER_OK_C) = '1') then
                if (int_index_i = x"FFFF") then
                  by_config <= '1';
                  vector    <= config_vector(f_v);
                  state     <= S_INT_RAISE;
                elsif (unsigned(int_index_i) < unsigned(num_queues(f_v))) then
                  ram_read_v    := true;
                  ram_address_v := queue_word_f(f_v, to_integer(unsigned(int_index_i(QUEUE_BITS_C-1 downto 0))), R_VECTOR_C);
                  state         <= S_INT_QUEUE;
                end if;
              end if;
            end if;

          elsif (marked = '1') and (ev_valid = '0') then
            -- Event -------------------------------------------------------------------
            -- ------------------------------------------------------------------------
            ev_dw3_o <= (others => '0');
            ev_dw4_o <= (others => '0');
            valid_v  := false; -- found
            -- what concerns a whole function goes first --
            for f in FUNCTIONS_G-1 downto 0 loop
              if ((flr_mark(f) or reset_mark(f) or status_mark(f) or config_mark(f)) = '1') then
                f_v     := f;
                valid_v := true;
              end if;
            end loop;
            if valid_v then
              if (flr_mark(f_v) = '1') then
                flr_mark(f_v) <= '0';
                ev_opcode_o   <= std_ulogic_vector(to_unsigned(OP_FLR_C, 8));
                ev_valid      <= '1';
              elsif (reset_mark(f_v) = '1') then
                reset_mark(f_v) <= '0';
                ev_opcode_o     <= std_ulogic_vector(to_unsigned(OP_STATUS_C, 8));
                ev_valid        <= '1';
              elsif (status_mark(f_v) = '1') then
                status_mark(f_v) <= '0';
                ev_opcode_o      <= std_ulogic_vector(to_unsigned(OP_STATUS_C, 8));
                ev_dw3_o(7 downto 0) <= device_status(f_v);
                ev_valid         <= '1';
              else
                ev_opcode_o   <= std_ulogic_vector(to_unsigned(OP_CONFIG_WRITE_C, 8));
                ram_read_v    := true;
                ram_address_v := config_word_f(f_v, CONFIG_FIFO_C + 2*to_integer(config_head(f_v)));
                state         <= S_EV_CONFIG_PLACE;
              end if;
            elsif (unsigned(q_reset_mark) /= 0) then
              m_v := 0;
              for m in MARKS_C-1 downto 0 loop
                if (q_reset_mark(m) = '1') then
                  m_v := m;
                end if;
              end loop;
              q_reset_mark(m_v) <= '0';
              f_v         := m_v / QUEUES_G;
              ev_opcode_o <= std_ulogic_vector(to_unsigned(OP_QUEUE_RESET_C, 8));
              ev_dw3_o    <= std_ulogic_vector(to_unsigned(m_v mod QUEUES_G, 32));
              ev_valid    <= '1';
            else
              -- the first after the one that had the last turn, else the first --
              m_v := 0;
              for m in MARKS_C-1 downto 0 loop
                if (notify_mark(m) = '1') then
                  m_v := m;
                end if;
              end loop;
              for m in MARKS_C-1 downto 0 loop
                if (notify_mark(m) = '1') and (m > notify_recent) then
                  m_v := m;
                end if;
              end loop;
              notify_mark(m_v) <= '0';
              notify_recent    <= m_v;
              f_v           := m_v / QUEUES_G;
              ev_opcode_o   <= std_ulogic_vector(to_unsigned(OP_NOTIFY_C, 8));
              ev_dw3_o      <= std_ulogic_vector(to_unsigned(m_v mod QUEUES_G, 32));
              ram_read_v    := true;
              ram_address_v := queue_word_f(f_v, m_v mod QUEUES_G, R_NOTIFY_C);
              state         <= S_EV_NOTIFY;
            end if;
            f_job    <= f_v;
            ev_dw2_o <= x"0000" & std_ulogic_vector(to_unsigned(f_v, 8)) & x"00";
          end if;

          -- Reset of a function --------------------------------------------------------
          -- ----------------------------------------------------------------------------
          if do_reset_v then
            driver_lo(f_v)     <= (others => '0');
            driver_hi(f_v)     <= (others => '0');
            device_select(f_v) <= (others => '0');
            driver_select(f_v) <= (others => '0');
            config_vector(f_v) <= (others => '1');
            queue_select(f_v)  <= (others => '0');
            device_status(f_v) <= (others => '0');
            isr_queue(f_v)     <= '0';
            isr_config(f_v)    <= '0';
            reset_pending(f_v) <= '1';
            reset_mark(f_v)    <= '1';
            status_mark(f_v)   <= '0';
            config_mark(f_v)   <= '0';
            config_count(f_v)  <= (others => '0');
            for m in 0 to MARKS_C-1 loop
              if (m / QUEUES_G = f_v) then
                notify_mark(m)  <= '0';
                q_reset_mark(m) <= '0';
              end if;
            end loop;
            clear_from         <= queue_word_f(f_v, 0, 0);
            clear_to           <= queue_word_f(f_v, QUEUES_G-1, 15);
            state              <= S_CLEAR;
          end if;

        -- the rest ------------------------------------------------------------------------
        -- --------------------------------------------------------------------------------
        else
          case state is

            -- Zeros for a range of the memory ----------------------------------------------
            -- ------------------------------------------------------------------------------
            when S_CLEAR =>
              ram_write_v := (clear_limit = '1') or (clear_from(3 downto 0) /= R_LIMIT_C);
              clear_from  <= clear_from + 1;
              if (clear_from = clear_to) then
                clear_limit <= '0';
                clear_reg   <= '0';
                reg_ack     <= clear_reg;
                state       <= S_IDLE;
              end if;

            -- Host 1 -----------------------------------------------------------------------
            -- ------------------------------------------------------------------------------
            when S_HOST_READ =>
              acc_data_o <= ram_q;
              if (acc_address_i(13 downto 12) = "00") then
                if (acc_address_i(5 downto 2) = "0111") then -- queue_enable, queue_notify_off
                  acc_data_o <= std_ulogic_vector(to_unsigned(q_job, 16)) & ram_q(15 downto 0);
                elsif (acc_address_i(5 downto 2) = "1110") then -- queue_notify_data, queue_reset
                  acc_data_o <= ram_q(15 downto 0) & x"0000";
                end if;
              end if;
              acc_ack <= '1';
              state   <= S_IDLE;

            when S_HOST_WRITE => -- half of an address
              ram_write_v   := true;
              ram_address_v := queue_word_f(f_job, q_job, R_DESC_C + to_integer(unsigned(acc_address_i(5 downto 2))) mod 8);
              ram_data_v    := merge_bytes_f(ram_q, acc_data_i, acc_be_i);
              acc_ack       <= '1';
              state         <= S_IDLE;

            when S_QUEUE_RESET => -- told once
              if (ram_q(0) = '0') then
                ram_write_v   := true;
                ram_address_v := queue_word_f(f_job, q_job, R_RESET_C);
                ram_data_v    := x"00000001";
                q_reset_mark(f_job*QUEUES_G + q_job) <= '1';
              end if;
              acc_ack <= '1';
              state   <= S_IDLE;

            when S_SIZE_LIMIT =>
              limit         <= ram_q(15 downto 0);
              ram_read_v    := true;
              ram_address_v := queue_word_f(f_job, q_job, R_SIZE_C);
              state         <= S_SIZE_SIZE;

            when S_SIZE_SIZE =>
              size <= ram_q(15 downto 0);
              if (unsigned(ram_q(15 downto 0)) = 0) then
                size <= limit;
              end if;
              ram_read_v    := true;
              ram_address_v := queue_word_f(f_job, q_job, R_VECTOR_C);
              state         <= S_SIZE_VECTOR;

            when S_SIZE_VECTOR =>
              acc_data_o <= (not ram_q(15 downto 0)) & size;
              if (acc_write_i = '0') then
                acc_ack <= '1';
                state   <= S_IDLE;
              else
                if (acc_be_i(3 downto 2) /= "00") then
                  read_v(15 downto 0) := merge_half_f(not ram_q(15 downto 0), acc_data_i(31 downto 16), acc_be_i(3 downto 2));
                  if (unsigned(read_v(15 downto 0)) >= VECTORS_G) then
                    read_v(15 downto 0) := (others => '1');
                  end if;
                  ram_write_v   := true;
                  ram_address_v := queue_word_f(f_job, q_job, R_VECTOR_C);
                  ram_data_v    := x"0000" & (not read_v(15 downto 0));
                end if;
                size  <= merge_half_f(size, acc_data_i(15 downto 0), acc_be_i(1 downto 0));
                state <= S_SIZE_STORE;
              end if;

            when S_SIZE_STORE =>
              if (acc_be_i(1 downto 0) /= "00") and (unsigned(size) /= 0) and (unsigned(size) <= unsigned(limit)) and
                 (power_of_two_f(size) or ((device_status(f_job)(STATUS_FEATURES_OK_C) and driver_hi(f_job)(F_RING_PACKED_C)) = '1')) then
                ram_write_v   := true;
                ram_address_v := queue_word_f(f_job, q_job, R_SIZE_C);
                ram_data_v    := x"0000" & size;
              end if;
              acc_ack <= '1';
              state   <= S_IDLE;

            when S_CONFIG_STORE => -- second word of a CONFIG_WRITE; size holds the shift, clear_from the place
              ram_write_v         := true;
              ram_data_v          := std_ulogic_vector(shift_right(unsigned(merge_bytes_f(x"00000000", acc_data_i, acc_be_i)),
                                       to_integer(unsigned(size(4 downto 0)))));
              config_count(f_job) <= config_count(f_job) + 1;
              config_mark(f_job)  <= '1';
              acc_ack             <= '1';
              state               <= S_IDLE;

            -- Management port ----------------------------------------------------------------
            -- ------------------------------------------------------------------------------
            when S_REG_READ =>
              reg_data_o <= ram_q;
              if (reg_address_i(15 downto 12) /= "0000") and (unsigned(reg_address_i(5 downto 2)) = R_VECTOR_C) then
                reg_data_o <= x"0000" & (not ram_q(15 downto 0));
              end if;
              reg_ack <= '1';
              state   <= S_IDLE;

            when S_REG_SIZE =>
              reg_data_o <= ram_q;
              reg_ack    <= '1';
              state      <= S_IDLE;
              if (exists(f_job*QUEUES_G + q_job) = '0') then
                reg_data_o <= (others => '0');
              elsif (unsigned(ram_q(15 downto 0)) = 0) then
                reg_ack       <= '0';
                ram_read_v    := true;
                ram_address_v := queue_word_f(f_job, q_job, R_LIMIT_C);
                state         <= S_REG_READ;
              end if;

            when S_REG_RESET => -- acknowledges a reset of the queue
              if (ram_q(0) = '1') then
                clear_from <= queue_word_f(f_job, q_job, 0);
                clear_to   <= queue_word_f(f_job, q_job, R_RESET_C);
                clear_reg  <= '1';
                state      <= S_CLEAR;
              else
                reg_ack <= '1';
                state   <= S_IDLE;
              end if;

            -- Interrupts ---------------------------------------------------------------------
            -- ------------------------------------------------------------------------------
            when S_INT_QUEUE =>
              vector <= not ram_q(15 downto 0);
              state  <= S_INT_RAISE;

            when S_INT_RAISE =>
              state <= S_IDLE;
              if (by_config = '1') then -- with MSI-X too (virtio 1.3, 4.1.4.5.1)
                isr_config(f_job) <= '1';
              end if;
              if (msix_enable_i(f_job) = '1') then
                if (vector /= x"FFFF") then
                  irq_valid_o <= '1';
                  state       <= S_INT_SEND;
                end if;
              elsif (by_config = '0') then
                isr_queue(f_job) <= '1';
              end if;

            when S_INT_SEND =>
              if (irq_ready_i = '1') then
                irq_valid_o <= '0';
                state       <= S_IDLE;
              end if;

            -- Events -------------------------------------------------------------------------
            -- ------------------------------------------------------------------------------
            when S_EV_NOTIFY =>
              ev_dw4_o  <= ram_q;
              ev_valid  <= '1';
              ev_notify <= '1';
              state     <= S_IDLE;

            when S_EV_CONFIG_PLACE =>
              ev_dw3_o           <= ram_q;
              ram_read_v         := true;
              ram_address_v      := config_word_f(f_job, CONFIG_FIFO_C + 2*to_integer(config_head(f_job)) + 1);
              config_head(f_job) <= config_head(f_job) + 1;
              count_v             := config_count(f_job) - 1;
              config_count(f_job) <= count_v;
              if (count_v = 0) then
                config_mark(f_job) <= '0';
              end if;
              state              <= S_EV_CONFIG_VALUE;

            when S_EV_CONFIG_VALUE =>
              ev_dw4_o <= ram_q;
              ev_valid <= '1';
              state    <= S_IDLE;

            when others => null; -- S_IDLE

          end case;
        end if;
      end if;

      -- the memory: one port --
      if ram_write_v then
        ram(to_integer(ram_address_v)) := ram_data_v;
      elsif ram_read_v then
        ram_q <= ram(to_integer(ram_address_v));
      end if;
    end if;
  end process serve;


  -- Outputs ----------------------------------------------------------------------------
  -- ------------------------------------------------------------------------------------
  acc_ack_o   <= acc_ack;
  reg_ack_o   <= reg_ack;
  int_ready_o <= int_ready;
  ev_valid_o  <= ev_valid;

  irq_function_o <= std_ulogic_vector(to_unsigned(f_job, 3));
  irq_vector_o   <= vector;

  -- gone with the reset, not a cycle later; with MSI-X there is no INTx to be pending --
  isr_o       <= (isr_config or isr_queue) and not (flr or flr_i or msix_enable_i);
  id_o        <= pci_id;
  class_o     <= class_revision;
  subsystem_o <= subsystem;

  marked <= '0' when (unsigned(flr_mark) = 0) and (unsigned(reset_mark) = 0) and (unsigned(status_mark) = 0) and
                     (unsigned(config_mark) = 0) and (unsigned(q_reset_mark) = 0) and (unsigned(notify_mark) = 0) else '1';

  busy_o <= '0' when (state = S_IDLE) and (marked = '0') and (ev_valid = '0') and (unsigned(flr) = 0) else '1';

end architecture virtio_functions_rtl;
