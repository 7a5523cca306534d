// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Cosim.Scheduling.Stimuli;

/// <summary>Writes a testbench in pure VHDL-2008 that replays a slice of a recording: <c>cosim stimuli emit --vhdl</c>.</summary>
/// <remarks>
/// The bench is a package of constants and an entity. It begins with the last reset that is not after the slice: what lies between the
/// two is driven as it was, since the FPGA's state comes of it, but outputs are checked in the slice only. It works for every top whose ports
/// are those of <c>hdl/CONTRACT.md</c>.
/// </remarks>
public sealed partial class VhdlBench
{
    private readonly RecordingHead _head;
    private readonly ulong _from;
    private readonly List<ulong> _resets = [];
    private readonly Transactions[] _inputs;
    private readonly Transactions[] _outputs;
    private ulong _begin;
    private ulong _end;

    private VhdlBench(RecordingHead head, ulong from)
    {
        _head = head;
        _from = from;
        _inputs = [.. Enumerable.Range(0, head.Ports).Select(port => new Transactions(port))];
        _outputs = [.. Enumerable.Range(0, head.Ports).Select(port => new Transactions(port))];
    }

    /// <summary>Writes the bench of a slice.</summary>
    /// <param name="recording">The recording, at its begin.</param>
    /// <param name="entity">Name of the bench's entity; the package is called so with <c>_pkg</c> behind it.</param>
    /// <param name="from">First cycle whose outputs are checked.</param>
    /// <param name="to">Last cycle that is run, or the recording's last one where that comes before.</param>
    /// <param name="output">Where the VHDL goes.</param>
    /// <exception cref="StimuliException">The recording or the slice cannot be replayed cycle by cycle.</exception>
    /// <exception cref="ArgumentException"><paramref name="entity"/> is not the name of an entity.</exception>
    public static void Emit(StimuliReader recording, string entity, ulong from, ulong to, TextWriter output)
    {
        if (!IsEntityName(entity))
        {
            throw new ArgumentException($"'{entity}' is not the name of a VHDL entity.", nameof(entity));
        }

        if (!recording.Head.IsHardware)
        {
            throw new StimuliException($"{recording.Name}: recorded on the reference model, whose cycles are its own; a testbench needs a recording of Verilator or GHDL");
        }

        if (from > to)
        {
            throw new StimuliException($"the slice from cycle {from} to {to} is empty");
        }

        VhdlBench bench = new(recording.Head, from);
        bench.Gather(recording, to);
        bench.Write(entity, recording.Name, output);
    }

    /// <summary>Whether a bench can have this name.</summary>
    public static bool IsEntityName(string name) => EntityName().IsMatch(name);

    private void Gather(StimuliReader recording, ulong to)
    {
        ulong last = 0;
        bool started = false;
        while (recording.Read() && recording.Kind != StimulusKind.End && recording.Cycle <= to)
        {
            last = recording.Cycle;
            if (last > int.MaxValue)
            {
                throw new StimuliException($"{recording.Name}:{recording.Line}: cycle {last}; VHDL's integers end at {int.MaxValue}");
            }

            switch (recording.Kind)
            {
                case StimulusKind.Reset:
                    if (!started || last <= _from)
                    {
                        // Nothing from before it is left in the FPGA.
                        started = true;
                        _begin = last;
                        _resets.Clear();
                        Array.ForEach(_inputs, t => t.Clear());
                        Array.ForEach(_outputs, t => t.Clear());
                    }

                    _resets.Add(last);
                    break;
                case StimulusKind.Input when started:
                    _inputs[recording.Port].Add(last, recording.Packet);
                    break;
                case StimulusKind.Output when started && last >= _from:
                    _outputs[recording.Port].Add(last, recording.Packet);
                    break;
                default:
                    break;
            }
        }

        if (!started)
        {
            throw new StimuliException($"{recording.Name}: no reset up to cycle {Math.Min(to, last)}, and the FPGA's state is known from a reset on only");
        }

        if (recording.Kind == StimulusKind.None && !recording.IsComplete)
        {
            throw new StimuliException($"{recording.Name}: the recording was cut off after line {recording.Line}");
        }

        // A line lies beyond the slice, or it is the end, whose cycle was not run any more.
        _end = Math.Min(to, recording.Cycle - 1);
        if (_end < _begin || _end < _from)
        {
            throw new StimuliException($"{recording.Name}: the recording ends at cycle {recording.Cycle}, before the slice from {_from} on");
        }
    }

