// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling;

/// <summary>How a copy ended (<c>hdl/CONTRACT.md</c>, section 4; <see cref="Lost"/> is ours).</summary>
public enum CopyStatus : byte
{
    /// <summary>All bytes were moved.</summary>
    Ok = 0,

    /// <summary>The source answered Unsupported Request or Completer Abort.</summary>
    Refused = 1,

    /// <summary>The source did not answer.</summary>
    Timeout = 2,

    /// <summary>Bus Master Enable of the function is 0.</summary>
    BusMasterDisabled = 3,

    /// <summary>The command itself was wrong.</summary>
    BadCommand = 4,

    /// <summary>The FPGA was reset or lost before the copy ended.</summary>
    Lost = 255,
}

/// <summary>Where a copy's bytes are.</summary>
public enum DmaSpace : byte
{
    /// <summary>Memory of host 1, behind port 0.</summary>
    Host1 = 0,

    /// <summary>Memory of host 2, behind port 1.</summary>
    Host2 = 1,

    /// <summary>The FPGA's scratch memory.</summary>
    Scratch = 2,
}

/// <summary>Who waits for a copy.</summary>
public interface IDmaClient
{
    /// <summary>A copy ended.</summary>
    /// <param name="context">What the client gave with the copy.</param>
    /// <param name="status">How it ended.</param>
    /// <param name="data">For a read: at least the bytes asked for, if <paramref name="status"/> is Ok. Valid during the call.</param>
    void CopyDone(uint context, CopyStatus status, ReadOnlySpan<byte> data);
}

internal struct DmaCommand
{
    public DmaSpace Source;
    public DmaSpace Destination;
    public byte SourceFunction;
    public byte DestinationFunction;
    public ulong SourceAddress;
    public ulong DestinationAddress;
    public uint Length;
    public bool Return;
}

/// <summary>
/// Copies between the hosts' memories, made by the FPGA's DMA engine. Copies begin and end in the order in which they were asked for; a
/// read that has to see an earlier write is asked for after that write has ended.
/// </summary>
/// <remarks>Owned by the bridge's thread. Nothing is allocated per copy once the greatest backlog has been seen.</remarks>
public sealed class DmaPort
{
    /// <summary>Greatest length of one <see cref="Read"/> or <see cref="Write"/> in bytes.</summary>
    public const int MaxInline = 4096;

    /// <summary>Greatest length of one <see cref="Copy"/> in bytes.</summary>
    public const uint MaxCopy = 1 << 20;

    private const int MaxInFlight = 32;
    private const int MostKept = 4096;
    private const uint ScratchGranule = 32;

    private readonly ManagementPort _port;
    private readonly Entry[] _inFlight = new Entry[MaxInFlight];
    private readonly Queue<Entry> _waiting = new();
    private readonly Stack<Entry> _free = new();
    private uint _scratchBytes = 65536;
    private uint _scratchHead;
    private uint _scratchUsed;
    private ushort _issued;
    private ushort _finished;

    internal DmaPort(ManagementPort port) => _port = port;

