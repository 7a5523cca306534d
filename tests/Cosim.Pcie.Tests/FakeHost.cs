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

    public DmaStatus Read(ulong address, Span<byte> data)
    {
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

    private DmaStatus Check(ulong address, int length) =>
        address < Base || address + (uint)length > Base + (uint)Memory.Length ? DmaStatus.Unmapped
        : address >= FaultsFrom ? DmaStatus.Faulted
        : DmaStatus.Ok;
}
