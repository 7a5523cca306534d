// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Text;
using System.Text;

namespace Cosim.Waveforms;

/// <summary>Cuts a window of time out of a value change dump (IEEE 1364, 18.2) as it streams by, in bounded memory.</summary>
/// <remarks>
/// The dump is one as simulators write it: a time or a value change is a line of its own. The window begins with the values that
/// all signals have then.
/// </remarks>
public static class VcdWindow
{
    private const int LongestLine = 1 << 20;
    private const ulong FemtosecondsPerNanosecond = 1_000_000;

    /// <summary>Copies a window.</summary>
    /// <param name="source">The dump; read to its end, or to a line that is <paramref name="last"/>.</param>
    /// <param name="destination">Where the window goes; closed at the end.</param>
    /// <param name="fromNanoseconds">Begin of the window.</param>
    /// <param name="toNanoseconds">End of the window, itself not in it.</param>
    /// <param name="last">A line after which nothing is read; null: none.</param>
    /// <exception cref="WaveformException">It is no value change dump.</exception>
    public static void Copy(Stream source, Stream destination, ulong fromNanoseconds, ulong toNanoseconds, string? last = null)
    {
        using BufferedStream output = new(destination, 1 << 16);
        Window window = new(source, output, last is null ? null : Encoding.ASCII.GetBytes(last));
        ulong unit = window.CopyHeader();
        window.CopyChanges(Scale(fromNanoseconds, unit), Scale(toNanoseconds, unit));
    }

    private static ulong Scale(ulong nanoseconds, ulong unitFemtoseconds)
    {
        UInt128 scaled = (UInt128)nanoseconds * FemtosecondsPerNanosecond / unitFemtoseconds;
        return scaled > ulong.MaxValue ? ulong.MaxValue : (ulong)scaled;
    }

    private sealed class Window
    {
        private readonly Stream _source;
        private readonly BufferedStream _output;
        private readonly byte[]? _last;
        private readonly byte[] _buffer = new byte[LongestLine];

        // Lines that give the signals their values before the window begins, by the signals' identifier codes.
        private readonly Dictionary<string, byte[]> _values = [];
        private readonly Dictionary<string, byte[]>.AlternateLookup<ReadOnlySpan<char>> _byCode;
        private readonly char[] _code = new char[256];
        private int _from;
        private int _to;
        private long _line;

        public Window(Stream source, BufferedStream output, byte[]? last)
        {
            _source = source;
            _output = output;
            _last = last;
            _byCode = _values.GetAlternateLookup<ReadOnlySpan<char>>();
        }

        // Copies all up to $enddefinitions; the unit of time in femtoseconds.
        public ulong CopyHeader()
        {
            ulong unit = 0;
            bool scale = false;
            StringBuilder scaleText = new();
            while (Next(out ReadOnlySpan<byte> line))
            {
                Write(line);
                if (line.StartsWith("$timescale"u8))
                {
                    scale = true;
                }

                if (scale)
                {
                    _ = scaleText.Append(Encoding.ASCII.GetString(line)).Append(' ');
                    scale = line.IndexOf("$end"u8) < 0;
                    unit = scale ? unit : Unit(scaleText.ToString());
                }

                if (line.StartsWith("$enddefinitions"u8))
                {
                    return unit != 0 ? unit : throw new WaveformException(_line, "the dump has no $timescale before $enddefinitions");
                }
            }

            throw new WaveformException(_line, "the dump ends before $enddefinitions");
        }

        public void CopyChanges(ulong from, ulong to)
        {
            bool inside = false;
            bool after = false;
            while (Next(out ReadOnlySpan<byte> line))
            {
                if (line.IsEmpty || after)
                {
                    continue;
                }

                if (line[0] != '#')
                {
                    if (inside)
                    {
                        Write(line);
                    }
                    else
                    {
                        Keep(line);
                    }

                    continue;
                }

                if (!Utf8Parser.TryParse(line[1..], out ulong time, out int used) || used + 1 != line.Length)
                {
                    throw new WaveformException(_line, $"found '{Encoding.ASCII.GetString(line[..Math.Min(line.Length, 32)])}'; expected '#' and a time");
                }

                if (!inside && time >= from)
                {
                    inside = true;
                    Begin(from, time);
                }

                after = time >= to;
                if (inside)
                {
                    // The last time is an end for those that draw; nothing happens in it.
                    Write(line);
                }
            }

            if (!inside)
            {
                Begin(from, from);
            }
        }

        private void Begin(ulong from, ulong time)
        {
            if (_values.Count == 0)
            {
                return;
            }

            Write(Encoding.ASCII.GetBytes($"#{Math.Min(from, time)}"));
            Write("$dumpvars"u8);
            foreach (byte[] value in _values.Values)
            {
                Write(value);
            }

            Write("$end"u8);
            _values.Clear();
        }

        // A scalar's value stands right before its code, that of a vector, real or string before a space.
        private void Keep(ReadOnlySpan<byte> line)
        {
            int space = line.LastIndexOf((byte)' ');
            ReadOnlySpan<byte> code = line[0] is (byte)'$' ? default : space < 0 ? line[1..] : line[(space + 1)..];
            if (code.IsEmpty || code.Length > _code.Length)
            {
                return;
            }

            int length = Encoding.ASCII.GetChars(code, _code);
            ReadOnlySpan<char> key = _code.AsSpan(0, length);
            if (_byCode.TryGetValue(key, out byte[]? former) && former.Length == line.Length)
            {
                line.CopyTo(former);
            }
            else
            {
                _byCode[key] = line.ToArray();
            }
        }

        private void Write(ReadOnlySpan<byte> line)
        {
            _output.Write(line);
            _output.WriteByte((byte)'\n');
        }

        private bool Next(out ReadOnlySpan<byte> line)
        {
            while (true)
            {
                ReadOnlySpan<byte> text = _buffer.AsSpan(_from, _to - _from);
                int length = text.IndexOf((byte)'\n');
                if (length >= 0)
                {
                    line = text[..length];
                    _from += length + 1;
                    _line++;
                    return _last is null || !line.SequenceEqual(_last);
                }

                text.CopyTo(_buffer);
                _to = text.Length;
                _from = 0;
                int read = _to < _buffer.Length
                    ? _source.Read(_buffer, _to, _buffer.Length - _to)
                    : throw new WaveformException(_line + 1, $"longer than {LongestLine} characters");
                if (read == 0)
                {
                    line = default;
                    return false;
                }

                _to += read;
            }
        }

        private ulong Unit(string text)
        {
            string scale = text.Replace("$timescale", "", StringComparison.Ordinal).Replace("$end", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal);
            string digits = new([.. scale.TakeWhile(char.IsAsciiDigit)]);
            ulong unit = scale[digits.Length..] switch
            {
                "fs" => 1,
                "ps" => 1000,
                "ns" => FemtosecondsPerNanosecond,
                "us" => 1000 * FemtosecondsPerNanosecond,
                "ms" => 1_000_000 * FemtosecondsPerNanosecond,
                "s" => 1_000_000_000 * FemtosecondsPerNanosecond,
                _ => 0,
            };
            return unit != 0 && digits is "1" or "10" or "100"
                ? unit * ulong.Parse(digits, System.Globalization.CultureInfo.InvariantCulture)
                : throw new WaveformException(_line, $"found the timescale '{scale}'; expected 1, 10 or 100 s, ms, us, ns, ps or fs");
        }
    }
}
