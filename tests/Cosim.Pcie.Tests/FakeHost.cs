// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie.Tests;

/// <summary>A host with memory from <see cref="Base"/> on that keeps what is asked of it.</summary>
internal sealed class FakeHost : IPcieHost
{
    public const ulong Base = 0x10_0000;

    public byte[] Memory { get; } = new byte[0x1_0000];

    public List<string> Log { get; } = [];

    /// <summary>Accesses from this address on fault.</summary>
    public ulong FaultsFrom { get; set; } = ulong.MaxValue;

    /// <summary>Memory from this address on has to be asked for.</summary>
    public ulong RemoteFrom { get; set; } = ulong.MaxValue;

    public bool HoldsCompletions { get; set; }

    /// <summary>What a request for memory begins with: not under way unless Ok.</summary>
    public DmaStatus Begins { get; set; }

    /// <summary>Tokens of the requests for memory under way, in order.</summary>
    public Queue<ulong> Asked { get; } = new();

    public bool IsRemote(ulong address, int length) => Check(address, length) == DmaStatus.Ok && address + (uint)length > RemoteFrom;

    public DmaStatus BeginRead(ulong address, int length, ulong token)
    {
        Log.Add($"ask 0x{address:x} {length}");
        return Begin(token);
    }

    public DmaStatus BeginWrite(ulong address, ReadOnlySpan<byte> data, ulong token)
    {
        Log.Add($"hand 0x{address:x} {Convert.ToHexString(data)}");
        return Begin(token);
    }

    public DmaStatus Read(ulong address, Span<byte> data)
    {
        if (IsRemote(address, data.Length))
        {
            return DmaStatus.Remote;
        }

        Log.Add($"read 0x{address:x} {data.Length}");
        DmaStatus status = Check(address, data.Length);
        if (status == DmaStatus.Ok)
        {
            Memory.AsSpan((int)(address - Base), data.Length).CopyTo(data);
        }

        return status;
    }

    public DmaStatus Write(ulong address, ReadOnlySpan<byte> data)
    {
        if (IsRemote(address, data.Length))
        {
            return DmaStatus.Remote;
        }

        Log.Add($"write 0x{address:x} {Convert.ToHexString(data)}");
        DmaStatus status = Check(address, data.Length);
        if (status == DmaStatus.Ok)
        {
            data.CopyTo(Memory.AsSpan((int)(address - Base)));
        }

        return status;
    }

    public void Fence() => Log.Add("fence");

    public void MsixInterrupt(int vector) => Log.Add($"msix {vector}");

    public void Intx(bool asserted) => Log.Add(asserted ? "intx up" : "intx down");

    private DmaStatus Begin(ulong token)
    {
        if (Begins == DmaStatus.Ok)
        {
            Asked.Enqueue(token);
        }

        return Begins;
    }

    private DmaStatus Check(ulong address, int length) =>
        address < Base || address + (uint)length > Base + (uint)Memory.Length ? DmaStatus.Unmapped
        : address >= FaultsFrom ? DmaStatus.Faulted
        : DmaStatus.Ok;
}
