// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Buffers.Text;
using System.Text;

namespace Cosim.Scheduling.Stimuli;

/// <summary>Writes the lines of <c>hdl/STIMULI.md</c> into a buffer; each begins at the buffer's begin and ends in LF.</summary>
internal static class StimuliText
{
    /// <summary>Room that every line fits into.</summary>
    public const int LineRoom = StimuliFormat.MaxLineBytes + 1;

    // Words are written with their comment at least this far to the right, so that comments stand in a column.
    private const int CommentColumn = 64;
    private const int LongestComment = 400;

    public static string Head(RecordingHead head)
    {
        StringBuilder text = new();
        _ = text.Append("cosim-stimuli ").Append(StimuliFormat.Version).Append('\n')
            .Append("fpga ").Append(head.Fpga).Append('\n')
            .Append("ports ").Append(head.Ports).Append('\n')
            .Append("top ").Append(head.Top).Append('\n');
        foreach ((string name, uint value) in head.Generics)
        {
            _ = text.Append("generic ").Append(name).Append(' ').Append(value).Append('\n');
        }

        return text.Append("pause ").Append(head.Pauses.Seed).Append(' ').Append(head.Pauses.Into).Append(' ').Append(head.Pauses.OutOf).Append('\n').ToString();
    }

    public static int Input(Span<byte> line, int port, ulong cycle, ReadOnlySpan<ulong> seen, ReadOnlySpan<byte> packet, bool comment)
    {
        "in "u8.CopyTo(line);
        int at = Number(line, 3, (ulong)port);
        at = Number(line, at, cycle);
        foreach (ulong count in seen)
        {
            at = Number(line, at, count);
        }

        return Packet(line, at, port, packet, comment);
    }

    public static int Output(Span<byte> line, int port, ulong cycle, ReadOnlySpan<byte> packet, bool comment)
    {
        "out "u8.CopyTo(line);
        int at = Number(line, 4, (ulong)port);
        at = Number(line, at, cycle);
        return Packet(line, at, port, packet, comment);
    }

    public static int Reset(Span<byte> line, ulong cycle) => Line(line, "reset "u8, cycle);

    public static int Start(Span<byte> line, ulong cycle) => Line(line, "start "u8, cycle);

    public static int End(Span<byte> line, ulong cycle, ulong inputs, ulong outputs)
    {
        "end "u8.CopyTo(line);
        int at = Number(line, 4, cycle);
        at = Number(line, at, inputs);
        at = Number(line, at, outputs);
        line[at - 1] = (byte)'\n';
        return at;
    }

    private static int Line(Span<byte> line, ReadOnlySpan<byte> keyword, ulong cycle)
    {
        keyword.CopyTo(line);
        int at = Number(line, keyword.Length, cycle);
        line[at - 1] = (byte)'\n';
        return at;
    }

    // A number and a space.
    private static int Number(Span<byte> line, int at, ulong value)
    {
        _ = Utf8Formatter.TryFormat(value, line[at..], out int written);
        line[at + written] = (byte)' ';
        return at + written + 1;
    }

    private static int Packet(Span<byte> line, int at, int port, ReadOnlySpan<byte> packet, bool comment)
    {
        int headerBytes = StimuliFormat.HeaderBytes(port);
        // Fmt bit 0: four header DWs.
        int header = port == StimuliFormat.ManagementPort || (packet[3] & 0x20) != 0 ? headerBytes : 12;
        at = Words(line, at, packet[..header]);
        if (packet.Length > headerBytes)
        {
            at = Words(line, at, packet[headerBytes..]);
        }

        if (comment)
        {
            line[(at - 1)..Math.Max(at, CommentColumn)].Fill((byte)' ');
            at = Math.Max(at, CommentColumn);
            "# "u8.CopyTo(line[at..]);
            at += 2;
            string text = PacketText.Format(port, packet);
            at += Encoding.ASCII.GetBytes(text.AsSpan(0, Math.Min(text.Length, LongestComment)), line[at..]) + 1;
        }

        line[at - 1] = (byte)'\n';
        return at;
    }

    // A colon and the words, each with a space after it.
    private static int Words(Span<byte> line, int at, ReadOnlySpan<byte> bytes)
    {
        line[at] = (byte)':';
        line[at + 1] = (byte)' ';
        Span<byte> text = line[(at + 2)..];
        int words = bytes.Length / 4;
        for (int i = 0; i < words; i++)
        {
            Span<byte> word = text.Slice(9 * i, 9);
            BinaryPrimitives.WriteUInt64BigEndian(word, Digits(BinaryPrimitives.ReadUInt32LittleEndian(bytes[(4 * i)..])));
            word[8] = (byte)' ';
        }

        return at + 2 + (9 * words);
    }

    // Eight hexadecimal digits, the most significant one in the most significant byte; all at once, for a payload is mostly these.
    private static ulong Digits(uint word)
    {
        ulong nibbles = word;
        nibbles = (nibbles | (nibbles << 16)) & 0x0000_FFFF_0000_FFFF;
        nibbles = (nibbles | (nibbles << 8)) & 0x00FF_00FF_00FF_00FF;
        nibbles = (nibbles | (nibbles << 4)) & 0x0F0F_0F0F_0F0F_0F0F;
        ulong letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        return nibbles + 0x3030_3030_3030_3030 + (letters * ('a' - '9' - 1));
    }
}
