// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cosim.Fpga;

namespace Cosim.Scheduling.Stimuli;

/// <summary>
/// Counts the inputs that can have caused events and interrupts, of which one may stand for several causes (<c>hdl/CONTRACT.md</c>,
/// sections 3 to 5). Never too few: functions are not told apart by address, and configuration accesses may be accesses to a BAR.
/// </summary>
internal sealed class MergedCauses
{
    // BARs are aligned to their sizes.
    private const uint HostBarMask = 0x3FFC;
    private const uint BackEndBarMask = 0xFFFC;
    private const uint DeviceStatus = 0x14;
    private const uint QueueReset = 0x38;
    private const uint QueueBytes = 4;
    private const uint DeviceBytes = 0x400;

    private readonly Dictionary<(int Port, uint Offset), ulong> _writes = [];
    private readonly ulong[] _others = new ulong[StimuliFormat.MaxPorts];

    /// <summary>An input was given.</summary>
    public void Given(int port, ReadOnlySpan<byte> packet)
    {
        bool memoryWrite = port != StimuliFormat.ManagementPort && (packet[3] & 0x5F) == 0x40;
        if (!memoryWrite)
        {
            _others[port]++;
            return;
        }

        uint address = BinaryPrimitives.ReadUInt32LittleEndian(packet[((packet[3] & 0x20) != 0 ? 12 : 8)..]);
        uint offset = address & (port == 0 ? HostBarMask : BackEndBarMask);
        for (int dw = 0; dw < Math.Max(1, (packet.Length - StimuliFormat.HeaderBytes(port)) / 4); dw++)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(_writes, (port, offset + (4 * (uint)dw)), out _)++;
        }
    }

    /// <summary>Greatest number of packets that a sequence can have by now.</summary>
    public ulong Of(in OrderStream stream)
    {
        if (stream.Class == OrderClass.Interrupt)
        {
            return _others[StimuliFormat.ManagementPort];
        }

        uint device = (stream.Detail >> 16) & 0xFF;
        return (stream.Detail & 0xFF) switch
        {
            RegisterMap.Opcode.Notify => Writes(0, RegisterMap.Bar.VirtioNotify + (QueueBytes * stream.Queue)),
            RegisterMap.Opcode.Status => Writes(0, DeviceStatus),
            RegisterMap.Opcode.QueueReset => Writes(0, QueueReset),
            RegisterMap.Opcode.Doorbell => Writes(1, RegisterMap.BackEnd.Doorbell + (DeviceBytes * device) + (QueueBytes * stream.Queue)),
            _ => Writes(1, RegisterMap.BackEnd.Control),
        };
    }

    /// <summary>Forgets everything.</summary>
    public void Clear()
    {
        _writes.Clear();
        Array.Clear(_others);
    }

    private ulong Writes(int port, uint offset) => _writes.GetValueOrDefault((port, offset)) + _others[port];
}
