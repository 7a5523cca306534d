// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Buffers.Text;
using System.IO.Compression;
using System.Text;
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>What a line of a recording's body is.</summary>
public enum StimulusKind
{
    /// <summary>No line has been read yet, or the file is over.</summary>
    None,

    /// <summary><c>start</c>: the FPGA ran already.</summary>
    Start,

    /// <summary><c>reset</c>.</summary>
    Reset,

    /// <summary><c>in</c>: a packet into the FPGA.</summary>
    Input,

    /// <summary><c>out</c>: a packet out of the FPGA.</summary>
    Output,

    /// <summary><c>end</c>.</summary>
    End,
}

/// <summary>Reads a recording (<c>hdl/STIMULI.md</c>) line by line, in bounded memory, and holds every line against the format.</summary>
/// <remarks>
/// The properties are those of the line read last. A file that ends without <c>end</c>, or within a line, was cut off: <see cref="Read"/>
/// then returns false as at the end, and <see cref="IsComplete"/> stays false. Everything else that is not as the format says is a
/// <see cref="StimuliException"/> whose message begins with file and line.
/// </remarks>
public sealed class StimuliReader : IDisposable
{
    private const int ReadBytes = 64 << 10;
    private const int ShownBytes = 32;

    private readonly string _name;
    private readonly Stream _stream;
    private readonly byte[] _buffer = new byte[ReadBytes + StimuliFormat.MaxLineBytes + 1];
    private readonly byte[] _packet = new byte[StimuliFormat.MaxPacketBytes];
    private readonly ulong[] _seen = new ulong[StimuliFormat.MaxPorts];
    private readonly ulong[] _lastSeen = new ulong[StimuliFormat.MaxPorts * StimuliFormat.MaxPorts];
    private readonly ulong[] _outputsOf = new ulong[StimuliFormat.MaxPorts];
    private int _from;
    private int _to;
    private bool _streamEnded;
    private int _packetBytes;
    private int _lineFrom;
    private int _lineTo;
    private int _lastOutputPort;
    private (StimulusKind Kind, ulong Cycle)? _firstBody;

