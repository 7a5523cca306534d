// SPDX-License-Identifier: Apache-2.0
using System.Buffers;
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

    // Codes of up to three characters are looked up in a table; there are 839,514 of them.
    private const int CodeDigits = '~' - '!' + 1;
    private const int TwoCharacters = CodeDigits;
    private const int ThreeCharacters = TwoCharacters + (CodeDigits * CodeDigits);
    private const int FourCharacters = ThreeCharacters + (CodeDigits * CodeDigits * CodeDigits);

    // One of nine values of a bit in four-state form; 0 for any other character.
    private static readonly byte[] s_bits = [.. Enumerable.Range(0, 256).Select(c => (char)c switch
    {
        '0' or 'L' or 'l' => (byte)'0',
        '1' or 'H' or 'h' => (byte)'1',
        'z' or 'Z' => (byte)'z',
        'x' or 'X' or 'U' or 'u' or 'W' or 'w' or '-' => (byte)'x',
        _ => (byte)0,
    })];

    private static readonly SearchValues<byte> s_digits = SearchValues.Create("01LlHhzZxXUuWw-"u8);

    private readonly Stream stream;
    private readonly VcdLimits limits;
    private readonly List<VcdVariable> variables = [];
    private readonly Dictionary<UInt128, int> codes = [];
    private readonly List<(int Width, VcdValueKind Kind)> declared = [];
    private byte[] buffer = new byte[TokenBytesMin];
    private byte[] raw = new byte[64];
    private byte[] value = new byte[64];
    private int[] shortCodes = new int[TwoCharacters];
    private int[] widths = [];
    private VcdValueKind[] kinds = [];
    private bool[] followed = [];
    private int at;
    private int end;
    private int width;
    private long lines = 1;
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
    public long Line => lines + buffer.AsSpan(0, at).Count((byte)'\n');

    /// <summary>Leaves out the changes of all other variables, which is faster than to be told of them.</summary>
    /// <param name="wanted">Numbers of identifier codes.</param>
    public void Follow(IEnumerable<int> wanted)
    {
        followed.AsSpan().Clear();
        foreach (int code in wanted)
        {
            followed[code] = true;
        }
    }

    /// <summary>Goes on to the next time or change; false at the end of the file.</summary>
    /// <exception cref="WaveformException">The file is not as the standard wants it.</exception>
    public bool Read()
    {
        for (; ; )
        {
            while (at < end && buffer[at] <= ' ')
            {
                at++;
            }

            if (at == end)
            {
                if (Fill())
                {
                    continue;
                }

                Item = VcdItem.None;
                return false;
            }

            byte first = buffer[at];
            bool found = s_bits[first] != 0 ? ReadScalar(s_bits[first])
                : first is (byte)'b' or (byte)'B' ? ReadVector()
                : ReadOther(Token());
            if (found)
            {
                return true;
            }
        }
    }

    private bool ReadOther(ReadOnlySpan<byte> token)
    {
        switch (token[0])
        {
            case (byte)'#':
                MoveTime(token[1..]);
                Item = VcdItem.Time;
                return true;
            case (byte)'r' or (byte)'R':
                _ = Known(Expect("an identifier code after a real"));
                return false;
            case (byte)'s' or (byte)'S':
                return ReadText(token[1..]);
            case (byte)'$':
                PassKeyword(token);
                return false;
            case (byte)'p' when token.Length > 1:
                throw Wrong($"'{Text(token)}', a port's value of an extended VCD; evcd2vcd (package gtkwave) makes a four-state one of it");
            default:
                throw Wrong($"'{Text(token)}'; expected a time, a value change or a keyword");
        }
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

    private bool ReadScalar(byte bit)
    {
        int length = CodeEnd(at + 1);
        ReadOnlySpan<byte> code = length < 0 ? Token()[1..] : buffer.AsSpan(at + 1, length);
        at += length < 0 ? 0 : length + 1;
        if (code.IsEmpty)
        {
            throw Wrong("a value without an identifier code; expected both without a space between");
        }

        int number = Known(code);
        if (!followed[number])
        {
            return false;
        }

        raw[0] = bit;
        return Take(number, raw.AsSpan(0, 1));
    }

    private bool ReadVector()
    {
        int digitsStart = at + 1;
        int digitsLength = buffer.AsSpan(digitsStart, end - digitsStart).IndexOfAnyInRange((byte)0, (byte)' ');
        int codeStart = digitsStart + digitsLength + 1;
        while (digitsLength > 0 && codeStart < end && buffer[codeStart] <= ' ')
        {
            codeStart++;
        }

        int codeLength = digitsLength > 0 && codeStart < end ? CodeEnd(codeStart) : -1;
        if (codeLength > 0)
        {
            at = codeStart + codeLength;
            return ReadVector(buffer.AsSpan(digitsStart, digitsLength), buffer.AsSpan(codeStart, codeLength));
        }

        // The identifier code's token takes the place of this one in the buffer.
        ReadOnlySpan<byte> digits = Token()[1..];
        if (digits.IsEmpty)
        {
            throw Wrong("'b' without a digit; expected a binary value");
        }

        int length = digits.Length;
        Reserve(length);
        digits.CopyTo(raw);
        ReadOnlySpan<byte> code = Expect("an identifier code after a vector");
        return ReadVector(raw.AsSpan(0, length), code);
    }

    private bool ReadVector(Span<byte> digits, ReadOnlySpan<byte> code)
    {
        if (digits.ContainsAnyExcept(s_digits))
        {
            throw Wrong($"'b{Text(digits)}'; expected binary digits");
        }

        int number = Known(code);
        if (!followed[number])
        {
            return false;
        }

        if (digits.ContainsAnyExceptInRange((byte)'0', (byte)'1'))
        {
            Reserve(digits.Length);
            for (int i = 0; i < digits.Length; i++)
            {
                raw[i] = s_bits[digits[i]];
            }

            digits = raw.AsSpan(0, digits.Length);
        }

        return Take(number, digits);
    }

    private void Reserve(int length)
    {
        if (raw.Length < length)
        {
            raw = new byte[Math.Max(length, raw.Length * 2)];
        }
    }

    /// <summary>Length of the identifier code that begins at a place in the buffer; -1 if its end is not in the buffer.</summary>
    private int CodeEnd(int start)
    {
        int stop = start;
        while (stop < end && buffer[stop] > ' ')
        {
            stop++;
        }

        return stop < end ? stop - start : -1;
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
        ReadOnlySpan<byte> token = Expect("an identifier code after a string");
        while (!IsText(token) && at < end && buffer[at] is (byte)' ' or (byte)'\t')
        {
            // Some write texts with spaces in them.
            token = Expect("an identifier code after a string");
        }

        int code = Known(token);
        if (kinds[code] != VcdValueKind.Text || !followed[code])
        {
            return false;
        }

        width = length;
        Code = code;
        Item = VcdItem.TextChange;
        return true;
    }

    /// <summary>Makes digits the value of a code; false if it is a real's or string's.</summary>
    private bool Take(int code, ReadOnlySpan<byte> digits)
    {
        int bits = widths[code];
        if (kinds[code] != VcdValueKind.Bits)
        {
            return false;
        }

        if (digits.Length > bits)
        {
            throw Wrong($"a value of {digits.Length} bits; expected at most {bits}, as declared");
        }

        // Left of a short value stand zeros, or more of an x or z (18.2.1).
        if (digits.Length < bits)
        {
            value.AsSpan(0, bits - digits.Length).Fill(digits[0] is (byte)'x' or (byte)'z' ? digits[0] : (byte)'0');
        }

        digits.CopyTo(value.AsSpan(bits - digits.Length));
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
        List<(string Path, string Written)> scopes = [("", "")];
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
                widths = [.. declared.Select(d => d.Width)];
                kinds = [.. declared.Select(d => d.Kind)];
                followed = new bool[declared.Count];
                followed.AsSpan().Fill(true);
                value = new byte[Math.Max(1, widths.DefaultIfEmpty(0).Max())];
                return;
            }

            if (token.SequenceEqual("$scope"u8))
            {
                _ = Expect("a scope type");
                string name = Encoding.Latin1.GetString(Expect("a scope name"));
                string path = SignalPath.Append(scopes[^1].Path, name);
                Count(ref nameCharacters, path);
                scopes.Add((path, scopes[^1].Written.Length > 0 ? $"{scopes[^1].Written}.{name}" : name));
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
                VcdVariable variable = ReadVariable(scopes[^1].Path, scopes[^1].Written);
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

    private VcdVariable ReadVariable(string scope, string writtenScope)
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

        ReadOnlySpan<byte> text = Expect("an identifier code");
        UInt128 key = Key(text);
        int place = Place(text);
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

        int code = Find(place, key);
        if (code < 0)
        {
            code = declared.Count;
            Declare(place, key, code);
            declared.Add((bits, kind));
        }
        else if (declared[code].Kind != kind || (kind == VcdValueKind.Bits && declared[code].Width != bits))
        {
            throw Wrong($"'{Text(Encoding.Latin1.GetBytes(name.ToString()))}' has {bits} bits, but its identifier code is that of a variable of {declared[code].Width}");
        }

        string written = name.ToString();
        string path = SignalPath.Append(scope, written);
        if (path.Length == 0)
        {
            throw Wrong("a variable whose name is backslashes alone");
        }

        return new VcdVariable(path, kind, bits, code, writtenScope.Length > 0 ? $"{writtenScope}.{written}" : written);
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
    {
        int place = Place(code);
        int number = Find(place, place < 0 ? Key(code) : default);
        return number >= 0 ? number : throw Wrong($"identifier code '{Text(code)}' is not declared");
    }

    /// <summary>Number of a code by its place in the table, or else by its key; -1 if it is not declared.</summary>
    private int Find(int place, UInt128 key)
        => place >= 0 ? place < shortCodes.Length ? shortCodes[place] - 1 : -1 : codes.TryGetValue(key, out int number) ? number : -1;

    private bool IsText(ReadOnlySpan<byte> code)
    {
        int place = Place(code);
        int number = place >= 0 || IsCode(code) ? Find(place, place < 0 ? Key(code) : default) : -1;
        return number >= 0 && kinds[number] == VcdValueKind.Text;
    }

    /// <summary>Place of an identifier code of up to three characters in the table; -1 for others.</summary>
    private static int Place(ReadOnlySpan<byte> code)
    {
        uint first = code[0] - (uint)'!';
        uint second = code.Length > 1 ? code[1] - (uint)'!' : 0;
        uint third = code.Length > 2 ? code[2] - (uint)'!' : 0;
        return code.Length > 3 || first >= CodeDigits || second >= CodeDigits || third >= CodeDigits ? -1
            : code.Length == 1 ? (int)first
            : code.Length == 2 ? TwoCharacters + (int)((first * CodeDigits) + second)
            : ThreeCharacters + (int)((((first * CodeDigits) + second) * CodeDigits) + third);
    }

    private void Declare(int place, UInt128 key, int code)
    {
        if (place < 0)
        {
            codes.Add(key, code);
            return;
        }

        if (place >= shortCodes.Length)
        {
            Array.Resize(ref shortCodes, place < ThreeCharacters ? ThreeCharacters : FourCharacters);
        }

        shortCodes[place] = code + 1;
    }

    /// <summary>An identifier code as a number: codes are short in practice, and a change must not allocate.</summary>
    private UInt128 Key(ReadOnlySpan<byte> code)
    {
        if (!IsCode(code))
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

    private static bool IsCode(ReadOnlySpan<byte> code) => code.Length <= CodeCharactersMax && !code.ContainsAnyExceptInRange((byte)'!', (byte)'~');

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
            lines += buffer.AsSpan(0, at).Count((byte)'\n');
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

    private WaveformException Wrong(string reason) => new(Line, reason);
}
