// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Runtime.InteropServices;

namespace Cosim.Waveforms;

/// <summary>Follows one stream: says what it does in each cycle and puts its beats together to packets.</summary>
internal sealed class PacketGatherer
{
    private const int PacketBytesMax = 1 << 16;

    private readonly WaveStream stream;
    private readonly SampledVariable data;
    private readonly SampledVariable keep;
    private readonly SampledVariable last;
    private readonly SampledVariable valid;
    private readonly SampledVariable ready;
    private readonly byte[] beat;
    private readonly List<byte> packet = [];
    private bool unknown;

    public PacketGatherer(WaveStream stream, SampledVariable data, SampledVariable keep, SampledVariable last, SampledVariable valid, SampledVariable ready)
    {
        if (data.Bits.Length != keep.Bits.Length * 32 || stream.HeaderBytes > data.Bits.Length / 8)
        {
            throw new WaveformException(0, $"stream {stream.Name} has {data.Bits.Length} bits of data and {keep.Bits.Length} of keep; expected 32 to 1, and {stream.HeaderBytes} bytes of header in a beat.");
        }

        this.stream = stream;
        this.data = data;
        this.keep = keep;
        this.last = last;
        this.valid = valid;
        this.ready = ready;
        beat = new byte[data.Bits.Length / 8];
    }

    /// <summary>Whether a beat moves in this cycle.</summary>
    public bool Moves => valid.Is('1') && ready.Is('1');

    /// <summary>What the stream does in this cycle, as <see cref="CanonicalWave"/> says.</summary>
    public string State()
    {
        if (valid.Is('0'))
        {
            return ready.Is('0') ? "closed" : ready.Is('1') ? "idle" : "x";
        }

        if (!valid.Is('1') || !(ready.Is('0') || ready.Is('1')))
        {
            return "x";
        }

        using StringWriter text = new(CultureInfo.InvariantCulture);
        if (ready.Is('0'))
        {
            text.Write("wait ");
        }

        ReadOnlySpan<byte> kept = keep.Settled;
        int dwords = Dwords(kept);
        for (int i = 0; i < dwords; i++)
        {
            text.Write(i > 0 ? " " : "");
            WaveValue.Write(data.Settled[^((i + 1) * 32)..^(i * 32)], text);
        }

        if (dwords == 0 || kept[^dwords..].ContainsAnyExcept((byte)'1'))
        {
            text.Write(dwords == 0 ? "keep " : " keep ");
            WaveValue.Write(kept, text);
        }

        text.Write(last.Is('1') ? " last" : last.Is('0') ? "" : " x");
        return text.ToString();
    }

    /// <summary>Takes the beat of this cycle, if one moves; gives the description of the packet that it ends.</summary>
    public string? Take()
    {
        if (!Moves || stream.Describe is null)
        {
            return null;
        }

        ReadOnlySpan<byte> kept = keep.Settled;
        ReadOnlySpan<byte> bits = data.Settled;
        int dwords = Dwords(kept);
        int bytes = packet.Count == 0 ? stream.HeaderBytes : dwords * 4;
        unknown |= kept.ContainsAnyExcept((byte)'0', (byte)'1') || bits[^(dwords * 32)..].ContainsAnyExcept((byte)'0', (byte)'1');
        for (int i = 0; i < bytes; i++)
        {
            int value = 0;
            for (int bit = 0; bit < 8; bit++)
            {
                value |= i < dwords * 4 && bits[^((i * 8) + bit + 1)] == '1' ? 1 << bit : 0;
            }

            beat[i] = (byte)value;
        }

        if (packet.Count + bytes <= PacketBytesMax)
        {
            packet.AddRange(beat.AsSpan(0, bytes));
        }

        if (!last.Is('1'))
        {
            return null;
        }

        string text = unknown ? "a packet with unknown bits" : stream.Describe(CollectionsMarshal.AsSpan(packet));
        packet.Clear();
        unknown = false;
        return text.ReplaceLineEndings(" ");
    }

    /// <summary>Number of DWs up to the highest that is kept.</summary>
    private static int Dwords(ReadOnlySpan<byte> kept)
    {
        int highest = kept.IndexOfAnyExcept((byte)'0');
        return highest < 0 ? 0 : kept.Length - highest;
    }
}