    /// <summary>Opens a recording, gzip or not, and reads its head.</summary>
    /// <exception cref="StimuliException">It is not the head of a recording.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public StimuliReader(string path)
        : this(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0), path)
    {
    }

    /// <summary>Reads a recording from a stream, which is closed with the reader.</summary>
    /// <param name="stream">Text, or gzip of it; of gzip the stream must be one that can seek.</param>
    /// <param name="name">Name for messages.</param>
    public StimuliReader(Stream stream, string name)
    {
        _name = name;
        _stream = stream;
        try
        {
            _stream = Expand(stream);
            Head = ReadHead();
        }
        catch
        {
            _stream.Dispose();
            throw;
        }
    }

    /// <summary>The head; its first body line is what <see cref="Read"/> gives first.</summary>
    public RecordingHead Head { get; }

    /// <summary>Number of the line read last, from 1.</summary>
    public long Line { get; private set; }

    /// <summary>What the line is.</summary>
    public StimulusKind Kind { get; private set; }

    /// <summary>Port of a packet.</summary>
    public int Port { get; private set; }

    /// <summary>Cycle of the line.</summary>
    public ulong Cycle { get; private set; }

    /// <summary>Of an input: SEEN, by port.</summary>
    public ReadOnlySpan<ulong> Seen => _seen.AsSpan(0, Kind == StimulusKind.Input ? Head.Ports : 0);

    /// <summary>Header (16 bytes on PCIe ports, 32 on the management port) and payload; valid until the next <see cref="Read"/>.</summary>
    public ReadOnlySpan<byte> Packet => _packet.AsSpan(0, _packetBytes);

    /// <summary>Inputs read so far.</summary>
    public ulong Inputs { get; private set; }

    /// <summary>Outputs read so far.</summary>
    public ulong Outputs { get; private set; }

    /// <summary>Whether the <c>end</c> line was read.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>Name of the file, for messages.</summary>
    public string Name => _name;

    /// <summary>Reads the next line of the body.</summary>
    /// <returns>False at the end of the file, be it whole or cut off.</returns>
    /// <exception cref="StimuliException">The line is not as the format says.</exception>
    public bool Read()
    {
        if (_firstBody is not { } first)
        {
            return NextLine() ? Body() : Finish();
        }

        _firstBody = null;
        (Kind, Cycle) = first;
        return true;
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private Stream Expand(Stream stream)
    {
        // The two bytes that gzip begins with (RFC 1952, 2.3.1) begin no line of ours.
        int have = 0;
        while (have < 2)
        {
            int read = stream.Read(_buffer, have, 2 - have);
            if (read == 0)
            {
                break;
            }

            have += read;
        }

        if (have == 2 && _buffer[0] == 0x1F && _buffer[1] == 0x8B)
        {
            _ = stream.Seek(-2, SeekOrigin.Current);
            return new GZipStream(stream, CompressionMode.Decompress);
        }

        _to = have;
        return stream;
    }

    private bool Finish()
    {
        Kind = StimulusKind.None;
        _packetBytes = 0;
        return false;
    }

    // Finds the next line that says something; false: there is none any more.
    private bool NextLine()
    {
        while (true)
        {
            ReadOnlySpan<byte> text = _buffer.AsSpan(_from, _to - _from);
            int length = text.IndexOf((byte)'\n');
            if (length < 0 && text.Length <= StimuliFormat.MaxLineBytes && !_streamEnded)
            {
                Fill();
                continue;
            }

            if (length > StimuliFormat.MaxLineBytes || (length < 0 && text.Length > StimuliFormat.MaxLineBytes))
            {
                Line++;
                throw Error($"a line of more than {StimuliFormat.MaxLineBytes} characters");
            }

            if (length < 0)
            {
                // Without its LF a line was cut off.
                return false;
            }

            Line++;
            _lineFrom = _from;
            _lineTo = _from + length;
            _from = _lineTo + 1;
            ReadOnlySpan<byte> line = text[..length];
            int comment = line.IndexOf((byte)'#');
            if (!Ascii.IsValid(line))
            {
                throw Error("a byte that is not ASCII");
            }

            if (comment >= 0)
            {
                _lineTo = _lineFrom + comment;
            }

            while (_lineTo > _lineFrom && _buffer[_lineTo - 1] == ' ')
            {
                _lineTo--;
            }

            SkipSpaces();
            if (_lineFrom < _lineTo)
            {
                return IsComplete ? throw Error($"{Shown(Rest)} after the end line; expected nothing") : true;
            }
        }
    }

    private void Fill()
    {
        if (_from > 0)
        {
            _buffer.AsSpan(_from, _to - _from).CopyTo(_buffer);
            _to -= _from;
            _from = 0;
        }

        try
        {
            int read = _stream.Read(_buffer, _to, _buffer.Length - _to);
            _to += read;
            _streamEnded = read == 0;
        }
        catch (InvalidDataException e)
        {
            throw new StimuliException($"{_name}: after line {Line}: what follows is not gzip data: {e.Message}", e);
        }
    }

    private RecordingHead ReadHead()
    {
        if (!NextLine())
        {
            throw Error("the file is empty or was cut off in its first line; expected 'cosim-stimuli 1'");
        }

        if (!Keyword("cosim-stimuli"u8))
        {
            throw Error($"found {Shown(Rest)}; expected 'cosim-stimuli {StimuliFormat.Version}': this is no recording");
        }

        ulong version = Number("the version of the format", ulong.MaxValue);
        if (version != StimuliFormat.Version)
        {
            throw Error($"the version of the format is {version}; this program reads {StimuliFormat.Version}");
        }

        Ended();
        string? fpga = null;
        string? top = null;
        int ports = 0;
        LinkPauses? pauses = null;
        List<(string Name, uint Value)> generics = [];
        while (NextLine())
        {
            if (Keyword("fpga"u8))
            {
                Once(fpga is null, "fpga");
                fpga = Word("what it was recorded on");
                if (fpga is not ("model" or "verilator" or "ghdl"))
                {
                    throw Error($"recorded on {Shown(fpga)}; expected model, verilator or ghdl");
                }
            }
            else if (Keyword("ports"u8))
            {
                Once(ports == 0, "ports");
                ports = (int)Number("the number of ports", StimuliFormat.MaxPorts);
                if (ports == 0)
                {
                    throw Error($"0 ports; expected 1 to {StimuliFormat.MaxPorts}");
                }
            }
            else if (Keyword("top"u8))
            {
                Once(top is null, "top");
                top = Identifier("the top entity's name");
            }
            else if (Keyword("generic"u8))
            {
                string name = Identifier("a generic's name");
                if (generics.Exists(g => string.Equals(g.Name, name, StringComparison.OrdinalIgnoreCase)))
                {
                    throw Error($"a second value of the generic {Shown(name)}");
                }

                if (generics.Count == StimuliFormat.MaxGenerics)
                {
                    throw Error($"more than {StimuliFormat.MaxGenerics} generics");
                }

                generics.Add((name, (uint)Number("the value of a generic, a natural number", int.MaxValue)));
            }
            else if (Keyword("pause"u8))
            {
                Once(pauses is null, "pause");
                ulong seed = Number("the seed of the pauses", ulong.MaxValue);
                byte into = (byte)Number("RX pauses out of 256", 255);
                pauses = new LinkPauses(into, (byte)Number("TX pauses out of 256", 255), seed);
            }
            else
            {
                bool reset = Keyword("reset"u8);
                if (!reset && !Keyword("start"u8))
                {
                    throw Error($"found {Shown(Rest)}; expected fpga, ports, top, generic, pause, 'reset 0' or 'start CYCLE'");
                }

                Cycle = Number("a cycle", ulong.MaxValue);
                if (reset && Cycle != 0)
                {
                    throw Error($"the first reset is at cycle {Cycle}; expected 0, or 'start CYCLE' of a recording of a running FPGA");
                }

                Ended();
                _firstBody = (reset ? StimulusKind.Reset : StimulusKind.Start, Cycle);
                return new RecordingHead
                {
                    Fpga = fpga ?? throw Error("no 'fpga' line stands before this line"),
                    Ports = ports != 0 ? ports : throw Error("no 'ports' line stands before this line"),
                    Top = top ?? throw Error("no 'top' line stands before this line"),
                    Generics = generics,
                    Pauses = pauses ?? default,
                };
            }

            Ended();
        }

        throw Error("the file was cut off in its head; expected 'reset 0' or 'start CYCLE'");
    }

    private bool Body()
    {
        ulong former = Cycle;
        StimulusKind formerKind = Kind;
        _packetBytes = 0;
        if (Keyword("in"u8))
        {
            Kind = StimulusKind.Input;
            Port = (int)Number("a port", (ulong)Head.Ports - 1);
            Cycle = Number("a cycle", ulong.MaxValue);
            for (int i = 0; i < Head.Ports; i++)
            {
                ulong seen = Number($"SEEN of port {i}", ulong.MaxValue);
                ref ulong last = ref _lastSeen[(Port * StimuliFormat.MaxPorts) + i];
                if (seen < last)
                {
                    throw Error($"SEEN of port {i} is {seen}, and was {last} in an earlier input of port {Port}; it never falls");
                }

                if (seen > _outputsOf[i])
                {
                    throw Error($"SEEN of port {i} is {seen}, but only {_outputsOf[i]} outputs of that port stand before this line");
                }

                _seen[i] = last = seen;
            }

            ReadPacket();
            Inputs++;
        }
        else if (Keyword("out"u8))
        {
            Kind = StimulusKind.Output;
            Port = (int)Number("a port", (ulong)Head.Ports - 1);
            Cycle = Number("a cycle", ulong.MaxValue);
            ReadPacket();
            Outputs++;
            _outputsOf[Port]++;
        }
        else if (Keyword("reset"u8))
        {
            Kind = StimulusKind.Reset;
            Cycle = Number("a cycle", ulong.MaxValue);
        }
        else if (Keyword("end"u8))
        {
            Kind = StimulusKind.End;
            Cycle = Number("the cycle reached", ulong.MaxValue);
            ulong inputs = Number("the number of inputs", ulong.MaxValue);
            ulong outputs = Number("the number of outputs", ulong.MaxValue);
            if ((inputs, outputs) != (Inputs, Outputs))
            {
                throw Error($"the end line counts {inputs} inputs and {outputs} outputs, but {Inputs} and {Outputs} stand before it");
            }

            IsComplete = true;
        }
        else
        {
            throw Error($"found {Shown(Rest)}; expected in, out, reset or end");
        }

        Ended();
        CheckOrder(formerKind, former);
        _lastOutputPort = Port;
        return true;
    }

    private void CheckOrder(StimulusKind formerKind, ulong former)
    {
        if (Cycle < former)
        {
            throw Error($"cycle {Cycle} after cycle {former}; lines stand in the order of their cycles");
        }

        if (Cycle > former || Kind == StimulusKind.End)
        {
            return;
        }

        // At one cycle: reset, out by port, in. An input in the cycle of a reset comes after it.
        if (Kind == StimulusKind.Reset && formerKind is StimulusKind.Input or StimulusKind.Output)
        {
            throw Error($"the reset of cycle {Cycle} after a packet of that cycle; it stands first");
        }

        if (Kind == StimulusKind.Output && formerKind == StimulusKind.Input)
        {
            throw Error($"an output of cycle {Cycle} after an input of that cycle; outputs stand first");
        }

        if (Kind == StimulusKind.Output && formerKind == StimulusKind.Output && Port <= _lastOutputPort)
        {
            throw Error($"an output of port {Port} after one of port {_lastOutputPort} in cycle {Cycle}; they stand in the order of ports, and a port ends one packet in a cycle");
        }
    }

    private void ReadPacket()
    {
        Colon("the header");
        int headerBytes = StimuliFormat.HeaderBytes(Port);
        int at = 0;
        while (_lineFrom < _lineTo && _buffer[_lineFrom] != ':')
        {
            if (at == headerBytes)
            {
                throw Error($"more than {headerBytes / 4} words in the header of a packet of port {Port}");
            }

            ReadWord(at);
            at += 4;
        }

        int expected = Port == StimuliFormat.ManagementPort ? 8 : at == 0 ? 3 : 3 + ((_packet[3] >> 5) & 1);
        if (at != expected * 4)
        {
            string why = Port == StimuliFormat.ManagementPort ? "as on the management port" : "as Fmt says";
            throw Error($"{at / 4} words in the header; expected {expected}, {why}");
        }

        _packet.AsSpan(at, headerBytes - at).Clear();
        at = headerBytes;
        if (_lineFrom < _lineTo)
        {
            Colon("the payload");
            if (_lineFrom == _lineTo)
            {
                throw Error("no word after the payload's colon; it is left out where there is no payload");
            }

            while (_lineFrom < _lineTo)
            {
                if (at == headerBytes + StimuliFormat.MaxPayloadBytes)
                {
                    throw Error($"more than {StimuliFormat.MaxPayloadBytes / 4} words of payload");
                }

                ReadWord(at);
                at += 4;
            }
        }

        _packetBytes = at;
    }

    private void ReadWord(int at)
    {
        ReadOnlySpan<byte> field = Field();
        uint value = 0;
        bool good = field.Length == 8;
        for (int i = 0; good && i < 8; i++)
        {
            int digit = HexDigit(field[i]);
            good = digit >= 0;
            value = (value << 4) | (uint)digit;
        }

        if (!good)
        {
            throw Error($"found {Shown(field)}; expected a word of exactly 8 hexadecimal digits");
        }

        BinaryPrimitives.WriteUInt32LittleEndian(_packet.AsSpan(at), value);
    }

    private static int HexDigit(byte c) => c switch
    {
        >= (byte)'0' and <= (byte)'9' => c - '0',
        >= (byte)'a' and <= (byte)'f' => c - 'a' + 10,
        >= (byte)'A' and <= (byte)'F' => c - 'A' + 10,
        _ => -1,
    };

    private ReadOnlySpan<byte> Rest => _buffer.AsSpan(_lineFrom, _lineTo - _lineFrom);

    private ReadOnlySpan<byte> Field()
    {
        ReadOnlySpan<byte> rest = Rest;
        int end = rest.IndexOf((byte)' ');
        ReadOnlySpan<byte> field = end < 0 ? rest : rest[..end];
        _lineFrom += field.Length;
        SkipSpaces();
        return field;
    }

    private void SkipSpaces()
    {
        while (_lineFrom < _lineTo && _buffer[_lineFrom] == ' ')
        {
            _lineFrom++;
        }
    }

    private bool Keyword(ReadOnlySpan<byte> keyword)
    {
        ReadOnlySpan<byte> rest = Rest;
        if (!rest.StartsWith(keyword) || (rest.Length > keyword.Length && rest[keyword.Length] != ' '))
        {
            return false;
        }

        _lineFrom += keyword.Length;
        SkipSpaces();
        return true;
    }

    private void Colon(string what)
    {
        ReadOnlySpan<byte> field = Field();
        if (field.Length != 1 || field[0] != ':')
        {
            throw Error($"found {Shown(field)}; expected ':' before {what}");
        }
    }

    private ulong Number(string what, ulong most)
    {
        ReadOnlySpan<byte> field = Field();
        if (field.IsEmpty || field[0] is not (>= (byte)'0' and <= (byte)'9')
            || !Utf8Parser.TryParse(field, out ulong value, out int used) || used != field.Length)
        {
            throw Error($"found {Shown(field)}; expected {what}, a decimal number");
        }

        return value <= most ? value : throw Error($"found {value}; expected {what}, at most {most}");
    }

    private string Word(string what)
    {
        ReadOnlySpan<byte> field = Field();
        return field.IsEmpty ? throw Error($"the line ends; expected {what}") : Encoding.ASCII.GetString(field);
    }

    private string Identifier(string what)
    {
        string name = Word(what);
        return char.IsAsciiLetter(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_')
            ? name
            : throw Error($"found {Shown(name)}; expected {what}, a VHDL identifier");
    }

    private void Once(bool first, string keyword)
    {
        if (!first)
        {
            throw Error($"a second '{keyword}' line");
        }
    }

    private void Ended()
    {
        if (_lineFrom < _lineTo)
        {
            throw Error($"found {Shown(Rest)}; expected the end of the line");
        }
    }

    private static string Shown(string word) => Shown(Encoding.ASCII.GetBytes(word));

    private static string Shown(ReadOnlySpan<byte> text)
    {
        if (text.IsEmpty)
        {
            return "the end of the line";
        }

        ReadOnlySpan<byte> shown = text[..Math.Min(text.Length, ShownBytes)];
        return string.Create(null, $"'{string.Concat(Encoding.ASCII.GetString(shown).Select(c => char.IsControl(c) ? $"\\x{(int)c:x2}" : c.ToString()))}{(shown.Length < text.Length ? "…" : "")}'");
    }

    private StimuliException Error(string what) => new($"{_name}:{Math.Max(Line, 1)}: {what}");
}
