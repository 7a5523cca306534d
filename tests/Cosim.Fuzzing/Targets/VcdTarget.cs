// SPDX-License-Identifier: Apache-2.0
using System.Text;
using Cosim.Waveforms;

namespace Cosim.Fuzzing.Targets;

/// <summary>Value change dumps: what is read, written as a dump again, is read as the same.</summary>
public sealed class VcdTarget : FuzzTarget
{
    private static readonly VcdLimits s_limits = new() { Variables = 64, Bits = 1 << 10, Depth = 8, NameCharacters = 1 << 11 };

    private static readonly byte[][] s_words =
    [
        .. new[]
        {
            "$var", "$end", "$scope", "$upscope", "$enddefinitions", "$timescale", "$dumpvars", "$dumpall", "$dumpon", "$dumpoff", "$comment", "$date", "$version",
            "wire", "reg", "real", "realtime", "string", "integer", "module", "1", "8", "64", "1024", "1025", "0", "!", "\"", "#", "aB", "abc", "abcd", "clk", "sig[7:0]", "sig", "[7:0]", "g(3)", "g(2147483647)", "\\esc", "a_",
            "1ns", "10", "ps", "fs", "100us", "ms", "s", "#0", "#10", "#18446744073709551615", "#18446744073709551616", "b01", "bxz", "b0101010101010101", "r1.5", "sIDLE", "sA\tB", "s", "b", "B1", "pX", "0!", "1!", "x!", "UX", "-!", "z\"", "b2", "é",
        }.Select(Encoding.Latin1.GetBytes),
    ];

    private const int MostUnlimited = 4096;

    private readonly ReusedStream _stream = new();
    private readonly byte[] _again = new byte[1 << 19];
    private readonly List<(VcdItem Item, ulong Time, int Code, int At, int Length)> _events = [];
    private readonly byte[] _values = new byte[1 << 19];

    public override string Name => "vcd";

    public override string What => "value change dumps";

    public override IReadOnlyList<string> Classes { get; } = ["Cosim.Waveforms.VcdReader", "Cosim.Waveforms.SignalPath"];

    public override IReadOnlyList<byte[]> Words => s_words;

    // Buffers that grow by doubling; both readings; the limit of the names; a table of codes of three characters.
    public override long MostAllocated(int length) => (1 << 20) + (16L * length) + (64L * s_limits.NameCharacters) + (8L * 840_000) + (length < MostUnlimited ? 2200L * length : 0);

    public override void Generate(FuzzInput input, FuzzRandom random)
    {
        if (random.OneIn(3))
        {
            _ = input.Add("$date today $end\n$version v $end\n$comment nothing $end\n");
        }

        if (!random.OneIn(4))
        {
            _ = input.Add(random.Pick("$timescale 1 ns $end\n", "$timescale 10ps $end\n", "$timescale 100 fs $end\n", "$timescale\n 1us\n$end\n", "$timescale 1 s $end\n", "$timescale 1ms $end\n"));
        }

        int variables = random.Between(1, 5);
        int depth = 0;
        for (int i = 0; i < variables; i++)
        {
            if (random.OneIn(2) && depth < 10)
            {
                _ = input.Add("$scope module ").Add(random.Pick("top", "u1", "gen(2)", "\\Esc", "f[1:0]")).Add(" $end\n");
                depth++;
            }

            int bits = Width(i);
            _ = input.Add("$var ").Add(Kind(i)).Add(" ").AddText((ulong)bits).Add(" ");
            Code(input, i);
            _ = input.Add(" s").AddText((ulong)i).Add(random.Pick("", " [7:0]", "[3:0]")).Add(" $end\n");
            if (depth > 0 && random.OneIn(3))
            {
                _ = input.Add("$upscope $end\n");
                depth--;
            }
        }

        _ = input.Add("$enddefinitions $end\n");
        ulong time = 0;
        for (int lines = random.Below(20); lines > 0; lines--)
        {
            int variable = random.Below(variables);
            switch (random.Below(6))
            {
                case 0 or 1:
                    time += (ulong)random.Below(100);
                    _ = input.Add("#").AddText(time).Add("\n");
                    break;
                case 2 when random.OneIn(4):
                    _ = input.Add(random.Pick("$dumpvars\n", "$end\n", "$comment x y $end\n", "$dumpoff\n", "$dumpall\n", "$dumpon\n", "\r\n\t \n"));
                    break;
                default:
                    Value(input, variable, random);
                    break;
            }
        }
    }

    public override void Mark(FuzzInput input) => TextMarks.Lines(input);

    public override void Execute(ReadOnlySpan<byte> input)
    {
        _stream.Set(input);
        int lines = 1 + input.Count((byte)'\n');
        _events.Clear();
        VcdReader reader;
        try
        {
            // The usual limits let a long path stand once for each of many variables.
            reader = new VcdReader(_stream, input.Length % 16 == 3 && input.Length < MostUnlimited ? null : s_limits);
            if (reader.Codes > 2 && input.Length % 8 == 1)
            {
                reader.Follow([0, 2]);
            }

            Collect(reader, 4 * (input.Length + 4));
        }
        catch (WaveformException e)
        {
            Require(e.Line >= 1 && e.Line <= lines && e.Message.StartsWith("line ", StringComparison.Ordinal) && e.Message.Length < 400, $"an error names no line of the file, or at too great length: {e.Message}");
            return;
        }

        Require(reader.Item == VcdItem.None && !reader.Read(), "the end of a file is not its end");
        int written = Write(reader);
        VcdReader again;
        try
        {
            _stream.Set(_again.AsSpan(0, written));
            again = new VcdReader(_stream);
        }
        catch (WaveformException e)
        {
            throw new FindingException($"declarations that were written again are refused: {e.Message}");
        }

        Compare(reader, again);
    }

