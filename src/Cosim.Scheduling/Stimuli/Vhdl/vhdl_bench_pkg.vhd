  subtype word_t is std_logic_vector(31 downto 0);
  subtype beat_t is std_logic_vector(255 downto 0);
  subtype keep_t is std_logic_vector(7 downto 0);
  type words_t is array (natural range <>) of word_t;
  type cycles_t is array (natural range <>) of natural;

  -- an input is offered from its cycle on; an output's last beat is taken in its cycle --
  type packet_t is record
    cycle          : natural;
    header         : words_t(0 to 7);
    dwords         : natural range 3 to 8; -- of the header
    payload        : natural;              -- its first word
    payload_dwords : natural range 0 to 1024;
  end record packet_t;
  type packets_t is array (natural range <>) of packet_t;

  constant ZERO_C      : word_t := (others => '0');
  constant NO_PACKET_C : packet_t := (cycle => 0, header => (others => ZERO_C), dwords => 3, payload => 0, payload_dwords => 0);

  impure function in_reset_f(cycle : natural) return boolean;

  -- offers the packets of a port --
  procedure offer(
    number       : natural;
    packets      : packets_t;
    words        : words_t;
    signal cycle : in  natural;
    signal rst   : in  std_logic;
    signal clk   : in  std_logic;
    signal data  : out beat_t;
    signal keep  : out keep_t;
    signal last  : out std_logic;
    signal valid : out std_logic;
    signal ready : in  std_logic);

  -- is ready for beats out of a port --
  procedure take(
    number       : natural;
    signal cycle : in  natural;
    signal rst   : in  std_logic;
    signal clk   : in  std_logic;
    signal ready : out std_logic);

  -- checks the packets out of a port; data bits that are neither 0 nor 1 count as 0 --
  procedure expect(
    number       : natural;
    packets      : packets_t;
    words        : words_t;
    signal cycle : in  natural;
    signal rst   : in  std_logic;
    signal clk   : in  std_logic;
    signal data  : in  beat_t;
    signal keep  : in  keep_t;
    signal last  : in  std_logic;
    signal valid : in  std_logic;
    signal ready : in  std_logic);