    /// <summary>Sets the size of the FPGA's scratch memory in bytes; before the first copy.</summary>
    public void SetScratchSize(uint bytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bytes, 2u * MaxInline);
        _scratchBytes = bytes;
    }

    /// <summary>Copies from one host's memory to another's.</summary>
    /// <param name="source">Space to read.</param>
    /// <param name="sourceFunction">Function for which it is read.</param>
    /// <param name="sourceAddress">Address there.</param>
    /// <param name="destination">Space to write.</param>
    /// <param name="destinationFunction">Function for which it is written.</param>
    /// <param name="destinationAddress">Address there.</param>
    /// <param name="length">1 to <see cref="MaxCopy"/> bytes.</param>
    /// <param name="client">Who is told of the end.</param>
    /// <param name="context">Handed back to the client.</param>
    public void Copy(
        DmaSpace source, int sourceFunction, ulong sourceAddress, DmaSpace destination, int destinationFunction, ulong destinationAddress, uint length, IDmaClient client, uint context)
    {
        Entry entry = Take(client, context);
        entry.Command = new DmaCommand
        {
            Source = source,
            SourceFunction = (byte)sourceFunction,
            SourceAddress = sourceAddress,
            Destination = destination,
            DestinationFunction = (byte)destinationFunction,
            DestinationAddress = destinationAddress,
            Length = length,
        };
        Enqueue(entry);
    }

    /// <summary>Reads up to <see cref="MaxInline"/> bytes into <see cref="IDmaClient.CopyDone"/>'s data.</summary>
    public void Read(DmaSpace source, int function, ulong address, int length, IDmaClient client, uint context)
    {
        Entry entry = Take(client, context);
        entry.Command = new DmaCommand
        {
            Source = source,
            SourceFunction = (byte)function,
            SourceAddress = address,
            Destination = DmaSpace.Scratch,
            Length = (uint)length,
            Return = true,
        };
        entry.ScratchBytes = Granules((uint)length);
        Enqueue(entry);
    }

    /// <summary>Writes up to <see cref="MaxInline"/> bytes; they are copied before the call returns.</summary>
    public void Write(DmaSpace destination, int function, ulong address, ReadOnlySpan<byte> data, IDmaClient client, uint context)
    {
        Entry entry = Take(client, context);
        entry.Command = new DmaCommand
        {
            Source = DmaSpace.Scratch,
            Destination = destination,
            DestinationFunction = (byte)function,
            DestinationAddress = address,
            Length = (uint)data.Length,
        };
        entry.ScratchBytes = Granules((uint)data.Length);
        entry.SetData(data);
        Enqueue(entry);
    }

    internal void Done(ushort tag, CopyStatus status, ReadOnlySpan<byte> data)
    {
        if (_issued == _finished || tag != _finished)
        {
            _port.Report?.Invoke($"DMA_DONE with tag {tag}; expected {(_issued == _finished ? "none" : _finished)}");
            return;
        }

        Entry entry = _inFlight[_finished % MaxInFlight];
        _finished++;
        Release(entry);
        IDmaClient client = entry.Client!;
        uint context = entry.Context;
        bool isRead = entry.Command.Return;
        int length = (int)entry.Command.Length;
        Give(entry);
        if (isRead && status == CopyStatus.Ok && data.Length < length)
        {
            _port.Report?.Invoke($"DMA_DONE with {data.Length} bytes of payload; expected {length}");
            status = CopyStatus.BadCommand;
        }

        client.CopyDone(context, status, isRead && status == CopyStatus.Ok ? data[..length] : default);
        Issue();
    }

    internal void Abandon()
    {
        List<Entry> lost = [];
        for (; _finished != _issued; _finished++)
        {
            lost.Add(_inFlight[_finished % MaxInFlight]);
        }

        lost.AddRange(_waiting);
        _waiting.Clear();
        _issued = _finished = 0;
        foreach (Entry entry in lost)
        {
            (IDmaClient client, uint context) = (entry.Client!, entry.Context);
            Give(entry);
            client.CopyDone(context, CopyStatus.Lost, default);
        }
    }

    private static uint Granules(uint length) => (length + ScratchGranule - 1) & ~(ScratchGranule - 1);

    private Entry Take(IDmaClient client, uint context)
    {
        Entry entry = _free.TryPop(out Entry? old) ? old : new Entry();
        entry.Client = client;
        entry.Context = context;
        entry.ScratchBytes = 0;
        entry.ScratchPadding = 0;
        entry.DataLength = 0;
        return entry;
    }

    private void Give(Entry entry)
    {
        entry.Client = null;
        if (_free.Count < MostKept)
        {
            _free.Push(entry);
        }
    }

    private void Enqueue(Entry entry)
    {
        _waiting.Enqueue(entry);
        Issue();
    }

    private void Issue()
    {
        while ((ushort)(_issued - _finished) < MaxInFlight && _waiting.TryPeek(out Entry? entry) && Reserve(entry))
        {
            _ = _waiting.Dequeue();
            if (entry.DataLength != 0)
            {
                entry.Command.SourceAddress = entry.ScratchOffset;
                _port.WriteScratch(entry.ScratchOffset, entry.Data);
            }
            else if (entry.Command.Return)
            {
                entry.Command.DestinationAddress = entry.ScratchOffset;
            }

            _inFlight[_issued % MaxInFlight] = entry;
            _port.StartDma(_issued, entry.Command);
            _issued++;
        }
    }

    // Scratch memory is a ring: copies end in order, so what was reserved first is free first.
    private bool Reserve(Entry entry)
    {
        uint bytes = entry.ScratchBytes;
        if (bytes == 0)
        {
            return true;
        }

        uint padding = _scratchHead + bytes > _scratchBytes ? _scratchBytes - _scratchHead : 0;
        if (_scratchUsed + padding + bytes > _scratchBytes)
        {
            return false;
        }

        entry.ScratchPadding = padding;
        entry.ScratchOffset = padding != 0 ? 0 : _scratchHead;
        _scratchHead = (entry.ScratchOffset + bytes) % _scratchBytes;
        _scratchUsed += padding + bytes;
        return true;
    }

    private void Release(Entry entry)
    {
        _scratchUsed -= entry.ScratchPadding + entry.ScratchBytes;
    }

    private sealed class Entry
    {
        private byte[] _data = new byte[64];

        public DmaCommand Command;

        public IDmaClient? Client { get; set; }

        public uint Context { get; set; }

        public uint ScratchBytes { get; set; }

        public uint ScratchPadding { get; set; }

        public uint ScratchOffset { get; set; }

        public int DataLength { get; set; }

        public ReadOnlySpan<byte> Data => _data.AsSpan(0, DataLength);

        public void SetData(ReadOnlySpan<byte> data)
        {
            if (_data.Length < data.Length)
            {
                _data = new byte[MaxInline];
            }

            data.CopyTo(_data);
            DataLength = data.Length;
        }
    }
}
