-- SPDX-License-Identifier: Apache-2.0
-- ================================================================================ --
-- The whole FPGA from its pins: a driver's way from configuration space to a DMA   --
-- -------------------------------------------------------------------------------- --
-- Ends with the line "cosim_top_tb: passed"; anything else is a failure.           --
-- ================================================================================ --

library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

library std;
use std.env.finish;

library work;
use work.cosim_pkg.all;
use work.cosim_regs_pkg.all;

entity cosim_top_tb is
  generic (
    DATA_WIDTH_G : positive := 256
  );
end entity cosim_top_tb;

architecture cosim_top_tb_sim of cosim_top_tb is

  constant KEEP_C : positive := DATA_WIDTH_G/32;

  subtype beat_t is std_logic_vector(DATA_WIDTH_G-1 downto 0);
  type beats_t is array (0 to 2) of beat_t;
  subtype word_t is std_logic_vector(31 downto 0);
  type words_t is array (0 to 63) of word_t;

  signal clk  : std_logic := '0';
  signal rst  : std_logic := '1';
  signal busy : std_logic;

  signal rx_data  : beats_t := (others => (others => '0'));
  signal rx_keep  : std_logic_vector(3*KEEP_C-1 downto 0) := (others => '0');
  signal rx_last  : std_logic_vector(2 downto 0) := "000";
  signal rx_valid : std_logic_vector(2 downto 0) := "000";
  signal rx_ready : std_logic_vector(2 downto 0);
  signal tx_data  : beats_t;
  signal tx_keep  : std_logic_vector(3*KEEP_C-1 downto 0);
  signal tx_last  : std_logic_vector(2 downto 0);
  signal tx_valid : std_logic_vector(2 downto 0);
  signal tx_ready : std_logic_vector(2 downto 0) := "000";

  -- base addresses given to the BARs --
  constant BAR0_C : word_t := x"FE000000"; -- port 0, function 1
  constant BAR1_C : word_t := x"FE010000";
  constant BE0_C  : word_t := x"FD000000"; -- port 1
  constant BE1_C  : word_t := x"FD100000";

