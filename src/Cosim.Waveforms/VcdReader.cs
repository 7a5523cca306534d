// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Cosim.Waveforms;

/// <summary>What <see cref="VcdReader.Read"/> has found.</summary>
public enum VcdItem
{
    /// <summary>Nothing yet, or the end of the file.</summary>
    None,

    /// <summary>Simulation time has moved on to <see cref="VcdReader.Time"/>.</summary>
    Time,

    /// <summary>A variable of bits has taken <see cref="VcdReader.Value"/>.</summary>
    Change,

    /// <summary>A variable of text has taken <see cref="VcdReader.Value"/>.</summary>
    TextChange,
}

/// <summary>Reads a four-state value change dump from front to back in bounded memory (IEEE 1364-2005, 18.2).</summary>
/// <remarks>
/// The declarations are read when the reader is made, one item with each <see cref="Read"/> after that, without allocating.
/// Changes of reals are passed over, as are comments and keywords that the standard does not know. GHDL's nine values of
/// std_ulogic are taken (L is 0, H is 1, Z is z and the others are x), and so are its strings, with which it writes
/// enumerations. Whatever else is not in the standard is an error with its line.
/// </remarks>
public sealed class VcdReader
{
    private const int CodeCharactersMax = 16;
    private const int TokenBytesMin = 1 << 16;

    private readonly Stream stream;
    private readonly VcdLimits limits;
    private readonly List<VcdVariable> variables = [];
    private readonly Dictionary<UInt128, int> codes = [];
    private readonly List<(int Width, VcdValueKind Kind)> declared = [];
    private byte[] buffer = new byte[TokenBytesMin];
    private byte[] raw = new byte[64];
    private byte[] value = new byte[64];
    private int at;
    private int end;
    private int width;
    private long line = 1;
    private bool timeSeen;

    /// <summary>Reads the declarations.</summary>
    /// <param name="stream">The file; stays open and stays the caller's.</param>
    /// <param name="limits">Limits other than the usual ones.</param>
    /// <exception cref="WaveformException">The declarations are not as the standard wants them, or a limit is exceeded.</exception>
    public VcdReader(Stream stream, VcdLimits? limits = null)
    {
        this.stream = stream;
        this.limits = limits ?? new VcdLimits();
        ReadDeclarations();
    }

    /// <summary>Unit of <see cref="Time"/> in femtoseconds; 0 where the file names none.</summary>
    public ulong TimescaleFemtoseconds { get; private set; }

    /// <summary>All declared variables in the file's order.</summary>
    public IReadOnlyList<VcdVariable> Variables => variables;

    /// <summary>Number of different identifier codes.</summary>
    public int Codes => declared.Count;

    /// <summary>What the last <see cref="Read"/> has found.</summary>
    public VcdItem Item { get; private set; }

    /// <summary>Simulation time in units of the timescale; 0 before the first one.</summary>
    public ulong Time { get; private set; }

    /// <summary>Number of the identifier code that has changed, as in <see cref="VcdVariable.Code"/>.</summary>
    public int Code { get; private set; }

    /// <summary>
    /// The new value, leftmost bit first, as long as the variable is wide: the characters 0, 1, x and z; of text, its
    /// characters. Valid until the next <see cref="Read"/>.
    /// </summary>
    public ReadOnlySpan<byte> Value => value.AsSpan(0, width);

    /// <summary>Line reached, counted from 1.</summary>
    public long Line => line;

    /// <summary>Goes on to the next time or change; false at the end of the file.</summary>
    /// <exception cref="WaveformException">The file is not as the standard wants it.</exception>
    public bool Read()
    {
        for (ReadOnlySpan<byte> token = Token(); !token.IsEmpty; token = Token())
        {
            switch (token[0])
            {
                case (byte)'#':
                    MoveTime(token[1..]);
                    Item = VcdItem.Time;
                    return true;
                case (byte)'b' or (byte)'B':
                    if (ReadVector(token[1..]))
                    {
                        return true;
                    }

                    break;
                case (byte)'r' or (byte)'R':
                    _ = Known(Expect("an identifier code after a real"));
                    break;
                case (byte)'s' or (byte)'S':
                    if (ReadText(token[1..]))
                    {
                        return true;
                    }

                    break;
                case (byte)'$':
                    PassKeyword(token);
                    break;
                default:
                    if (ReadScalar(token))
                    {
                        return true;
                    }

                    break;
            }
        }

        Item = VcdItem.None;
        return false;
    }