    private void Write(string entity, string recording, TextWriter output)
    {
        string generics = string.Join(", ", _head.Generics.Select(g => string.Create(CultureInfo.InvariantCulture, $"{g.Name} => {g.Value}")));
        string prologue = _begin < _from ? $"Cycles {_begin} to {_from - 1} only bring the FPGA where the slice begins: what comes out there is not checked." : "Every output is checked.";
        output.Write($"""
            -- SPDX-License-Identifier: Apache-2.0
            -- Testbench of {_head.Top}, made by 'cosim stimuli emit --vhdl' of {Path.GetFileName(recording)}: cycles {_begin} to {_end}.
            -- {prologue}
            -- Inputs are offered at their cycles; each output is expected at its cycle with its words. Passed is only what prints
            -- "{entity} passed: ..."; the first difference ends the simulation with severity failure.
            -- With GHDL, after {_head.Top} has been analysed: ghdl -a --std=08 {entity}.vhd && ghdl --elab-run --std=08 {entity} --assert-level=error

            library ieee;
            use ieee.std_logic_1164.all;

            package {entity}_pkg is

            {Resource("vhdl_bench_pkg.vhd")}
              -- The recording -------------------------------------------------------------------------

              constant BEGIN_C : natural := {_begin}; -- first cycle that is run
              constant FROM_C  : natural := {_from}; -- first cycle whose outputs are checked
              constant TO_C    : natural := {_end}; -- last cycle
              constant RESETS_C : cycles_t({_resets.Count - 1} downto 0) := ({string.Join(", ", _resets.Select((cycle, i) => $"{i} => {cycle}"))});

            """);
        for (int port = 0; port < _head.Ports; port++)
        {
            _inputs[port].Write(output, "IN");
            _outputs[port].Write(output, "OUT");
        }

        output.Write($"""

            end package {entity}_pkg;

            package body {entity}_pkg is

              constant SEED_C       : std_logic_vector(63 downto 0) := x"{_head.Pauses.Seed:X16}"; -- of back-pressure
              constant INTO_SHARE_C : natural := {_head.Pauses.Into}; -- of 256 cycles without valid into the FPGA
              constant OUT_SHARE_C  : natural := {_head.Pauses.OutOf}; -- of 256 cycles without ready

            {Resource("vhdl_bench_body.vhd")}
            end package body {entity}_pkg;

            library ieee;
            use ieee.std_logic_1164.all;

            library std;
            use std.textio.all;
            use std.env.finish;

            use work.{entity}_pkg.all;

            entity {entity} is
            end entity {entity};

            architecture {entity}_sim of {entity} is

              signal clk   : std_logic := '1';
              signal rst   : std_logic := '0';
              signal cycle : natural := BEGIN_C;

            """);
        for (int port = 0; port < _head.Ports; port++)
        {
            output.Write($"""

                  signal p{port}_rx_data, p{port}_tx_data : beat_t := (others => '0');
                  signal p{port}_rx_keep, p{port}_tx_keep : keep_t := (others => '0');
                  signal p{port}_rx_last, p{port}_rx_valid, p{port}_rx_ready : std_logic := '0';
                  signal p{port}_tx_last, p{port}_tx_valid, p{port}_tx_ready : std_logic := '0';

                """);
        }

        output.Write($"""

            begin

              dut: entity work.{_head.Top}
              {(generics.Length == 0 ? "" : $"generic map ({generics})\n  ")}port map (
                clk_i => clk, rst_i => rst
            """);
        for (int port = 0; port < _head.Ports; port++)
        {
            output.Write($"""
                ,
                    p{port}_rx_data_i => p{port}_rx_data, p{port}_rx_keep_i => p{port}_rx_keep, p{port}_rx_last_i => p{port}_rx_last,
                    p{port}_rx_valid_i => p{port}_rx_valid, p{port}_rx_ready_o => p{port}_rx_ready,
                    p{port}_tx_data_o => p{port}_tx_data, p{port}_tx_keep_o => p{port}_tx_keep, p{port}_tx_last_o => p{port}_tx_last,
                    p{port}_tx_valid_o => p{port}_tx_valid, p{port}_tx_ready_i => p{port}_tx_ready
                """);
        }

        output.Write("""

              );

              -- Inputs change with the falling edge, outputs are sampled with the rising one.
              clock: process
                variable text_v : line;
              begin
                for c in BEGIN_C to TO_C loop
                  cycle <= c;
                  rst   <= '1' when in_reset_f(c) else '0';
                  clk   <= '0';
                  wait for 2 ns;
                  clk <= '1';
                  wait for 2 ns;
                end loop;

            """);
        output.Write($"""
                write(text_v, string'("{entity} passed: {_inputs.Sum(t => t.Count)} inputs, {_outputs.Sum(t => t.Count)} outputs, {_end - _begin + 1} cycles"));
                writeline(output, text_v);
                finish(0);
                wait;
              end process clock;

            """);
        for (int port = 0; port < _head.Ports; port++)
        {
            output.Write($"""

                  p{port}_in: offer({port}, P{port}_IN_C, P{port}_IN_WORDS_C, cycle, rst, clk, p{port}_rx_data, p{port}_rx_keep, p{port}_rx_last, p{port}_rx_valid, p{port}_rx_ready);
                  p{port}_take: take({port}, cycle, rst, clk, p{port}_tx_ready);
                  p{port}_out: expect({port}, P{port}_OUT_C, P{port}_OUT_WORDS_C, cycle, rst, clk, p{port}_tx_data, p{port}_tx_keep, p{port}_tx_last, p{port}_tx_valid, p{port}_tx_ready);

                """);
        }

        output.Write($"\nend architecture {entity}_sim;\n");
    }