    // Grammar: variable i has a kind, a width and a code that follow from i.
    private static string Kind(int i) => i switch { 3 => "real", 4 => "string", _ => "wire" };

    private static int Width(int i) => i switch { 0 => 1, 1 => 8, 2 => 40, 3 => 64, _ => 1 };

    private static void Code(FuzzInput input, int i) => input.Add(i switch { 0 => "!", 1 => "\"a", 2 => "#{", 3 => "wxyz", _ => "~" });

    private static void Value(FuzzInput input, int i, FuzzRandom random)
    {
        switch (i)
        {
            case 0:
                _ = input.Add(random.Pick("0", "1", "x", "z", "U", "L", "H", "-"));
                break;
            case 3:
                _ = input.Add("r1.25 ");
                break;
            case 4:
                _ = input.Add(random.Pick("sIDLE ", "s ", "sA long text ", "sA\ttext "));
                break;
            default:
                _ = input.Add("b");
                for (int bits = random.Between(1, Width(i)); bits > 0; bits--)
                {
                    _ = input.Add((byte)"01xzUW"[random.Below(random.OneIn(3) ? 6 : 2)]);
                }

                _ = input.Add(" ");
                break;
        }

        Code(input, i);
        _ = input.Add("\n");
    }

    private void Collect(VcdReader reader, int mostSteps)
    {
        int used = 0;
        ulong time = 0;
        while (reader.Read())
        {
            Require(_events.Count <= mostSteps, "more items are read than the file has characters");
            Require(reader.Time >= time, "time goes back");
            time = reader.Time;
            if (reader.Item == VcdItem.Time)
            {
                _events.Add((reader.Item, time, 0, 0, 0));
                continue;
            }

            Require(reader.Item is VcdItem.Change or VcdItem.TextChange, $"an item is {reader.Item}");
            Require((uint)reader.Code < (uint)reader.Codes, "a change is of no code");
            ReadOnlySpan<byte> value = reader.Value;
            if (reader.Item == VcdItem.Change)
            {
                Require(!value.ContainsAnyExcept("01xz"u8), "a bit is none of 0, 1, x and z");
            }

            if (used + value.Length <= _values.Length)
            {
                value.CopyTo(_values.AsSpan(used));
                _events.Add((reader.Item, time, reader.Code, used, value.Length));
                used += value.Length;
            }
        }
    }

    // A dump with the same codes, their first variables and the same items.
    private int Write(VcdReader reader)
    {
        int at = 0;
        void Put(ReadOnlySpan<byte> bytes)
        {
            Require(at + bytes.Length <= _again.Length, "what was read is longer than what it was read from");
            bytes.CopyTo(_again.AsSpan(at));
            at += bytes.Length;
        }

        int next = 0;
        foreach (VcdVariable variable in reader.Variables)
        {
            Require(variable.Path.Length > 0 && variable.Code <= next && variable.Code >= 0, "a variable has no path, or a code that is out of order");
            if (variable.Code == next)
            {
                next++;
                Require(variable.Kind != VcdValueKind.Bits || variable.Width is >= 1 and <= 1 << 20, $"a variable has {variable.Width} bits");
                Put(Encoding.ASCII.GetBytes($"$var {(variable.Kind switch { VcdValueKind.Real => "real", VcdValueKind.Text => "string", _ => "wire" })} {variable.Width} c{variable.Code} v $end\n"));
            }
        }

        Require(next == reader.Codes, $"{reader.Codes} codes are counted; {next} are declared");
        Put("$enddefinitions $end\n"u8);
        foreach ((VcdItem item, ulong time, int code, int from, int length) in _events)
        {
            switch (item)
            {
                case VcdItem.Time:
                    Put(Encoding.ASCII.GetBytes($"#{time}\n"));
                    break;
                case VcdItem.Change:
                    Put("b"u8);
                    Put(_values.AsSpan(from, length));
                    Put(Encoding.ASCII.GetBytes($" c{code}\n"));
                    break;
                default:
                    Put("s"u8);
                    Put(_values.AsSpan(from, length));
                    Put(Encoding.ASCII.GetBytes($" c{code}\n"));
                    break;
            }
        }

        return at;
    }

    private void Compare(VcdReader reader, VcdReader again)
    {
        Require(reader.Codes == again.Codes, "a dump that was written again has another number of codes");
        int i = 0;
        try
        {
            while (again.Read())
            {
                Require(i < _events.Count, "a dump that was written again has more items");
                (VcdItem item, ulong time, int code, int from, int length) = _events[i++];
                Require(again.Item == item && again.Time == time, $"item {i} is {again.Item} at {again.Time} when written again; it was {item} at {time}");
                Require(item == VcdItem.Time || (again.Code == code && again.Value.SequenceEqual(_values.AsSpan(from, length))), $"item {i} has another value when written again");
            }
        }
        catch (WaveformException e)
        {
            throw new FindingException($"a dump that was written again is refused: {e.Message}");
        }

        Require(i == _events.Count, "a dump that was written again has fewer items");
    }
}
