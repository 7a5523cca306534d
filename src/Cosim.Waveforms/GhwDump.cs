// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Cosim.Waveforms;

/// <summary>Makes VCD of what <c>ghwdump -H -s</c> prints of a waveform in GHDL's own format.</summary>
/// <remarks>
/// ghwdump prints the hierarchy, a line for each signal with the numbers of its elements, and then every element at every time. Signals
/// of std_ulogic, bit and their vectors become variables of bits, enumerations become strings, integers 32 bits. Records and arrays
/// of arrays, whose elements the hierarchy does not name, are left out.
/// </remarks>
internal sealed class GhwDump(Stream dump) : Stream
{
    private readonly StreamReader lines = new(dump, Encoding.Latin1);
    private readonly List<Signal> signals = [];
    private readonly StringBuilder text = new();
    private string[] elements = [];
    private string time = "";
    private byte[] ready = [];
    private int at;
    private bool declared;
    private bool ended;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer)
    {
        while (at == ready.Length && !ended)
        {
            Convert();
            ready = Encoding.Latin1.GetBytes(text.ToString());
            text.Clear();
            at = 0;
        }

        int count = Math.Min(buffer.Length, ready.Length - at);
        ready.AsSpan(at, count).CopyTo(buffer);
        at += count;
        return count;
    }

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        lines.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>Takes lines up to the end of the values of one time.</summary>
    private void Convert()
    {
        for (; ; )
        {
            string? line = lines.ReadLine();
            if (line is null || line.StartsWith("Time is ", StringComparison.Ordinal))
            {
                EndTime();
                ended = line is null;
                time = line?.Split(' ') is [_, _, var number, ..] ? number : "";
                if (ended || text.Length > 0)
                {
                    return;
                }
            }
            else if (line.StartsWith('#'))
            {
                TakeElement(line);
            }
            else if (time.Length == 0)
            {
                TakeSignal(line);
            }
        }
    }

    // "signal /t/v: std_ulogic_vector (7 downto 0): #3-#10"; ports stand there in the same way.
    private void TakeSignal(string line)
    {
        int slash = line.IndexOf(" /", StringComparison.Ordinal);
        int numbers = line.LastIndexOf(": #", StringComparison.Ordinal);
        int colon = slash < 0 ? -1 : line.IndexOf(": ", slash, StringComparison.Ordinal);
        if (slash < 0 || colon < 0 || numbers <= colon)
        {
            return;
        }

        string[] ends = line[(numbers + 2)..].Trim().Split('-');
        if (!int.TryParse(ends[0].AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out int first)
            || !int.TryParse(ends[^1].AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out int last)
            || first < 1 || last < first || last > new VcdLimits().Variables)
        {
            return;
        }

        string type = line[(colon + 2)..numbers];
        int open = type.IndexOf('(', StringComparison.Ordinal);
        string[] range = open < 0 ? [] : type[(open + 1)..].TrimEnd(')').Split(' ');
        bool vector = range is [var left, "downto" or "to", var right]
            && int.TryParse(left, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int from)
            && int.TryParse(right, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int to)
            && Math.Abs((long)from - to) == last - first;
        if (vector || (range.Length == 0 && first == last))
        {
            signals.Add(new Signal(line[(slash + 2)..colon], vector ? $"[{range[0]}:{range[2]}]" : "", first, last - first + 1));
        }

        if (elements.Length <= last)
        {
            Array.Resize(ref elements, Math.Max(last + 1, elements.Length * 2));
        }
    }

    // "#3: 'U' (0)", "#2: idle (0)" or "#20: -3".
    private void TakeElement(string line)
    {
        int colon = line.IndexOf(": ", StringComparison.Ordinal);
        if (colon > 0 && int.TryParse(line.AsSpan(1, colon - 1), NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number > 0 && number < elements.Length)
        {
            int space = line.IndexOf(" (", colon, StringComparison.Ordinal);
            elements[number] = line[(colon + 2)..(space < 0 ? line.Length : space)];
        }
    }

    private void EndTime()
    {
        if (time.Length == 0)
        {
            return;
        }

        if (!declared)
        {
            Declare();
            declared = true;
        }

        bool titled = false;
        foreach (Signal signal in signals)
        {
            string value = Value(signal);
            if (value == signal.Last)
            {
                continue;
            }

            if (!titled)
            {
                text.Append(CultureInfo.InvariantCulture, $"#{time}\n");
                titled = true;
            }

            signal.Last = value;
            text.Append(CultureInfo.InvariantCulture, $"{value} {signal.Code}\n");
        }
    }

    /// <summary>Writes the declarations; what a signal is shows in its first value.</summary>
    private void Declare()
    {
        text.Append("$timescale 1 fs $end\n");
        string[] scopes = [];
        int number = 0;
        foreach (Signal signal in signals)
        {
            string first = elements[signal.First] ?? "";
            signal.IsBits = first is ['\'', _, '\''];
            signal.IsNumber = !signal.IsBits && int.TryParse(first, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _);
            signal.Code = string.Create(CultureInfo.InvariantCulture, $"s{number++}");
            string[] parts = signal.Path.Split('/');
            int common = 0;
            while (common < scopes.Length && common < parts.Length - 1 && scopes[common] == parts[common])
            {
                common++;
            }

            text.Insert(text.Length, "$upscope $end\n", scopes.Length - common);
            foreach (string scope in parts[common..^1])
            {
                text.Append(CultureInfo.InvariantCulture, $"$scope module {scope} $end\n");
            }

            scopes = parts[..^1];
            string declaration = signal.IsBits ? $"wire {signal.Count}" : signal.IsNumber && signal.Count == 1 ? "integer 32" : "string 1";
            text.Append(CultureInfo.InvariantCulture, $"$var {declaration} {signal.Code} {parts[^1]}{(signal.IsBits ? signal.Range : "")} $end\n");
        }

        text.Append("$enddefinitions $end\n");
    }

    private string Value(Signal signal)
    {
        if (signal.IsBits)
        {
            return string.Create(signal.Count + 1, this, (span, dump) =>
            {
                span[0] = 'b';
                for (int i = 0; i < signal.Count; i++)
                {
                    span[i + 1] = dump.elements[signal.First + i] is ['\'', var bit, '\''] ? bit : 'x';
                }
            });
        }

        string value = elements[signal.First] ?? "";
        return signal.IsNumber && signal.Count == 1 && int.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number)
            ? $"b{System.Convert.ToString(number, 2).PadLeft(32, '0')}" : signal.IsNumber && signal.Count == 1 ? "bx" : $"s{value}";
    }

    private sealed class Signal(string path, string range, int first, int count)
    {
        public string Path { get; } = path;

        public string Range { get; } = range;

        public int First { get; } = first;

        public int Count { get; } = count;

        public string Code { get; set; } = "";

        public bool IsBits { get; set; }

        public bool IsNumber { get; set; }

        public string? Last { get; set; }
    }
}