    /// <summary>One of nine values of a bit in four-state form; false for any other character.</summary>
    private static bool TryBit(byte character, out byte bit)
    {
        bit = character switch
        {
            (byte)'0' or (byte)'L' or (byte)'l' => (byte)'0',
            (byte)'1' or (byte)'H' or (byte)'h' => (byte)'1',
            (byte)'z' or (byte)'Z' => (byte)'z',
            (byte)'x' or (byte)'X' or (byte)'U' or (byte)'u' or (byte)'W' or (byte)'w' or (byte)'-' => (byte)'x',
            _ => 0,
        };
        return bit != 0;
    }

    private static string Text(ReadOnlySpan<byte> token)
        => Encoding.Latin1.GetString(token.Length > 40 ? token[..40] : token) + (token.Length > 40 ? "..." : "");

    private void MoveTime(ReadOnlySpan<byte> digits)
    {
        if (!ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out ulong time))
        {
            throw Wrong($"time '#{Text(digits)}'; expected a decimal number of 64 bits");
        }

        if (timeSeen && time < Time)
        {
            throw Wrong($"time {time} after {Time}; expected time to go forward");
        }

        Time = time;
        timeSeen = true;
    }

    private bool ReadScalar(ReadOnlySpan<byte> token)
    {
        if (!TryBit(token[0], out byte bit))
        {
            throw Wrong($"'{Text(token)}'; expected a time, a value change or a keyword");
        }

        if (token.Length == 1)
        {
            throw Wrong("a value without an identifier code; expected both without a space between");
        }

        int code = Known(token[1..]);
        raw[0] = bit;
        return Take(code, 1);
    }

    private bool ReadVector(ReadOnlySpan<byte> digits)
    {
        if (digits.IsEmpty)
        {
            throw Wrong("'b' without a digit; expected a binary value");
        }

        // The identifier code's token takes the place of this one in the buffer.
        if (raw.Length < digits.Length)
        {
            raw = new byte[Math.Max(digits.Length, raw.Length * 2)];
        }

        for (int i = 0; i < digits.Length; i++)
        {
            if (!TryBit(digits[i], out raw[i]))
            {
                throw Wrong($"'b{Text(digits)}'; expected binary digits");
            }
        }

        int length = digits.Length;
        return Take(Known(Expect("an identifier code after a vector")), length);
    }

    private bool ReadText(ReadOnlySpan<byte> text)
    {
        // The identifier code's token takes the place of this one in the buffer.
        if (value.Length < text.Length)
        {
            value = new byte[Math.Max(text.Length, value.Length * 2)];
        }

        text.CopyTo(value);
        int length = text.Length;
        int code = Known(Expect("an identifier code after a string"));
        if (declared[code].Kind != VcdValueKind.Text)
        {
            return false;
        }

        width = length;
        Code = code;
        Item = VcdItem.TextChange;
        return true;
    }

    /// <summary>Makes the digits in <see cref="raw"/> the value of a code; false if it is a real's or string's.</summary>
    private bool Take(int code, int length)
    {
        (int bits, VcdValueKind kind) = declared[code];
        if (kind != VcdValueKind.Bits)
        {
            return false;
        }

        if (length > bits)
        {
            throw Wrong($"a value of {length} bits; expected at most {bits}, as declared");
        }

        // Left of a short value stand zeros, or more of an x or z (18.2.1).
        byte extension = raw[0] is (byte)'x' or (byte)'z' ? raw[0] : (byte)'0';
        value.AsSpan(0, bits - length).Fill(extension);
        raw.AsSpan(0, length).CopyTo(value.AsSpan(bits - length));
        width = bits;
        Code = code;
        Item = VcdItem.Change;
        return true;
    }

    private void PassKeyword(ReadOnlySpan<byte> keyword)
    {
        // What stands between a dump keyword and its $end are ordinary changes.
        if (keyword.SequenceEqual("$dumpvars"u8) || keyword.SequenceEqual("$dumpall"u8) || keyword.SequenceEqual("$dumpon"u8)
            || keyword.SequenceEqual("$dumpoff"u8) || keyword.SequenceEqual("$end"u8))
        {
            return;
        }

        PassToEnd();
    }

    private void ReadDeclarations()
    {
        List<string> scopes = [""];
        long nameCharacters = 0;
        for (ReadOnlySpan<byte> token = Token(); !token.IsEmpty; token = Token())
        {
            if (token[0] != (byte)'$')
            {
                throw Wrong($"'{Text(token)}' among the declarations; expected a keyword");
            }

            if (token.SequenceEqual("$enddefinitions"u8))
            {
                PassToEnd();
                value = new byte[Math.Max(1, declared.Count == 0 ? 0 : declared.Max(d => d.Width))];
                return;
            }

            if (token.SequenceEqual("$scope"u8))
            {
                _ = Expect("a scope type");
                string path = SignalPath.Append(scopes[^1], Encoding.Latin1.GetString(Expect("a scope name")));
                Count(ref nameCharacters, path);
                scopes.Add(path);
                if (scopes.Count > limits.Depth)
                {
                    throw Wrong($"more than {limits.Depth} nested scopes");
                }

                PassToEnd();
            }
            else if (token.SequenceEqual("$upscope"u8))
            {
                if (scopes.Count == 1)
                {
                    throw Wrong("$upscope outside of any scope");
                }

                scopes.RemoveAt(scopes.Count - 1);
                PassToEnd();
            }
            else if (token.SequenceEqual("$var"u8))
            {
                VcdVariable variable = ReadVariable(scopes[^1]);
                Count(ref nameCharacters, variable.Path);
                variables.Add(variable);
            }
            else if (token.SequenceEqual("$timescale"u8))
            {
                ReadTimescale();
            }
            else
            {
                PassToEnd();
            }
        }

        throw Wrong("the file ends among the declarations; expected $enddefinitions");
    }

    private void Count(ref long nameCharacters, string path)
    {
        nameCharacters += path.Length;
        if (nameCharacters > limits.NameCharacters)
        {
            throw Wrong($"names of more than {limits.NameCharacters} characters together");
        }
    }

    private VcdVariable ReadVariable(string scope)
    {
        if (variables.Count >= limits.Variables)
        {
            throw Wrong($"more than {limits.Variables} variables");
        }

        ReadOnlySpan<byte> type = Expect("a variable type");
        VcdValueKind kind = type.SequenceEqual("real"u8) || type.SequenceEqual("realtime"u8) ? VcdValueKind.Real
            : type.SequenceEqual("string"u8) ? VcdValueKind.Text : VcdValueKind.Bits;
        ReadOnlySpan<byte> size = Expect("a size");
        if (!int.TryParse(size, NumberStyles.None, CultureInfo.InvariantCulture, out int bits) || (bits == 0 && kind == VcdValueKind.Bits) || bits > limits.Bits)
        {
            throw Wrong($"a variable of '{Text(size)}' bits; expected 1 to {limits.Bits}");
        }

        UInt128 key = Key(Expect("an identifier code"));
        StringBuilder name = new();
        for (ReadOnlySpan<byte> token = Expect("a name"); !token.SequenceEqual("$end"u8); token = Expect("$end"))
        {
            if (name.Length > TokenBytesMin)
            {
                throw Wrong($"a name of more than {TokenBytesMin} characters");
            }

            name.Append(Encoding.Latin1.GetString(token));
        }

        if (name.Length == 0)
        {
            throw Wrong("a variable without a name");
        }

        if (!codes.TryGetValue(key, out int code))
        {
            code = declared.Count;
            codes.Add(key, code);
            declared.Add((bits, kind));
        }
        else if (declared[code] != (bits, kind))
        {
            throw Wrong($"{name} has {bits} bits, but its identifier code is that of a variable of {declared[code].Width}");
        }

        return new VcdVariable(SignalPath.Append(scope, name.ToString()), kind, bits, code);
    }

    private void ReadTimescale()
    {
        // "1 ns" or "1ns" (18.2.3.5).
        string text = "";
        for (ReadOnlySpan<byte> token = Expect("a time unit"); !token.SequenceEqual("$end"u8); token = Expect("$end"))
        {
            text = text.Length > 16 ? text : text + Text(token);
        }

        int digits = text.AsSpan().IndexOfAnyExceptInRange('0', '9');
        ulong magnitude = digits < 0 ? 0 : text[..digits] switch { "1" => 1, "10" => 10, "100" => 100, _ => 0ul };
        ulong unit = digits < 0 ? 0 : text[digits..] switch
        {
            "s" => 1_000_000_000_000_000,
            "ms" => 1_000_000_000_000,
            "us" => 1_000_000_000,
            "ns" => 1_000_000,
            "ps" => 1_000,
            "fs" => 1,
            _ => 0ul,
        };
        TimescaleFemtoseconds = magnitude * unit;
        if (TimescaleFemtoseconds == 0)
        {
            throw Wrong($"timescale '{text}'; expected 1, 10 or 100 and s, ms, us, ns, ps or fs");
        }
    }

    private int Known(ReadOnlySpan<byte> code)
        => codes.TryGetValue(Key(code), out int number) ? number : throw Wrong($"identifier code '{Text(code)}' is not declared");

    /// <summary>An identifier code as a number: codes are short in practice, and a change must not allocate.</summary>
    private UInt128 Key(ReadOnlySpan<byte> code)
    {
        if (code.Length > CodeCharactersMax || code.ContainsAnyExceptInRange((byte)'!', (byte)'~'))
        {
            throw Wrong($"identifier code '{Text(code)}'; expected 1 to {CodeCharactersMax} printable ASCII characters");
        }

        UInt128 key = 0;
        foreach (byte character in code)
        {
            key = (key << 8) | character;
        }

        return key;
    }

    private void PassToEnd()
    {
        while (!Expect("$end").SequenceEqual("$end"u8))
        {
        }
    }

    private ReadOnlySpan<byte> Expect(string what)
    {
        ReadOnlySpan<byte> token = Token();
        return token.IsEmpty ? throw Wrong($"the file ends; expected {what}") : token;
    }

    /// <summary>The next run of characters without white space, valid until the next call; empty at the end of the file.</summary>
    private ReadOnlySpan<byte> Token()
    {
        for (; ; at++)
        {
            if (at == end && !Fill())
            {
                return default;
            }

            if (buffer[at] > ' ')
            {
                break;
            }

            line += buffer[at] == '\n' ? 1 : 0;
        }

        int length = 0;
        for (; ; )
        {
            int rest = buffer.AsSpan(at + length, end - at - length).IndexOfAnyInRange((byte)0, (byte)' ');
            if (rest >= 0)
            {
                length += rest;
                break;
            }

            length = end - at;
            if (!Fill())
            {
                break;
            }
        }

        ReadOnlySpan<byte> token = buffer.AsSpan(at, length);
        at += length;
        return token;
    }

    /// <summary>Reads more behind what is there; false at the end of the file.</summary>
    private bool Fill()
    {
        if (at > 0)
        {
            buffer.AsSpan(at, end - at).CopyTo(buffer);
            end -= at;
            at = 0;
        }

        if (end == buffer.Length)
        {
            // The longest token is a vector's value.
            int most = Math.Max(TokenBytesMin, limits.Bits + 1);
            if (buffer.Length >= most + 1)
            {
                throw Wrong($"more than {most} characters without a space");
            }

            Array.Resize(ref buffer, Math.Min(buffer.Length * 2, most + 1));
        }

        int count = stream.Read(buffer, end, buffer.Length - end);
        end += count;
        return count > 0;
    }

    private WaveformException Wrong(string reason) => new(line, reason);
}
