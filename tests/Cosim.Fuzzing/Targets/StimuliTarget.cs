// SPDX-License-Identifier: Apache-2.0
using System.Text;
using Cosim.Scheduling.Stimuli;

namespace Cosim.Fuzzing.Targets;

/// <summary>Recordings: what is read, written again as a recording is written, is read as the same.</summary>
public sealed class StimuliTarget : FuzzTarget
{
    private static readonly byte[][] s_words =
    [
        .. new[]
        {
            "cosim-stimuli", "fpga", "model", "verilator", "ghdl", "ports", "top", "cosim_top", "generic", "FUNCTIONS_G", "pause", "reset", "start", "in", "out", "end", ":", "#", "# x",
            "0", "1", "2", "3", "4", "255", "256", "64", "2147483647", "2147483648", "18446744073709551615", "18446744073709551616", "00000001", "40000001", "60000000", "20000001", "4A000001", "0000000g", "000000000", "-1", "+1", "1.0", "_x", "9x", "\x1f\x8b",
        }.Select(Encoding.Latin1.GetBytes),
    ];

    private readonly ReusedStream _stream = new();
    private readonly byte[] _text = new byte[2 * FuzzInput.MostBytes];
    private readonly byte[] _again = new byte[2 * FuzzInput.MostBytes];
    private readonly byte[] _line = new byte[StimuliText.LineRoom];

    public override string Name => "stimuli";

    public override string What => "recordings of the FPGA's boundary";

    public override IReadOnlyList<string> Classes { get; } = ["Cosim.Scheduling.Stimuli.StimuliReader", "Cosim.Scheduling.Stimuli.StimuliText", "Cosim.Scheduling.Stimuli.StimuliFormat"];

    public override IReadOnlyList<byte[]> Words => s_words;

    // Two readers with their buffers, or one and what unpacks gzip.
    public override long MostAllocated(int length) => (1 << 19) + (64L * length);

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        int ports = random.OneIn(4) ? random.Between(1, 2) : 3;
        _ = input.Add("cosim-stimuli 1\nfpga ").Add(random.Pick("model", "verilator", "ghdl")).Add("\nports ").AddText((ulong)ports).Add("\ntop cosim_top\n");
        for (int i = random.OneIn(64) ? 66 : random.Below(4); i > 0; i--)
        {
            _ = input.Add("generic G").AddText((ulong)i).Add("_G ").AddText((ulong)random.Below(300)).Add("\n");
        }

        if (!random.OneIn(4))
        {
            _ = input.Add("pause ").AddText(random.Boundary()).Add(" ").AddText((ulong)random.Below(256)).Add(" ").AddText((ulong)random.Below(256)).Add("\n");
        }

        Span<ulong> outputs = stackalloc ulong[3];
        outputs.Clear();
        ulong cycle = random.OneIn(4) ? (ulong)random.Below(1000) : 0;
        _ = cycle == 0 ? input.Add("reset 0\n") : input.Add("start ").AddText(cycle).Add("\n");
        ulong inputs = 0;
        int lastPort = -1;
        for (int lines = random.Below(12); lines > 0; lines--)
        {
            bool moves = !random.OneIn(3);
            cycle += moves ? (ulong)random.Between(1, 50) : 0;
            int port = random.Below(ports);
            switch (random.Below(8))
            {
                case 0 when moves:
                    _ = input.Add("reset ").AddText(cycle).Add("\n");
                    lastPort = -1;
                    break;
                case <= 3 when moves || (lastPort >= 0 && port > lastPort):
                    _ = input.Add("out ").AddText((ulong)port).Add(" ").AddText(cycle).Add(" ");
                    Packet(input, port, random);
                    outputs[port]++;
                    lastPort = port;
                    break;
                default:
                    _ = input.Add("in ").AddText((ulong)port).Add(" ").AddText(cycle).Add(" ");
                    for (int i = 0; i < ports; i++)
                    {
                        _ = input.AddText(outputs[i]).Add(" ");
                    }

                    Packet(input, port, random);
                    inputs++;
                    lastPort = 3;
                    break;
            }
        }

