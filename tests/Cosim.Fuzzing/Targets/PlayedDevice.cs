// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;

namespace Cosim.Fuzzing.Targets;

/// <summary>A device behind a vfio-user server: completes what it is asked at once or later, and holds all that it is told against its contract.</summary>
internal sealed class PlayedDevice : IVfioUserDevice, IDisposable
{
    public const int RegionBytes = 4096;
    public const int LargeBytes = 1 << 16;
    public const int Vectors = 24;
    public const int MostTransfer = 1 << 14;

    private const int LargeRegion = 2;
    private const int ReadOnlyRegion = 1;
    private const int WriteOnlyRegion = 3;
    private const int MappedRegion = 4;

    private readonly SharedMemory _memory = new(LargeBytes, DescriptorCount.MemoryName);
    private readonly byte[] _contents = new byte[LargeBytes + 256];
    private readonly RegionInfo[] _regions = new RegionInfo[VfioPci.RegionCount];
    private readonly Doorbell[] _doorbells = [new(0, 1, 1), new(2, 2, 0x202), new(4, 4, 4), new(8, 8, ulong.MaxValue)];
    private readonly Doorbell[] _manyDoorbells = new Doorbell[20];
    private readonly List<Held> _held = [];
    private readonly List<DmaRange> _map = [];
    private readonly Dictionary<ulong, int> _dma = [];
    private ulong _dmaToken;
    private bool _barrier;
    private int _client;

    public PlayedDevice()
    {
        for (int i = 0; i < _contents.Length; i++)
        {
            _contents[i] = (byte)i;
        }

        for (int i = 0; i < _manyDoorbells.Length; i++)
        {
            _manyDoorbells[i] = new Doorbell((ulong)i * 4, 4, (ulong)i);
        }

        _regions[0] = RegionInfo.ReadWrite(RegionBytes);
        _regions[ReadOnlyRegion] = new RegionInfo(RegionBytes, RegionFlags.Read);
        _regions[LargeRegion] = RegionInfo.ReadWrite(LargeBytes) with { Memory = new RegionMemory(_memory.Fd, 0, [new RegionArea(0, 4096), new RegionArea(8192, 4096)]) };
        _regions[WriteOnlyRegion] = new RegionInfo(RegionBytes, RegionFlags.Write);
        _regions[MappedRegion] = RegionInfo.ReadWrite(LargeBytes) with { Memory = new RegionMemory(_memory.Fd, 0, []) };
        _regions[VfioPci.ConfigRegionIndex] = RegionInfo.ReadWrite(256);
    }

    private enum Kind
    {
        Read,
        Write,
        Reset,
        Unmap,
    }

    public VfioUserServer Server { get; set; } = null!;

    /// <summary>What is not completed at once: bit 0 reads, 1 writes, 2 resets, 3 unmaps. With bit 4 what is completed fails.</summary>
    public int Holds { get; set; }

    /// <summary>A client was told the version.</summary>
    public bool HasClient { get; private set; }

    public bool HasDma => _dma.Count != 0;

    /// <summary>Byte of a region that is read.</summary>
    public static byte ByteAt(ulong offset) => (byte)offset;

    public RegionInfo GetRegion(int index) => _regions[index];

    public IrqInfo GetIrq(int index) => index switch
    {
        VfioPci.IntxIrqIndex => IrqInfo.Intx,
        VfioPci.MsixIrqIndex => IrqInfo.Msix(Vectors),
        VfioPci.ReqIrqIndex => new IrqInfo(1, IrqFlags.EventFd | IrqFlags.Maskable),
        VfioPci.ErrIrqIndex => new IrqInfo(1, IrqFlags.Maskable),
        _ => default,
    };

    public IReadOnlyList<Doorbell> GetDoorbells(int region) => region switch { 0 => _doorbells, WriteOnlyRegion => _manyDoorbells, _ => [] };

    public void Read(in RegionAccess access)
    {
        Check(access, RegionFlags.Read);
        Take(new Held(Kind.Read, _client, access.Token, access.Offset, access.Count, default));
    }

    public void Write(in RegionAccess access, ReadOnlySpan<byte> data)
    {
        Check(access, RegionFlags.Write);
        Require(data.Length == access.Count, "a write has other bytes than it says");
        Take(new Held(Kind.Write, _client, access.Token, access.Offset, access.Count, default));
    }

    public void Reset(RequestToken token)
    {
        Arrives();
        _barrier = true;
        Take(new Held(Kind.Reset, _client, token, 0, 0, default));
    }

    public void DmaUnmapping(DmaRange range, RequestToken token)
    {
        Arrives();
        Require(!_map.Exists(r => r.First <= range.Last && range.First <= r.Last && !Covers(range, r)), "an unmap cuts a range in two");
        _barrier = true;
        Take(new Held(Kind.Unmap, _client, token, 0, 0, range));
    }

    public void DmaMapped(DmaRange range)
    {
        Arrives();
        Require(range.First <= range.Last && !_map.Exists(r => r.First <= range.Last && range.First <= r.Last), "a range is mapped over another");
        _map.Add(range);
        Require(_map.Count <= Server.Memory.Capacity, "more ranges are mapped than there may be");
    }

    public void DmaReadDone(ulong token, DmaResult result, ReadOnlySpan<byte> data)
    {
        Require(_dma.Remove(token, out int length), "a DMA read ends twice");
        Require(data.Length == (result == DmaResult.Ok ? length : 0), "a DMA read has other bytes than were asked for");
    }

