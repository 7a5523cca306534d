// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.VfioUser;

namespace Cosim.Guests.Tests;

/// <summary>
/// The least that a guest takes for a PCI function: identity and one memory BAR of 4 KiB, served on a thread of its own.
/// </summary>
internal sealed class PlainFunction : IVfioUserDevice, IDisposable
{
    private readonly EventLoop _loop = new();
    private readonly VfioUserServer _server;
    private readonly Thread _thread;
    private readonly byte[] _config = new byte[256];
    private readonly byte[] _memory = new byte[4096];
    private volatile bool _stop;

    internal PlainFunction(string socket, ushort device)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(_config, 0x1234); // Vendor ID
        BinaryPrimitives.WriteUInt16LittleEndian(_config.AsSpan(2), device); // Device ID
        _config[0x0B] = 0xFF; // Class Code: fits none
        BinaryPrimitives.WriteUInt32LittleEndian(_memory, 0xC051_0000u + device);
        _server = new VfioUserServer(_loop, socket, this);
        _thread = new Thread(() =>
        {
            while (!_stop)
            {
                _ = _loop.RunOnce(-1);
            }
        });
        _thread.Start();
    }

    public RegionInfo GetRegion(int index) => index switch
    {
        0 => RegionInfo.ReadWrite((ulong)_memory.Length),
        VfioPci.ConfigRegionIndex => RegionInfo.ReadWrite((ulong)_config.Length),
        _ => default,
    };

    public IrqInfo GetIrq(int index) => default;

    public void Read(in RegionAccess access) => _server.CompleteRead(access.Token, Bytes(access));

    public void Write(in RegionAccess access, ReadOnlySpan<byte> data)
    {
        data.CopyTo(Bytes(access));
        _server.CompleteWrite(access.Token);
    }

    public void Reset(RequestToken token) => _server.CompleteReset(token);

    public void DmaUnmapping(DmaRange range, RequestToken token) => _server.CompleteUnmap(token);

    public void Dispose()
    {
        _stop = true;
        _loop.Wake();
        _thread.Join();
        _server.Dispose();
        _loop.Dispose();
    }

    private Span<byte> Bytes(in RegionAccess access) =>
        (access.Region == VfioPci.ConfigRegionIndex ? _config : _memory).AsSpan((int)access.Offset, access.Count);
}