    // The parts of the bench that are the same for all of them.
    private static string Resource(string name)
    {
        using Stream stream = typeof(VhdlBench).Assembly.GetManifestResourceStream("stimuli/" + name)!;
        using StreamReader reader = new(stream, Encoding.ASCII);
        return reader.ReadToEnd();
    }

    [GeneratedRegex("^[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*$")]
    private static partial Regex EntityName();

    /// <summary>The packets of one port in one direction as VHDL constants: their headers, and the words of all their payloads.</summary>
    private sealed class Transactions(int port)
    {
        private readonly StringBuilder _packets = new();
        private readonly StringBuilder _words = new();
        private int _wordCount;

        public int Count { get; private set; }

        public void Clear()
        {
            _ = _packets.Clear();
            _ = _words.Clear();
            _wordCount = 0;
            Count = 0;
        }

        public void Add(ulong cycle, ReadOnlySpan<byte> packet)
        {
            int headerBytes = StimuliFormat.HeaderBytes(port);
            int payload = (packet.Length - headerBytes) / 4;
            int header = port == StimuliFormat.ManagementPort ? 8 : 3 + ((packet[3] >> 5) & 1);
            _ = _packets.Append(Count == 0 ? "" : ",\n")
                .Append(CultureInfo.InvariantCulture, $"    -- {PacketText.Format(port, packet)}\n")
                .Append(CultureInfo.InvariantCulture, $"    {Count} => (cycle => {cycle}, header => (");
            AppendWords(_packets, packet[..(4 * header)], 0, ", ");
            _ = _packets.Append(header < 8 ? ", others => ZERO_C" : "")
                .Append(CultureInfo.InvariantCulture, $"), dwords => {header}, payload => {_wordCount}, payload_dwords => {payload})");
            if (payload > 0)
            {
                _ = _words.Append(_wordCount == 0 ? "" : ",\n").Append(CultureInfo.InvariantCulture, $"    -- {Count}\n");
                AppendWords(_words, packet[headerBytes..], _wordCount, ",\n");
                _wordCount += payload;
            }

            Count++;
        }

        public void Write(TextWriter output, string direction)
        {
            output.Write($"\n  -- port {port}, {(direction == "IN" ? "into" : "out of")} the FPGA --\n");
            Write(output, $"P{port}_{direction}_WORDS_C", "words_t", _wordCount, _words, "ZERO_C");
            Write(output, $"P{port}_{direction}_C", "packets_t", Count, _packets, "NO_PACKET_C");
        }

        private static void Write(TextWriter output, string name, string type, int count, StringBuilder elements, string none)
        {
            if (count == 0)
            {
                output.Write($"  constant {name} : {type}(1 to 0) := (others => {none});\n");
                return;
            }

            output.Write($"  constant {name} : {type}(0 to {count - 1}) := (\n");
            foreach (ReadOnlyMemory<char> chunk in elements.GetChunks())
            {
                output.Write(chunk);
            }

            output.Write("\n  );\n");
        }

        private static void AppendWords(StringBuilder text, ReadOnlySpan<byte> words, int first, string between)
        {
            for (int i = 0; i < words.Length; i += 4)
            {
                bool comment = between.EndsWith('\n');
                _ = text.Append(i == 0 ? "" : i % 32 == 0 || !comment ? between : ", ").Append(comment && i % 32 == 0 ? "    " : "")
                    .Append(CultureInfo.InvariantCulture, $"{first + (i / 4)} => x\"{BinaryPrimitives.ReadUInt32LittleEndian(words[i..]):X8}\"");
            }
        }
    }
}