        if (!random.OneIn(8))
        {
            _ = input.Add("end ").AddText(cycle + (ulong)random.Below(9)).Add(" ").AddText(inputs).Add(" ").AddText(outputs[0] + outputs[1] + outputs[2]).Add(random.OneIn(4) ? "  # over\n\n" : "\n");
        }
    }

    public override void Mark(FuzzInput input) => TextMarks.Lines(input);

    public override void Execute(ReadOnlySpan<byte> input)
    {
        int first = Rewrite(input, _text, out bool complete);
        if (first >= 0)
        {
            int second = Rewrite(_text.AsSpan(0, first), _again, out bool completeAgain);
            Require(second == first && complete == completeAgain && _again.AsSpan(0, second).SequenceEqual(_text.AsSpan(0, first)), "a recording that was written again is read as another one");
        }
    }

    private static void Packet(FuzzInput input, int port, FuzzRandom random)
    {
        _ = input.Add(":");
        int words = random.OneIn(2) ? 0 : random.OneIn(200) ? random.Between(1000, 1030) : random.Between(1, 5);
        bool four = random.OneIn(3);
        int header = port == 2 ? 8 : four ? 4 : 3;
        for (int i = 0; i < header; i++)
        {
            uint word = (uint)random.Next();
            _ = input.Add(" ").AddHex(i == 0 && port != 2 ? (word & 0x1FFF_FFFF) | (four ? 0x2000_0000u : 0) | (words > 0 ? 0x4000_0000u : 0) : word);
        }

        if (words > 0)
        {
            _ = input.Add(" :");
            for (int i = 0; i < words; i++)
            {
                _ = input.Add(" ").AddHex((uint)random.Next());
            }
        }

        _ = input.Add(random.OneIn(8) ? "   # what it is\n" : "\n");
    }

    // Length of the recording written again; -1: it was refused, as the format says.
    private int Rewrite(ReadOnlySpan<byte> input, byte[] to, out bool complete)
    {
        complete = false;
        _stream.Set(input);
        int at = 0;
        try
        {
            using StimuliReader reader = new(_stream, "fuzz.stim");
            at = Encoding.ASCII.GetBytes(StimuliText.Head(reader.Head), to);
            int steps = 0;
            while (reader.Read())
            {
                Require(++steps <= input.Length + 1, "more lines are read than the file has characters");
                Require(reader.Kind != StimulusKind.None && (uint)reader.Port < (uint)reader.Head.Ports, "a line has no kind, or a port that does not exist");
                Require(reader.Seen.Length == (reader.Kind == StimulusKind.Input ? reader.Head.Ports : 0), "SEEN has not a count for each port");
                bool comment = reader.Line % 4 == 0 && to == _again;
                int written = reader.Kind switch
                {
                    StimulusKind.Start => StimuliText.Start(_line, reader.Cycle),
                    StimulusKind.Reset => StimuliText.Reset(_line, reader.Cycle),
                    StimulusKind.Input => StimuliText.Input(_line, reader.Port, reader.Cycle, reader.Seen, reader.Packet, comment: false),
                    StimulusKind.Output => StimuliText.Output(_line, reader.Port, reader.Cycle, reader.Packet, comment: false),
                    _ => StimuliText.End(_line, reader.Cycle, reader.Inputs, reader.Outputs),
                };
                if (comment && reader.Kind is StimulusKind.Input or StimulusKind.Output)
                {
                    // What a packet is may be written behind it, whatever it is; the line still has room for it.
                    int commented = reader.Kind == StimulusKind.Input
                        ? StimuliText.Input(to.AsSpan(to.Length - StimuliText.LineRoom), reader.Port, reader.Cycle, reader.Seen, reader.Packet, comment: true)
                        : StimuliText.Output(to.AsSpan(to.Length - StimuliText.LineRoom), reader.Port, reader.Cycle, reader.Packet, comment: true);
                    Require(commented > written, "a line with a comment is not longer");
                }

                Require(at + written <= to.Length - StimuliText.LineRoom, "a recording is much longer when it is written again");
                _line.AsSpan(0, written).CopyTo(to.AsSpan(at));
                at += written;
            }

            complete = reader.IsComplete;
            Require(!reader.Read(), "the end of a recording is not its end");
            return at;
        }
        catch (StimuliException e)
        {
            Require(e.Message.StartsWith("fuzz.stim:", StringComparison.Ordinal) && e.Message.Length < 400, $"an error does not begin with the file, or has too great a length: {e.Message}");
            Require(to == _text, $"a recording that was written again is refused: {e.Message}");
            return -1;
        }
    }
}
