// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Model;

/// <summary>One packet on its way into or out of the model; pooled.</summary>
internal sealed class ModelPacket
{
    /// <summary>Holds the packet; may be longer than it.</summary>
    public byte[] Buffer = [];

    /// <summary>Bytes in use.</summary>
    public int Length;

    /// <summary>Input: earliest cycle of the first beat. Output: cycle of the last beat.</summary>
    public ulong Time;

    /// <summary>Port it belongs to.</summary>
    public int Port;

    /// <summary>The bytes in use.</summary>
    public Span<byte> Bytes => Buffer.AsSpan(0, Length);
}

/// <summary>Packets in order, in a ring that grows and never shrinks.</summary>
internal sealed class ModelPacketQueue
{
    private ModelPacket?[] ring = new ModelPacket?[16];
    private int head;

    /// <summary>Packets inside.</summary>
    public int Count { get; private set; }

    /// <summary>The oldest packet.</summary>
    public ModelPacket Peek() => ring[head]!;

    /// <summary>Adds at the end.</summary>
    public void Enqueue(ModelPacket packet)
    {
        MakeRoom();
        ring[(head + Count) & (ring.Length - 1)] = packet;
        Count++;
    }

    /// <summary>Adds behind every packet whose time is not later.</summary>
    public void EnqueueByTime(ModelPacket packet)
    {
        MakeRoom();
        int mask = ring.Length - 1;
        int at = Count++;
        while (at > 0 && ring[(head + at - 1) & mask]!.Time > packet.Time)
        {
            ring[(head + at) & mask] = ring[(head + at - 1) & mask];
            at--;
        }

        ring[(head + at) & mask] = packet;
    }

    /// <summary>Takes the oldest packet.</summary>
    public ModelPacket Dequeue()
    {
        ModelPacket packet = ring[head]!;
        ring[head] = null;
        head = (head + 1) & (ring.Length - 1);
        Count--;
        return packet;
    }

    private void MakeRoom()
    {
        if (Count < ring.Length)
        {
            return;
        }

        var larger = new ModelPacket?[ring.Length * 2];
        for (int i = 0; i < Count; i++)
        {
            larger[i] = ring[(head + i) & (ring.Length - 1)];
        }

        ring = larger;
        head = 0;
    }
}

/// <summary>Free packets, in two sizes: up to a maximum payload of 256 bytes, and up to the longest packet there is.</summary>
internal sealed class ModelPacketPool
{
    /// <summary>Longest packet: a management header and 4 KiB.</summary>
    public const int LongestPacket = 32 + 4096;

    private const int ShortPacket = 32 + 256;

    private readonly Stack<ModelPacket> shortOnes = new();
    private readonly Stack<ModelPacket> longOnes = new();

    /// <summary>A packet of <paramref name="length"/> bytes, all zero.</summary>
    public ModelPacket Rent(int port, int length)
    {
        bool isShort = length <= ShortPacket;
        Stack<ModelPacket> free = isShort ? shortOnes : longOnes;
        if (!free.TryPop(out ModelPacket? packet))
        {
            packet = new ModelPacket { Buffer = new byte[isShort ? ShortPacket : LongestPacket] };
        }

        packet.Port = port;
        packet.Length = length;
        packet.Bytes.Clear();
        return packet;
    }

    /// <summary>Gives a packet back.</summary>
    public void Return(ModelPacket packet) =>
        (packet.Buffer.Length == ShortPacket ? shortOnes : longOnes).Push(packet);
}
