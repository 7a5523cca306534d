// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling.Rings;

/// <summary>The copies of one queue: counts those under way, and keeps their ends from the queue's parts once it has stopped.</summary>
internal sealed class QueueDma
{
    private readonly DmaPort _dma;
    private readonly int _function;
    private readonly Action _ended;

    /// <summary>Makes it.</summary>
    /// <param name="dma">DMA engine.</param>
    /// <param name="function">Function of port 0 whose queue it is.</param>
    /// <param name="ended">Called after each end of a copy.</param>
    public QueueDma(DmaPort dma, int function, Action ended)
    {
        _dma = dma;
        _function = function;
        _ended = ended;
    }

    /// <summary>Copies under way.</summary>
    public int Outstanding { get; private set; }

    /// <summary>The parts hear of no end any more.</summary>
    public bool Stopped { get; set; }

    /// <summary>The engine as one part of the queue sees it.</summary>
    public Part For(IDmaClient client) => new(this, client);

    /// <summary>Copies of one part of the queue.</summary>
    internal sealed class Part(QueueDma queue, IDmaClient client) : IDmaClient
    {
        public void Read(DmaSpace space, ulong address, int length, uint context)
        {
            queue.Outstanding++;
            queue._dma.Read(space, Function(space), address, length, this, context);
        }

        public void Write(DmaSpace space, ulong address, ReadOnlySpan<byte> data, uint context)
        {
            queue.Outstanding++;
            queue._dma.Write(space, Function(space), address, data, this, context);
        }

        public void Copy(DmaSpace source, ulong from, DmaSpace destination, ulong to, uint length, uint context)
        {
            queue.Outstanding++;
            queue._dma.Copy(source, Function(source), from, destination, Function(destination), to, length, this, context);
        }

        public void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data)
        {
            queue.Outstanding--;
            if (!queue.Stopped)
            {
                client.CopyDone(context, status, data);
            }

            queue._ended();
        }

        private int Function(DmaSpace space) => space == DmaSpace.Host1 ? queue._function : 0;
    }
}
