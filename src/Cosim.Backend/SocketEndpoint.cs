// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;

namespace Cosim.Backend;

/// <summary>The endpoint over vfio-user: this process takes the place of host 2 on the bridge's socket for port 1.</summary>
public sealed unsafe class SocketEndpoint : IEndpoint
{
    private const byte MsixCapability = 0x11;
    private const ushort MsixEnable = 0x8000;
    private const ushort MemorySpaceAndBusMaster = 6;

    private readonly VfioUserClient _client;
    private readonly SharedMemory _memory;
    private readonly EventFd[] _vectors = [];

    /// <summary>Connects, lends a pool and arms all vectors.</summary>
    /// <param name="path">The bridge's socket for port 1.</param>
    /// <param name="poolSize">Bytes; a multiple of 4 KiB.</param>
    /// <param name="iova">Where the FPGA sees the pool.</param>
    /// <exception cref="VfioUserException">The bridge is not there, or refuses.</exception>
    public SocketEndpoint(string path, long poolSize, ulong iova)
    {
        _client = VfioUserClient.Connect(path, new VfioUserClientOptions { TimeoutMilliseconds = 0 });
        _memory = new SharedMemory(poolSize, "cosim-pool");
        try
        {
            _client.Map(_memory, 0, iova, (ulong)poolSize);
            Pool = new Pool(_memory.Address, iova, (ulong)poolSize);
            _vectors = new EventFd[_client.GetIrq(VfioPci.MsixIrqIndex).Count];
            for (int vector = 0; vector < _vectors.Length; vector++)
            {
                _vectors[vector] = new EventFd();
            }

            _client.ArmMsix(0, _vectors);
            EnableMsix();
            WriteConfiguration(4, MemorySpaceAndBusMaster);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public Pool Pool { get; }

    /// <inheritdoc/>
    public IReadOnlyList<EventFd> Vectors => _vectors;

    /// <inheritdoc/>
    public int Lifeline => _client.Fd;

    /// <inheritdoc/>
    public uint Read(uint offset) => _client.ReadUInt32(VfioPci.Bar0RegionIndex, offset);

    /// <inheritdoc/>
    public void Write(uint offset, uint value) => _client.WriteUInt32(VfioPci.Bar0RegionIndex, offset, value, posted: true);

    /// <summary>Leaves the bridge and frees the pool.</summary>
    public void Dispose()
    {
        _client.Dispose();
        _memory.Dispose();
        foreach (EventFd? vector in _vectors)
        {
            vector?.Dispose();
        }
    }

    private void EnableMsix()
    {
        // The list is followed as far as it could reach in 256 bytes, lest a loop in it holds us.
        byte offset = ReadConfiguration(0x34, 1)[0];
        for (int steps = 0; offset >= 0x40 && steps < 48; steps++)
        {
            byte[] capability = ReadConfiguration(offset, 4);
            if (capability[0] == MsixCapability)
            {
                WriteConfiguration((uint)offset + 2, (ushort)((capability[2] | (capability[3] << 8)) | MsixEnable));
                return;
            }

            offset = capability[1];
        }

        throw new BackendException("The function on the socket has no MSI-X capability; expected the back-end endpoint.");
    }

    private byte[] ReadConfiguration(uint offset, int length)
    {
        byte[] bytes = new byte[length];
        _client.Read(VfioPci.ConfigRegionIndex, offset, bytes);
        return bytes;
    }

    private void WriteConfiguration(uint offset, ushort value) =>
        _client.Write(VfioPci.ConfigRegionIndex, offset, [(byte)value, (byte)(value >> 8)]);
}