    public void DmaWriteDone(ulong token, DmaResult result) => Require(_dma.Remove(token, out _), "a DMA write ends twice");

    public void InterruptsChanged(int index, int start, int count, IrqChange change) => Require(
        HasClient && index is >= 0 and < VfioPci.IrqCount && start >= 0 && count >= 1 && start + count <= GetIrq(index).Count, "interrupts change that are none");

    public void ClientConnected()
    {
        Require(!HasClient, "a client comes while another is served");
        HasClient = true;
        _client++;
    }

    public void ClientDisconnected()
    {
        Require(HasClient, "a client leaves that nobody has heard of");
        Require(_dma.Count == 0, "a client has left, and a DMA has not ended");
        Require(Server.Memory.Count == 0, "a client has left, and its map has not gone");
        HasClient = false;
        _barrier = false;
        _map.Clear();
    }

    /// <summary>Begins an access to the client's memory, directly or by messages.</summary>
    public void BeginDma(int how, ulong address, int length)
    {
        Span<byte> data = _contents.AsSpan(0, length);
        switch (how & 3)
        {
            case 0:
                DmaResult result = Server.Memory.Read(address, stackalloc byte[Math.Min(length, 512)]);
                Require(result != DmaResult.Ok || length == 0 || IsMapped(address), "memory is read that is not mapped");
                break;
            case 1:
                result = Server.Memory.Write(address, data);
                Require(result != DmaResult.Ok || length == 0 || IsMapped(address), "memory is written that is not mapped");
                break;
            case 2 when length > 0:
                _dma.Add(++_dmaToken, length);
                ForgetUnlessOk(Server.BeginDmaRead(address, length, _dmaToken), address);
                break;
            case 3 when length > 0:
                _dma.Add(++_dmaToken, length);
                ForgetUnlessOk(Server.BeginDmaWrite(address, data, _dmaToken), address);
                break;
            default:
                break;
        }
    }

    /// <summary>Completes something that was held, or as if it were something else.</summary>
    public void Complete(int which, bool fails)
    {
        if (_held.Count != 0)
        {
            Held held = _held[which % _held.Count];
            _held.RemoveAt(which % _held.Count);
            End(held, fails);
        }
    }

    /// <summary>Completes what nobody has asked for: a token is dead as soon as its request has ended.</summary>
    public void CompleteNothing(int slot) => Server.CompleteWrite(new RequestToken(slot, uint.MaxValue));

    public void CompleteAll()
    {
        while (_held.Count != 0)
        {
            Complete(0, fails: false);
        }
    }

    /// <summary>The server's map is the one that it told of.</summary>
    public void CheckMap()
    {
        Require(Server.Memory.Count == _map.Count, $"the map has {Server.Memory.Count} ranges; {_map.Count} were told of");
        foreach (DmaRange range in _map)
        {
            Require(Server.Memory.Check(range.First, 1, DmaAccess.None) is DmaResult.Ok or DmaResult.Remote && Server.Memory.Check(range.Last, 1, DmaAccess.None) is DmaResult.Ok or DmaResult.Remote, "a range of the map is not found");
        }
    }

    public void Dispose() => _memory.Dispose();

    private static bool Covers(DmaRange outer, DmaRange inner) => outer.First <= inner.First && inner.Last <= outer.Last;

    private static void Require(bool holds, string what)
    {
        if (!holds)
        {
            throw new FindingException(what);
        }
    }

    private bool IsMapped(ulong address) => _map.Exists(r => r.First <= address && address <= r.Last);

    private void ForgetUnlessOk(DmaResult result, ulong address)
    {
        if (result == DmaResult.Ok)
        {
            Require(IsMapped(address), "the client is asked for memory that is not mapped");
        }
        else
        {
            // Its end was told by the result, and by nothing else.
            Require(_dma.Remove(_dmaToken), "a DMA that was refused ends");
        }
    }

    private void Arrives() => Require(HasClient && !_barrier, "a request comes without a client, or before a reset or an unmap has ended");

    private void Check(in RegionAccess access, RegionFlags direction)
    {
        Arrives();
        RegionInfo region = _regions[access.Region];
        Require((region.Flags & direction) != 0 && access.Count is >= 1 and <= MostTransfer && access.Offset <= region.Size && (ulong)access.Count <= region.Size - access.Offset, "an access lies outside of its region, or the region does not allow it");
    }

    private void Take(Held held)
    {
        if ((Holds & (1 << (int)held.Kind)) != 0)
        {
            _held.Add(held);
        }
        else
        {
            End(held, (Holds & 16) != 0);
        }
    }

    private void End(Held held, bool fails)
    {
        bool isLive = HasClient && held.Client == _client;
        if (isLive && (held.Kind is Kind.Reset or Kind.Unmap))
        {
            _barrier = false;
        }

        if (fails)
        {
            Server.Fail(held.Token, Errno.EIO);
            return;
        }

        switch (held.Kind)
        {
            case Kind.Read:
                Server.CompleteRead(held.Token, _contents.AsSpan((int)(held.Offset & 0xFF), held.Count));
                break;
            case Kind.Write:
                Server.CompleteWrite(held.Token);
                break;
            case Kind.Reset:
                Server.CompleteReset(held.Token);
                break;
            default:
                if (isLive)
                {
                    _ = _map.RemoveAll(r => Covers(held.Range, r));
                }

                Server.CompleteUnmap(held.Token);
                break;
        }
    }

    /// <summary>Something that was asked for and is not completed.</summary>
    private readonly record struct Held(Kind Kind, int Client, RequestToken Token, ulong Offset, int Count, DmaRange Range);
}
