// SPDX-License-Identifier: Apache-2.0
using System.Collections.Concurrent;
using NUnit.Framework;

namespace Cosim.VfioUser.Tests;

/// <summary>
/// A device of 4 KiB BAR 0 memory, a read-only BAR 1, configuration space, INTx and 40 MSI-X vectors. What it is told
/// is written to <see cref="Events"/>. Completions can be held and given later.
/// </summary>
internal sealed class TestDevice : IVfioUserDevice
{
    internal const int Vectors = 40;
    internal const int LargeRegion = 2;
    internal const int LargeSize = 2 * 1024 * 1024;

    private readonly byte[] _bar = new byte[LargeSize];

    internal VfioUserServer? Server { get; set; }

    /// <summary>Offsets of region 0 whose accesses the device keeps until the test completes them.</summary>
    internal ulong HeldOffset { get; set; } = ulong.MaxValue;

    internal bool HoldResets { get; set; }

    internal bool HoldUnmaps { get; set; }

    internal bool RecordWrites { get; set; } = true;

    internal BlockingCollection<string> Events { get; } = [];

    internal BlockingCollection<RequestToken> Held { get; } = [];

    /// <summary>Accesses to the client's memory that have ended.</summary>
    internal BlockingCollection<(ulong Token, DmaResult Result, byte[] Data)> Dma { get; } = [];

    /// <summary>What the client may map of <see cref="LargeRegion"/>.</summary>
    internal RegionMemory? Memory { get; set; }

    /// <summary>Doorbells of region 0.</summary>
    internal Doorbell[] Doorbells { get; set; } = [];

    internal int Posted { get; private set; }

    public RegionInfo GetRegion(int index) => index switch
    {
        0 => RegionInfo.ReadWrite(4096),
        1 => new RegionInfo(4096, RegionFlags.Read),
        LargeRegion => RegionInfo.ReadWrite(LargeSize) with { Memory = Memory },
        3 => new RegionInfo(4096, RegionFlags.Write),
        VfioPci.ConfigRegionIndex => RegionInfo.ReadWrite(256),
        _ => default,
    };

    public IrqInfo GetIrq(int index) => index switch
    {
        VfioPci.IntxIrqIndex => IrqInfo.Intx,
        VfioPci.MsixIrqIndex => IrqInfo.Msix(Vectors),
        VfioPci.ReqIrqIndex => new IrqInfo(1, IrqFlags.EventFd),
        _ => default,
    };

    public void Read(in RegionAccess access)
    {
        if (access.Offset == HeldOffset)
        {
            Held.Add(access.Token);
            return;
        }

        Server!.CompleteRead(access.Token, _bar.AsSpan((int)access.Offset, access.Count));
    }

    public void Write(in RegionAccess access, ReadOnlySpan<byte> data)
    {
        data.CopyTo(_bar.AsSpan((int)access.Offset));
        Posted += access.Posted ? 1 : 0;
        if (RecordWrites)
        {
            Events.Add($"write {access.Region}+{access.Offset:x}:{access.Count}{(access.Posted ? " posted" : string.Empty)}");
        }

        if (access.Offset == HeldOffset)
        {
            Held.Add(access.Token);
            return;
        }

        Server!.CompleteWrite(access.Token);
    }

    public void Reset(RequestToken token)
    {
        Events.Add("reset");
        if (HoldResets)
        {
            Held.Add(token);
            return;
        }

        Server!.CompleteReset(token);
    }

    public void DmaMapped(DmaRange range) => Events.Add($"map {range.First:x}-{range.Last:x}");

    public void DmaUnmapping(DmaRange range, RequestToken token)
    {
        Events.Add($"unmap {range.First:x}-{range.Last:x}");
        if (HoldUnmaps)
        {
            Held.Add(token);
            return;
        }

        Server!.CompleteUnmap(token);
    }

    public void DmaReadDone(ulong token, DmaResult result, ReadOnlySpan<byte> data) => Dma.Add((token, result, data.ToArray()));

    public void DmaWriteDone(ulong token, DmaResult result) => Dma.Add((token, result, []));

    public IReadOnlyList<Doorbell> GetDoorbells(int region) => region == 0 ? Doorbells : [];

    public void InterruptsChanged(int index, int start, int count, IrqChange change) =>
        Events.Add($"irq {index} [{start},{start + count}) {change}");

    public void ClientConnected() => Events.Add("connected");

    public void ClientDisconnected() => Events.Add("disconnected");

    /// <summary>The next event the device was told of.</summary>
    internal string Next()
    {
        Assert.That(Events.TryTake(out string? text, ServerHost.Deadline), Is.True, "No event came.");
        return text!;
    }

    /// <summary>The next access to the client's memory that ended.</summary>
    internal (ulong Token, DmaResult Result, byte[] Data) NextDma()
    {
        Assert.That(Dma.TryTake(out (ulong Token, DmaResult Result, byte[] Data) ended, ServerHost.Deadline), Is.True, "No access ended.");
        return ended;
    }

    /// <summary>The next request the device keeps.</summary>
    internal RequestToken NextHeld()
    {
        Assert.That(Held.TryTake(out RequestToken token, ServerHost.Deadline), Is.True, "No request came.");
        return token;
    }
}