begin

  clk <= not clk after 2 ns;

  dut: entity work.cosim_top
  generic map (DATA_WIDTH_G => DATA_WIDTH_G)
  port map (
    clk_i => clk, rst_i => rst, busy_o => busy,
    p0_rx_data_i => rx_data(0), p0_rx_keep_i => rx_keep(KEEP_C-1 downto 0), p0_rx_last_i => rx_last(0),
    p0_rx_valid_i => rx_valid(0), p0_rx_ready_o => rx_ready(0),
    p0_tx_data_o => tx_data(0), p0_tx_keep_o => tx_keep(KEEP_C-1 downto 0), p0_tx_last_o => tx_last(0),
    p0_tx_valid_o => tx_valid(0), p0_tx_ready_i => tx_ready(0),
    p1_rx_data_i => rx_data(1), p1_rx_keep_i => rx_keep(2*KEEP_C-1 downto KEEP_C), p1_rx_last_i => rx_last(1),
    p1_rx_valid_i => rx_valid(1), p1_rx_ready_o => rx_ready(1),
    p1_tx_data_o => tx_data(1), p1_tx_keep_o => tx_keep(2*KEEP_C-1 downto KEEP_C), p1_tx_last_o => tx_last(1),
    p1_tx_valid_o => tx_valid(1), p1_tx_ready_i => tx_ready(1),
    p2_rx_data_i => rx_data(2), p2_rx_keep_i => rx_keep(3*KEEP_C-1 downto 2*KEEP_C), p2_rx_last_i => rx_last(2),
    p2_rx_valid_i => rx_valid(2), p2_rx_ready_o => rx_ready(2),
    p2_tx_data_o => tx_data(2), p2_tx_keep_o => tx_keep(3*KEEP_C-1 downto 2*KEEP_C), p2_tx_last_o => tx_last(2),
    p2_tx_valid_o => tx_valid(2), p2_tx_ready_i => tx_ready(2)
  );

  -- What is shown stays until it is taken ----------------------------------------------
  -- ------------------------------------------------------------------------------------
  stable: process(clk)
    variable shown_v : std_logic_vector(2 downto 0) := "000";
    variable data_v  : beats_t;
  begin
    if rising_edge(clk) then
      for p in 0 to 2 loop
        if (shown_v(p) = '1') then
          assert (tx_valid(p) = '1') and (tx_data(p) = data_v(p))
            report "port " & integer'image(p) & ": a beat changed before it was taken" severity failure;
        end if;
        shown_v(p) := tx_valid(p) and not tx_ready(p) and not rst;
        data_v(p)  := tx_data(p);
      end loop;
    end if;
  end process stable;

  stimuli: process

    -- what came last --
    variable header_v  : beat_t;
    variable payload_v : beat_t;
    variable word_v    : word_t;
    variable words_v   : words_t; -- the payload's DWs
    variable count_v   : natural;
    variable last_v    : std_logic;
    variable data_v    : beat_t;
    variable keep_v    : std_logic_vector(KEEP_C-1 downto 0);
    variable tag_v     : natural range 0 to 255 := 0;

    procedure wide_beat(p : natural; data : beat_t; keep : std_logic_vector(KEEP_C-1 downto 0); last : std_logic) is
    begin
      rx_data(p)                              <= data;
      rx_keep(KEEP_C*(p+1)-1 downto KEEP_C*p) <= keep;
      rx_last(p)                              <= last;
      rx_valid(p)                             <= '1';
      loop
        wait until rising_edge(clk);
        exit when rx_ready(p) = '1';
      end loop;
      rx_valid(p) <= '0';
    end procedure wide_beat;

    procedure beat(p : natural; data : beat_t; keep : std_logic_vector(7 downto 0); last : std_logic) is
    begin
      wide_beat(p, data, std_logic_vector(resize(unsigned(keep), KEEP_C)), last);
    end procedure beat;

    -- one packet from port p into header_v and payload_v (first beat); ready only in every third cycle --
    procedure take(p : natural; name : string) is
      variable number_v : natural := 0;
      variable wait_v   : natural := 0;
    begin
      loop
        tx_ready(p) <= '0';
        wait until rising_edge(clk);
        wait until rising_edge(clk);
        tx_ready(p) <= '1';
        wait until rising_edge(clk);
        wait_v := wait_v + 1;
        assert wait_v < 400 report "no packet on port " & integer'image(p) & ": " & name severity failure;
        if (tx_valid(p) = '1') then
          if (number_v = 0) then
            header_v := tx_data(p);
          elsif (number_v = 1) then
            payload_v := tx_data(p);
          end if;
          if (number_v = 0) then
            count_v := 0;
          else
            assert (tx_last(p) = '1') or (and tx_keep(KEEP_C*(p+1)-1 downto KEEP_C*p) = '1')
              report name & ": a beat before the last one is not full" severity failure;
            for k in 0 to KEEP_C-1 loop
              if (tx_keep(KEEP_C*p + k) = '1') then
                words_v(count_v) := tx_data(p)(32*k+31 downto 32*k);
                count_v          := count_v + 1;
              end if;
            end loop;
          end if;
          number_v := number_v + 1;
          exit when tx_last(p) = '1';
        end if;
      end loop;
      tx_ready(p) <= '0';
    end procedure take;

    procedure check(actual, expected : std_logic_vector; name : string) is
    begin
      assert actual = expected
        report name & ": " & to_hstring(actual) & ", expected " & to_hstring(expected) severity failure;
    end procedure check;

    function tlp(header : tlp_header_t) return beat_t is
    begin
      return beat_t(resize(unsigned(header), DATA_WIDTH_G));
    end function tlp;

    procedure config_write(p, f, offset : natural; data : word_t; be : std_logic_vector(3 downto 0) := "1111") is
      variable header_q : tlp_header_t := (others => '0');
    begin
      header_q(31 downto 24) := TLP_CFGWR0_C;
      header_q(9 downto 0)   := "0000000001";
      header_q(35 downto 32) := be;
      header_q(47 downto 40) := x"55";
      header_q(95 downto 80) := std_logic_vector(to_unsigned(256 + f, 16));
      header_q(75 downto 64) := std_logic_vector(to_unsigned(offset, 12));
      beat(p, tlp(header_q), x"07", '0');
      beat(p, beat_t(resize(unsigned(data), DATA_WIDTH_G)), x"01", '1');
      take(p, "CfgWr0");
      check(header_v(31 downto 24), TLP_CPL_C, "completion of CfgWr0");
      check(header_v(47 downto 45), CPL_SC_C, "status of CfgWr0");
    end procedure config_write;

    procedure config_read(p, f, offset : natural; status : std_logic_vector(2 downto 0) := CPL_SC_C) is
      variable header_q : tlp_header_t := (others => '0');
    begin
      header_q(31 downto 24) := TLP_CFGRD0_C;
      header_q(9 downto 0)   := "0000000001";
      header_q(35 downto 32) := "1111";
      header_q(95 downto 80) := std_logic_vector(to_unsigned(256 + f, 16));
      header_q(75 downto 64) := std_logic_vector(to_unsigned(offset, 12));
      beat(p, tlp(header_q), x"07", '1');
      take(p, "CfgRd0");
      check(header_v(47 downto 45), status, "status of CfgRd0");
      word_v := payload_v(31 downto 0);
    end procedure config_read;

    procedure bar_write(p : natural; address : word_t; offset : natural; data : word_t; be : std_logic_vector(3 downto 0) := "1111") is
    begin
      beat(p, tlp(memory_header_f('1', x"00000000" & std_logic_vector(unsigned(address) + offset), "0000000001", x"0000", x"00", "0000", be)), x"07", '0');
      beat(p, beat_t(resize(unsigned(data), DATA_WIDTH_G)), x"01", '1');
    end procedure bar_write;

    procedure bar_read(p : natural; address : word_t; offset : natural; be : std_logic_vector(3 downto 0) := "1111";
                       status : std_logic_vector(2 downto 0) := CPL_SC_C; expect_intx : boolean := false) is
    begin
      tag_v := (tag_v + 1) mod 256;
      beat(p, tlp(memory_header_f('0', x"00000000" & std_logic_vector(unsigned(address) + offset), "0000000001", x"0000",
                                  std_logic_vector(to_unsigned(tag_v, 8)), "0000", be)), x"07", '1');
      if expect_intx then
        take(p, "Deassert_INTA");
        check(header_v(39 downto 32), MSG_DEASSERT_INTA_C, "message code");
      end if;
      take(p, "MRd");
      check(header_v(47 downto 45), status, "status of MRd");
      check(header_v(79 downto 72), std_logic_vector(to_unsigned(tag_v, 8)), "tag of MRd");
      word_v := payload_v(31 downto 0);
    end procedure bar_read;

    procedure command(dw0, dw1, dw2, dw3, dw4, dw5, dw6, dw7 : word_t) is
    begin
      beat(2, beat_t(resize(unsigned(std_logic_vector'(dw7 & dw6 & dw5 & dw4 & dw3 & dw2 & dw1 & dw0)), DATA_WIDTH_G)), x"FF", '1');
    end procedure command;

    procedure reg_write(address : natural; data : word_t) is
    begin
      command(x"00000001", x"00000000", std_logic_vector(to_unsigned(address, 32)), x"00000000", data, x"00000000", x"00000000", x"00000000");
    end procedure reg_write;

    procedure reg_read(address : natural) is
    begin
      command(x"00000002", x"00000000", std_logic_vector(to_unsigned(address, 32)), x"00000000", x"00000000", x"00000000", x"00000000", x"00000000");
      take(2, "REG_DATA");
      check(header_v(7 downto 0), x"82", "opcode of REG_DATA");
      word_v := header_v(159 downto 128);
    end procedure reg_read;

    procedure event(opcode : natural; dw2, dw3, dw4 : word_t; name : string) is
    begin
      take(2, name);
      check(header_v(7 downto 0), std_logic_vector(to_unsigned(opcode, 8)), name & ", opcode");
      check(header_v(95 downto 64), dw2, name & ", DW2");
      check(header_v(127 downto 96), dw3, name & ", DW3");
      check(header_v(159 downto 128), dw4, name & ", DW4");
    end procedure event;

    procedure interrupt(target, index : word_t) is
    begin
      command(x"00000006", x"00000000", target, index, x"00000000", x"00000000", x"00000000", x"00000000");
    end procedure interrupt;

    constant FN1_C : natural := MG_FUNCTION_C + 16#10000#; -- registers of function 1
    constant QU3_C : natural := FN1_C + FN_QUEUE_C + 3*16#40#;

  begin
    for i in 1 to 6 loop
      wait until rising_edge(clk);
    end loop;
    rst <= '0';

    -- identity, from the management port --
    reg_read(MG_ID_C);
    check(word_v, x"4353494D", "MG ID");
    reg_write(FN1_C + FN_PCI_ID_C, x"10421AF4");
    reg_write(FN1_C + FN_CLASS_REVISION_C, x"01800001");
    reg_write(FN1_C + FN_DEVICE_FEATURES_LO_C, x"00000020");
    reg_write(FN1_C + FN_DEVICE_FEATURES_HI_C, x"00000101"); -- VERSION_1, RING_RESET
    reg_write(FN1_C + FN_DEVICE_CONFIG_C + 4, x"12345678");
    reg_write(QU3_C + QU_SIZE_LIMIT_C, x"00000100");
    reg_read(QU3_C + QU_SIZE_C);
    check(word_v, x"00000100", "size before it is written");

    -- configuration space --
    config_read(0, 1, 16#00#);
    check(word_v, x"10421AF4", "PCI id");
    check(header_v(63 downto 48), x"0101", "completer");
    config_read(0, 1, 16#0C#);
    check(word_v, x"00800000", "header type");
    config_read(0, 2, 16#00#, CPL_UR_C);
    config_write(0, 1, 16#10#, x"FFFFFFFF");
    config_read(0, 1, 16#10#);
    check(word_v, x"FFFFC000", "size of BAR0");
    config_write(0, 1, 16#10#, BAR0_C);
    config_write(0, 1, 16#14#, BAR1_C);
    bar_read(0, BAR0_C, 0, "1111", CPL_UR_C); -- Memory Space is off
    config_write(0, 1, 16#04#, x"00000006");
    config_read(0, 1, 16#80#);
    check(word_v, x"00089011", "MSI-X capability");

    -- common configuration --
    bar_write(0, BAR0_C, 16#14#, x"00000003", "0001"); -- ACKNOWLEDGE, DRIVER
    event(OP_STATUS_C, x"00000100", x"00000003", x"00000000", "STATUS 3");
    bar_write(0, BAR0_C, 16#08#, x"00000001");
    bar_write(0, BAR0_C, 16#0C#, x"00000003"); -- one bit too many
    bar_write(0, BAR0_C, 16#14#, x"0000000B", "0001");
    event(OP_STATUS_C, x"00000100", x"00000003", x"00000000", "FEATURES_OK refused");
    bar_write(0, BAR0_C, 16#0C#, x"00000101");
    bar_write(0, BAR0_C, 16#14#, x"0000000B", "0001");
    event(OP_STATUS_C, x"00000100", x"0000000B", x"00000000", "FEATURES_OK");
    bar_write(0, BAR0_C, 16#14#, x"00030000", "1100"); -- queue 3
    bar_read(0, BAR0_C, 16#18#);
    check(word_v, x"FFFF0100", "queue_size and queue_msix_vector at reset");
    bar_write(0, BAR0_C, 16#18#, x"00020200");        -- a size above the limit
    bar_read(0, BAR0_C, 16#18#);
    check(word_v, x"00020100", "a size above the limit");
    bar_write(0, BAR0_C, 16#18#, x"00090040");        -- no such vector
    bar_read(0, BAR0_C, 16#18#);
    check(word_v, x"FFFF0040", "a vector beyond the table");
    bar_write(0, BAR0_C, 16#18#, x"00020000", "1100");
    bar_write(0, BAR0_C, 16#20#, x"A5A50000");
    bar_write(0, BAR0_C, 16#24#, x"00000001");
    bar_write(0, BAR0_C, 16#1C#, x"00000001", "0011");
    bar_read(0, BAR0_C, 16#1C#);
    check(word_v, x"00030001", "queue_enable and queue_notify_off");
    reg_read(QU3_C + QU_DESC_LO_C);
    check(word_v, x"A5A50000", "queue_desc");
    bar_read(0, BAR0_C, 16#2004#, "0010");
    check(word_v, x"12345678", "device configuration");
    check(header_v(43 downto 32), x"001", "byte count of one byte");
    check(header_v(70 downto 64), "0000101", "lower address of one byte");
    bar_write(0, BAR0_C, 16#2008#, x"0000AB00", "0010");
    event(OP_CONFIG_WRITE_C, x"00000100", x"00010009", x"000000AB", "CONFIG_WRITE");
    bar_write(0, BAR0_C, 16#14#, x"0000000F", "0001");
    event(OP_STATUS_C, x"00000100", x"0000000F", x"00000000", "DRIVER_OK");
    bar_write(0, BAR0_C, 16#300C#, x"00000003", "0011");
    event(OP_NOTIFY_C, x"00000100", x"00000003", x"00000003", "NOTIFY");

    -- the PCI_CFG window --
    config_write(0, 1, 16#DC#, x"00000016");
    config_write(0, 1, 16#E0#, x"00000002");
    config_read(0, 1, 16#E4#);
    check(word_v, x"00000003", "queue_select through PCI_CFG");

    -- INTx --
    interrupt(x"00000100", x"00000003");
    take(0, "Assert_INTA");
    check(header_v(31 downto 24), TLP_MSG_C, "Msg");
    check(header_v(39 downto 32), MSG_ASSERT_INTA_C, "message code");
    check(header_v(63 downto 48), x"0101", "requester of the message");
    bar_read(0, BAR0_C, 16#1000#, "0001", CPL_SC_C, true);
    check(word_v, x"00000001", "ISR");
    bar_read(0, BAR0_C, 16#1000#, "0001");
    check(word_v, x"00000000", "ISR read twice");

    -- MSI-X --
    config_write(0, 1, 16#80#, x"80000000", "1000");
    bar_write(0, BAR1_C, 16#20#, x"FEE00000");
    bar_write(0, BAR1_C, 16#28#, x"00004042");
    interrupt(x"00000100", x"00000003"); -- masked: pending
    bar_read(0, BAR1_C, 16#2000#);
    while (word_v(2) = '0') loop
      bar_read(0, BAR1_C, 16#2000#);
    end loop;
    bar_write(0, BAR1_C, 16#2C#, x"00000000");
    take(0, "pending MSI-X message");
    check(header_v(31 downto 24), TLP_MWR32_C, "MWr");
    check(header_v(95 downto 64), x"FEE00000", "message address");
    check(payload_v(31 downto 0), x"00004042", "message data");
    interrupt(x"00000100", x"00000003");
    take(0, "MSI-X message");
    check(payload_v(31 downto 0), x"00004042", "message data");

    -- a reset --
    bar_write(0, BAR0_C, 16#14#, x"00000000", "0001");
    event(OP_STATUS_C, x"00000100", x"00000000", x"00000000", "reset");
    bar_read(0, BAR0_C, 16#14#, "0001");
    check(word_v(7 downto 0), x"40", "device_status while the reset is pending");
    reg_write(FN1_C + FN_CONTROL_C, x"00000002");
    reg_read(FN1_C + FN_STATUS_C);
    check(word_v, x"00000600", "FN STATUS after the reset");
    bar_write(0, BAR0_C, 16#14#, x"00030000", "1100");
    bar_read(0, BAR0_C, 16#18#);
    check(word_v, x"FFFF0100", "queue_size and queue_msix_vector after the reset");

    -- the back-end endpoint --
    config_read(1, 0, 16#00#);
    check(word_v, x"51010C05", "PCI id of the back-end endpoint");
    config_write(1, 0, 16#10#, BE0_C);
    config_write(1, 0, 16#14#, BE1_C);
    config_write(1, 0, 16#04#, x"00000006");
    bar_read(1, BE0_C, BE_GEOMETRY_C);
    check(word_v, x"00000802", "BE GEOMETRY");
    bar_write(1, BE0_C, BE_CONTROL_C, x"00000001");
    event(OP_BACKEND_C, x"00000001", x"00000001", x"00000000", "BACKEND");
    bar_write(1, BE0_C, BE_DOORBELL_C + 16#400# + 4*3, x"00000000");
    event(OP_DOORBELL_C, x"00000101", x"00000003", x"00000000", "DOORBELL");
    bar_write(1, BE0_C, BE_H2F_DATA_C + 4, x"CAFE0001");
    bar_write(1, BE0_C, BE_H2F_POST_C, x"00000008");
    event(OP_MAILBOX_C, x"00000001", x"00000001", x"00000008", "MAILBOX");
    reg_read(MG_H2F_DATA_C + 4);
    check(word_v, x"CAFE0001", "H2F mailbox");
    reg_write(MG_F2H_DATA_C + 16#3FC#, x"0BADF00D");
    reg_write(MG_F2H_CONTROL_C, x"00000400");
    reg_read(MG_F2H_CONTROL_C);
    bar_read(1, BE0_C, BE_F2H_DATA_C + 16#3FC#);
    check(word_v, x"0BADF00D", "F2H mailbox");
    bar_write(1, BE0_C, BE_F2H_ACK_C, x"00000001");
    event(OP_MAILBOX_C, x"00000001", x"00000000", x"00000000", "MAILBOX acknowledged");

    -- DMA: scratch to host 2, as one MWr --
    command(x"00070005", x"00000004", x"00000012", x"00000000", x"00000000", x"00000000", x"00001000", x"00000000");
    take(1, "MWr of a DMA");
    check(header_v(31 downto 24), TLP_MWR32_C, "MWr");
    check(header_v(63 downto 48), x"0100", "requester of a DMA");
    check(header_v(95 downto 64), x"00001000", "address of a DMA");
    take(2, "DMA_DONE");
    check(header_v(31 downto 0), x"00070085", "DMA_DONE");

    -- and over several beats: 25 DWs into scratch, 23 of them to host 2 --
    beat(2, beat_t(resize(unsigned(std_logic_vector'(x"00000040" & x"00000064" & x"00000003")), DATA_WIDTH_G)), x"FF", '0');
    for b in 0 to 25/KEEP_C loop
      data_v := (others => '0');
      keep_v := (others => '0');
      for k in 0 to KEEP_C-1 loop
        if (b*KEEP_C + k < 25) then
          data_v(32*k+31 downto 32*k) := std_logic_vector(to_unsigned(16#5A0000# + b*KEEP_C + k, 32));
          keep_v(k)                   := '1';
        end if;
      end loop;
      last_v := '0';
      if (b = 25/KEEP_C) then
        last_v := '1';
      end if;
      wide_beat(2, data_v, keep_v, last_v);
    end loop;
    command(x"00080005", x"0000005C", x"00000012", x"00000000", x"00000044", x"00000000", x"00002000", x"00000000");
    take(1, "MWr of several beats");
    check(header_v(9 downto 0), std_logic_vector(to_unsigned(23, 10)), "Length of MWr");
    assert count_v = 23 report "payload of MWr: " & integer'image(count_v) & " DWs, expected 23" severity failure;
    for k in 0 to 22 loop
      check(words_v(k), std_logic_vector(to_unsigned(16#5A0001# + k, 32)), "DW " & integer'image(k) & " of MWr");
    end loop;
    take(2, "DMA_DONE");
    check(header_v(31 downto 0), x"00080085", "DMA_DONE");
    command(x"00090004", x"00000060", x"00000040", x"00000000", x"00000000", x"00000000", x"00000000", x"00000000");
    take(2, "MEM_DATA of several beats");
    check(header_v(63 downto 0), x"0000006000090084", "MEM_DATA");
    assert count_v = 24 report "payload of MEM_DATA: " & integer'image(count_v) & " DWs, expected 24" severity failure;
    for k in 0 to 23 loop
      check(words_v(k), std_logic_vector(to_unsigned(16#5A0000# + k, 32)), "DW " & integer'image(k) & " of MEM_DATA");
    end loop;

    -- function level reset --
    config_write(0, 1, 16#48#, x"00008000", "0010");
    event(OP_FLR_C, x"00000100", x"00000000", x"00000000", "FLR");
    event(OP_STATUS_C, x"00000100", x"00000000", x"00000000", "reset by FLR");
    config_read(0, 1, 16#04#);
    check(word_v, x"00100000", "Command after FLR");
    reg_write(FN1_C + FN_CONTROL_C, x"00000002");
    reg_read(FN1_C + FN_STATUS_C);

    for i in 1 to 200 loop
      wait until rising_edge(clk);
    end loop;
    assert busy = '0' report "busy_o stays 1 without work" severity failure;
    std.textio.write(std.textio.output, "cosim_top_tb: passed" & LF);
    finish(0);
    wait;
  end process stimuli;

end architecture cosim_top_tb_sim;
