// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga.Model;

/// <summary>The two streams of one port: when beats move, and nothing of what they mean.</summary>
internal sealed class ModelPort
{
    /// <summary>A time that never comes.</summary>
    public const ulong Never = ulong.MaxValue;

    private const int BeatBytes = 32;

    private readonly int number;
    private readonly int headerBytes;
    private readonly ModelPacketPool pool;
    private readonly ModelPacketQueue input = new();
    private readonly ModelPacketQueue output = new();
    private ModelPacket? arriving;
    private ulong arrivingEnd;
    private ulong receiverFree;

    public ModelPort(int number, int headerBytes, ModelPacketPool pool)
    {
        this.number = number;
        this.headerBytes = headerBytes;
        this.pool = pool;
    }

    /// <summary>First cycle in which another packet's first beat can leave.</summary>
    public ulong SenderFree { get; private set; }

    /// <summary>Queues an input.</summary>
    public void Offer(ReadOnlySpan<byte> bytes, ulong notBefore)
    {
        ModelPacket packet = pool.Rent(number, bytes.Length);
        bytes.CopyTo(packet.Buffer);
        packet.Time = notBefore;
        input.EnqueueByTime(packet);
    }

    /// <summary>Cycle of the next thing to happen on the receiving side, seen from <paramref name="now"/>.</summary>
    public ulong NextArrival(ulong now, bool ready)
    {
        if (arriving is not null)
        {
            return arrivingEnd;
        }

        return ready && input.Count > 0 ? Math.Max(now, Math.Max(receiverFree, input.Peek().Time)) : Never;
    }

    /// <summary>Moves the beats of cycle <paramref name="now"/>; the packet whose last beat it was, to be given back to the pool, or null.</summary>
    public ModelPacket? Receive(ulong now, bool ready)
    {
        if (arriving is null && ready && input.Count > 0 && receiverFree <= now && input.Peek().Time <= now)
        {
            arriving = input.Dequeue();
            arrivingEnd = now + Beats(arriving.Length) - 1;
        }

        if (arriving is null || arrivingEnd > now)
        {
            return null;
        }

        ModelPacket packet = arriving;
        arriving = null;
        receiverFree = now + 1;
        return packet;
    }

    /// <summary>Queues an output of <paramref name="length"/> bytes whose first beat leaves at <paramref name="ready"/> or as soon as the stream is free.</summary>
    /// <param name="length">Header and payload in bytes.</param>
    /// <param name="ready">Earliest cycle of the first beat.</param>
    /// <param name="end">Cycle of the last beat.</param>
    /// <returns>The zeroed bytes to fill in.</returns>
    public Span<byte> Emit(int length, ulong ready, out ulong end)
    {
        ModelPacket packet = pool.Rent(number, length);
        end = Math.Max(SenderFree, ready) + Beats(length) - 1;
        SenderFree = end + 1;
        packet.Time = end;
        output.Enqueue(packet);
        return packet.Bytes;
    }

    /// <summary>Cycle of the last beat of the next output.</summary>
    public ulong NextDeparture => output.Count > 0 ? output.Peek().Time : Never;

    /// <summary>Takes the output whose last beat moved in cycle <paramref name="now"/>, or null.</summary>
    public ModelPacket? Depart(ulong now) => NextDeparture <= now ? output.Dequeue() : null;

    /// <summary>Drops every packet.</summary>
    public void Reset(ulong now)
    {
        if (arriving is not null)
        {
            pool.Return(arriving);
            arriving = null;
        }

        while (input.Count > 0)
        {
            pool.Return(input.Dequeue());
        }

        while (output.Count > 0)
        {
            pool.Return(output.Dequeue());
        }

        receiverFree = now;
        SenderFree = now;
    }

    private ulong Beats(int length) => 1 + (ulong)((length - headerBytes + BeatBytes - 1) / BeatBytes);
}
