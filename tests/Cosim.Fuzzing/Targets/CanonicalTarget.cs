// SPDX-License-Identifier: Apache-2.0
using System.Text;
using Cosim.Waveforms;

namespace Cosim.Fuzzing.Targets;

/// <summary>Canonical waveforms: what is read, written again, is read as the same.</summary>
public sealed class CanonicalTarget : FuzzTarget
{
    private static readonly byte[][] s_words =
    [
        .. new[]
        {
            "cosim waveform 2", "signal", "stream", "end", "end 18446744073709551615", "when", "#", "# x", "a", "a.b", "b", "state", "a.state", "p0_rx", "p0_tx", "0", "1", "2", "18446744073709551616", "idle", "closed", "wait", "last", "keep", "x", "",
        }.Select(Encoding.Latin1.GetBytes),
    ];

    private readonly StringBuilder _text = new();
    private readonly StringBuilder _again = new();

    public override string Name => "canonical";

    public override string What => "canonical waveforms";

    public override IReadOnlyList<string> Classes { get; } = ["Cosim.Waveforms.CanonicalReader", "Cosim.Waveforms.CanonicalSignal", "Cosim.Waveforms.CanonicalWave"];

    public override IReadOnlyList<byte[]> Words => s_words;

    // Each line is a string or several, in both readings; the ends of a path are as long together as its depth times its length.
    public override long MostAllocated(int length) => (1 << 17) + (4096L * length);

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        _ = input.Add("cosim waveform 2\n");
        int signals = random.Between(1, 5);
        for (int i = 0; i < signals; i++)
        {
            _ = i == 0
                ? input.Add("stream p0_rx d k l v r\n")
                : input.Add("signal top.").Add(random.OneIn(2) ? "u1." : "").Add("s").AddText((ulong)i).Add(random.Pick(" 1", " 32", " S_A S_B", " 8 when top.v", " 8 when")).Add("\n");
        }

        ulong cycle = (ulong)random.Below(20);
        for (int lines = random.Below(10); lines > 0; lines--)
        {
            int signal = random.Below(signals);
            _ = input.AddText(cycle).Add(signal == 0 ? " p0_rx" : " s");
            _ = (signal == 0 ? input : input.AddText((ulong)signal)).Add(random.Pick(" 0", " 1", " idle", " 04000001 0000000f last # CfgRd0 01:00.0", " xx00", " S_A")).Add("\n");
            while (random.OneIn(3))
            {
                _ = input.Add(" s1 1\n");
            }

            cycle += (ulong)random.Between(1, 10);
        }

        _ = input.Add("end ").AddText(cycle).Add("\n");
    }

    public override void Mark(FuzzInput input) => TextMarks.Lines(input);

    public override void Execute(ReadOnlySpan<byte> input)
    {
        string text = Encoding.UTF8.GetString(input);
        if (Rewrite(text, _text, mayBeRefused: true, out bool isPlain) && isPlain)
        {
            string first = _text.ToString();
            _ = Rewrite(first, _again, mayBeRefused: false, out _);
            Require(_again.Equals(first.AsSpan()), "a waveform that was written again is read as another one");
        }
    }

    // Plain: no signal is listed twice in a cycle, so that its values are all known when they are written again.
    private static bool Rewrite(string text, StringBuilder to, bool mayBeRefused, out bool isPlain)
    {
        isPlain = true;
        _ = to.Clear();
        int lines = 2 + text.AsSpan().Count('\n') + text.AsSpan().Count('\r');
        try
        {
            using StringReader source = new(text);
            CanonicalReader reader = new(source);
            _ = to.Append(CanonicalWave.Title).Append('\n');
            foreach (string declaration in reader.Declarations)
            {
                CanonicalSignal signal = CanonicalSignal.Parse(declaration);
                Require(signal.Width >= 0 && signal.Group.Length <= signal.Path.Length, "a signal has a width below 0, or a group longer than its path");
                _ = to.Append(declaration).Append('\n');
            }

            ulong last = 0;
            int steps = 0;
            while (!reader.AtEnd)
            {
                Require(++steps <= lines, "more cycles are read than the file has lines");
                ulong cycle = reader.Cycle;
                Require(steps == 1 || cycle > last, "cycles go back");
                last = cycle;
                reader.Apply();
                Require(reader.Changed.Count > 0, "a cycle has no change");
                _ = to.Append(cycle);
                int packet = 0;
                isPlain &= reader.Changed.Count == 1 || reader.Changed.Distinct().Count() == reader.Changed.Count;
                foreach (int number in reader.Changed)
                {
                    _ = to.Append(' ').Append(reader.ShortNames[number]).Append(' ').Append(reader.Values[number]);
                    if (packet < reader.Packets.Count && reader.Packets[packet].Stream == number)
                    {
                        _ = to.Append(" # ").Append(reader.Packets[packet++].Text);
                    }

                    _ = to.Append('\n');
                }

            }

            _ = to.Append("end ").Append(reader.Cycle).Append('\n');
            return true;
        }
        catch (WaveformException e)
        {
            Require(mayBeRefused, $"a waveform that was written again is refused: {e.Message}");
            Require(e.Line >= 1 && e.Line <= lines && e.Message.StartsWith("line ", StringComparison.Ordinal), $"an error names no line of the file: {e.Message}");
            return false;
        }
    }
}
