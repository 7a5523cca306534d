// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Cosim.Waveforms;

/// <summary>Puts the beats of one stream together to packets.</summary>
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

    public string Name => stream.Name;

    /// <summary>Takes the beat of this cycle, if one moves; gives the description of the packet that it ends.</summary>
    public string? Take()
    {
        if (!valid.Is('1') || !ready.Is('1'))
        {
            return null;
        }

        ReadOnlySpan<byte> kept = keep.Settled;
        ReadOnlySpan<byte> bits = data.Settled;
        int dwords = kept.Length - 1 - kept.LastIndexOfAnyExcept((byte)'1');
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
}
