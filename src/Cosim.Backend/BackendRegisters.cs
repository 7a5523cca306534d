// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend;

/// <summary>Block BE of hdl/registers.md: byte offsets in BAR0 of the back-end endpoint, and values read there.</summary>
public static class BackendRegisters
{
    /// <summary>ID.</summary>
    public const uint Id = 0x0000;

    /// <summary>VERSION.</summary>
    public const uint Version = 0x0004;

    /// <summary>GEOMETRY: 7:0 devices, 23:8 queues per device.</summary>
    public const uint Geometry = 0x0008;

    /// <summary>VECTORS.</summary>
    public const uint Vectors = 0x000C;

    /// <summary>CONTROL: bit 0, host 2's software is ready; bit 1, it waits until the host-to-FPGA mailbox is empty.</summary>
    public const uint Control = 0x0010;

    /// <summary>F2H_STATUS: bytes in the FPGA-to-host mailbox.</summary>
    public const uint F2hStatus = 0x0020;

    /// <summary>BE STATUS (read): bit 0, the front end is there.</summary>
    public const uint Status = 0x0014;

    /// <summary>F2H_ACK.</summary>
    public const uint F2hAck = 0x0024;

    /// <summary>H2F_STATUS: bytes in the host-to-FPGA mailbox.</summary>
    public const uint H2fStatus = 0x0028;

    /// <summary>H2F_POST.</summary>
    public const uint H2fPost = 0x002C;

    /// <summary>F2H_DATA.</summary>
    public const uint F2hData = 0x1000;

    /// <summary>H2F_DATA.</summary>
    public const uint H2fData = 0x1400;

    /// <summary>DOORBELL: device d, queue q at + d x 0x400 + q x 4.</summary>
    public const uint Doorbell = 0x2000;

    /// <summary>Bytes of a mailbox.</summary>
    public const int MailboxSize = 1024;

    /// <summary>What ID reads.</summary>
    public const uint IdValue = 0x4353494D;

    /// <summary>What VERSION reads: major in 31:16.</summary>
    public const uint VersionValue = 0x0001_0000;

    /// <summary>Vector 0 is the mailbox's.</summary>
    public const int MailboxVector = 0;

    /// <summary>Doorbell of a queue.</summary>
    public static uint DoorbellOf(int device, int queue) => Doorbell + ((uint)device * 0x400) + ((uint)queue * 4);
}
