// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Fpga;

/// <summary>The constants of <c>hdl/registers.md</c>: opcodes of the management port and byte offsets of registers.</summary>
/// <remarks>A test holds this class and the VHDL package <c>cosim_regs_pkg</c> against that table.</remarks>
public static class RegisterMap
{
    /// <summary>Block OP.</summary>
    public static class Opcode
    {
        /// <summary>OP REG_WRITE (-): management opcode, command.</summary>
        public const uint RegWrite = 0x01;

        /// <summary>OP REG_READ (-): command.</summary>
        public const uint RegRead = 0x02;

        /// <summary>OP MEM_WRITE (-): command.</summary>
        public const uint MemWrite = 0x03;

        /// <summary>OP MEM_READ (-): command.</summary>
        public const uint MemRead = 0x04;

        /// <summary>OP DMA (-): command.</summary>
        public const uint Dma = 0x05;

        /// <summary>OP INTERRUPT (-): command.</summary>
        public const uint Interrupt = 0x06;

        /// <summary>OP REG_DATA (-): answer.</summary>
        public const uint RegData = 0x82;

        /// <summary>OP MEM_DATA (-): answer.</summary>
        public const uint MemData = 0x84;

        /// <summary>OP DMA_DONE (-): answer.</summary>
        public const uint DmaDone = 0x85;

        /// <summary>OP NOTIFY (-): event.</summary>
        public const uint Notify = 0x90;

        /// <summary>OP STATUS (-): event.</summary>
        public const uint Status = 0x91;

        /// <summary>OP DOORBELL (-): event.</summary>
        public const uint Doorbell = 0x92;

        /// <summary>OP MAILBOX (-): event.</summary>
        public const uint Mailbox = 0x93;

        /// <summary>OP FLR (-): event.</summary>
        public const uint Flr = 0x94;

        /// <summary>OP QUEUE_RESET (-): event.</summary>
        public const uint QueueReset = 0x95;

        /// <summary>OP CONFIG_WRITE (-): event.</summary>
        public const uint ConfigWrite = 0x96;

        /// <summary>OP BACKEND (-): event.</summary>
        public const uint Backend = 0x97;
    }

    /// <summary>Block MG.</summary>
    public static class Management
    {
        /// <summary>MG ID (ro): 0x4353494D.</summary>
        public const uint Id = 0x0000;

        /// <summary>MG VERSION (ro): 0x00010000.</summary>
        public const uint Version = 0x0004;

        /// <summary>MG GEOMETRY (ro): 7:0 functions, 23:8 queues per function.</summary>
        public const uint Geometry = 0x0008;

        /// <summary>MG VECTORS (ro): 15:0 MSI-X vectors per function, 31:16 of the back-end endpoint.</summary>
        public const uint Vectors = 0x000C;

        /// <summary>MG SCRATCH_SIZE (ro): bytes.</summary>
        public const uint ScratchSize = 0x0010;

        /// <summary>MG DATA_WIDTH (ro): bits.</summary>
        public const uint DataWidth = 0x0014;

        /// <summary>MG F2H_CONTROL (rw): write: length in bytes, marks the mailbox full; read: length, 0 = empty.</summary>
        public const uint F2hControl = 0x0020;

        /// <summary>MG H2F_CONTROL (rw): read: length, 0 = empty; write: empties it.</summary>
        public const uint H2fControl = 0x0024;

        /// <summary>MG BE_STATUS (rw): 31:0 value that host 2 reads in BE STATUS (bit 0: the front end is there).</summary>
        public const uint BeStatus = 0x0028;

        /// <summary>MG BE_CONTROL (ro): value host 2 wrote to BE CONTROL.</summary>
        public const uint BeControl = 0x002C;

        /// <summary>MG F2H_DATA (rw): 1 KiB.</summary>
        public const uint F2hData = 0x4000;

        /// <summary>MG H2F_DATA (ro): 1 KiB.</summary>
        public const uint H2fData = 0x4400;

        /// <summary>MG FUNCTION (-): function f's registers (block FN) at 0x10000 + f x 0x10000.</summary>
        public const uint Function = 0x10000;
    }

    /// <summary>Block FN.</summary>
    public static class Function
    {
        /// <summary>FN PCI_ID (rw): 15:0 vendor, 31:16 device; reset value 0x10401AF4.</summary>
        public const uint PciId = 0x0000;

        /// <summary>FN CLASS_REVISION (rw): 31:8 class code, 7:0 revision.</summary>
        public const uint ClassRevision = 0x0004;

        /// <summary>FN SUBSYSTEM (rw): 15:0 subsystem vendor, 31:16 subsystem.</summary>
        public const uint Subsystem = 0x0008;

        /// <summary>FN CONTROL (wo): bit 0 NEEDS_RESET, bit 1 RESET_ACK, bit 2 CONFIG_CHANGED (counts config_generation, raises the interrupt if DRIVER_OK).</summary>
        public const uint Control = 0x000C;

        /// <summary>FN DEVICE_FEATURES_LO (rw): device features lo.</summary>
        public const uint DeviceFeaturesLo = 0x0010;

        /// <summary>FN DEVICE_FEATURES_HI (rw): device features hi.</summary>
        public const uint DeviceFeaturesHi = 0x0014;

        /// <summary>FN DRIVER_FEATURES_LO (ro): driver features lo.</summary>
        public const uint DriverFeaturesLo = 0x0018;

        /// <summary>FN DRIVER_FEATURES_HI (ro): driver features hi.</summary>
        public const uint DriverFeaturesHi = 0x001C;

        /// <summary>FN STATUS (ro): 7:0 device_status (0 while a reset is pending), 8 reset pending, 9 Bus Master Enable, 10 MSI-X Enable.</summary>
        public const uint Status = 0x0020;

        /// <summary>FN NUM_QUEUES (rw): value of num_queues, at most the generic.</summary>
        public const uint NumQueues = 0x0024;

        /// <summary>FN CONFIG_VECTOR (ro): config_msix_vector.</summary>
        public const uint ConfigVector = 0x0028;

        /// <summary>FN CONFIG_GENERATION (ro): config generation.</summary>
        public const uint ConfigGeneration = 0x002C;

        /// <summary>FN ISR (ro): without clearing it.</summary>
        public const uint Isr = 0x0030;

        /// <summary>FN DEVICE_CONFIG (rw): 256 bytes.</summary>
        public const uint DeviceConfig = 0x0100;

        /// <summary>FN QUEUE (-): queue q's registers (block QU) at 0x1000 + q x 0x40.</summary>
        public const uint Queue = 0x1000;
    }

    /// <summary>Block QU.</summary>
    public static class Queue
    {
        /// <summary>QU SIZE_LIMIT (rw): greatest queue_size; a power of two, or 0: no such queue.</summary>
        public const uint SizeLimit = 0x00;

        /// <summary>QU SIZE (ro): queue_size.</summary>
        public const uint Size = 0x04;

        /// <summary>QU ENABLE (ro): queue_enable.</summary>
        public const uint Enable = 0x08;

        /// <summary>QU VECTOR (ro): queue_msix_vector.</summary>
        public const uint Vector = 0x0C;

        /// <summary>QU DESC_LO (ro): queue_desc.</summary>
        public const uint DescLo = 0x10;

        /// <summary>QU DESC_HI (ro): desc hi.</summary>
        public const uint DescHi = 0x14;

        /// <summary>QU DRIVER_LO (ro): queue_driver.</summary>
        public const uint DriverLo = 0x18;

        /// <summary>QU DRIVER_HI (ro): driver hi.</summary>
        public const uint DriverHi = 0x1C;

        /// <summary>QU DEVICE_LO (ro): queue_device.</summary>
        public const uint DeviceLo = 0x20;

        /// <summary>QU DEVICE_HI (ro): device hi.</summary>
        public const uint DeviceHi = 0x24;

        /// <summary>QU RESET (rw): bit 0: queue_reset is pending; write: acknowledges.</summary>
        public const uint Reset = 0x28;
    }

    /// <summary>Block BE.</summary>
    public static class BackEnd
    {
        /// <summary>BE ID (ro): 0x4353494D.</summary>
        public const uint Id = 0x0000;

        /// <summary>BE VERSION (ro): 0x00010000.</summary>
        public const uint Version = 0x0004;

        /// <summary>BE GEOMETRY (ro): 7:0 devices, 23:8 queues per device.</summary>
        public const uint Geometry = 0x0008;

        /// <summary>BE VECTORS (ro): MSI-X vectors.</summary>
        public const uint Vectors = 0x000C;

        /// <summary>BE CONTROL (rw): bit 0: host 2's software is ready; a write is told to the management port.</summary>
        public const uint Control = 0x0010;

        /// <summary>BE STATUS (ro): from MG BE_STATUS.</summary>
        public const uint Status = 0x0014;

        /// <summary>BE INTX_STATUS (ro): bit v: vector v (31 and above share bit 31) was raised without MSI-X; reading clears.</summary>
        public const uint IntxStatus = 0x0018;

        /// <summary>BE F2H_STATUS (ro): length of the message in the FPGA-to-host mailbox, 0 = empty.</summary>
        public const uint F2hStatus = 0x0020;

        /// <summary>BE F2H_ACK (wo): empties it.</summary>
        public const uint F2hAck = 0x0024;

        /// <summary>BE H2F_STATUS (ro): length of the message in the host-to-FPGA mailbox, 0 = empty.</summary>
        public const uint H2fStatus = 0x0028;

        /// <summary>BE H2F_POST (wo): length in bytes: posts it.</summary>
        public const uint H2fPost = 0x002C;

        /// <summary>BE F2H_DATA (ro): 1 KiB.</summary>
        public const uint F2hData = 0x1000;

        /// <summary>BE H2F_DATA (rw): 1 KiB.</summary>
        public const uint H2fData = 0x1400;

        /// <summary>BE DOORBELL (wo): device d, queue q at 0x2000 + d x 0x400 + q x 4.</summary>
        public const uint Doorbell = 0x2000;
    }

    /// <summary>Block BAR.</summary>
    public static class Bar
    {
        /// <summary>BAR VIRTIO_COMMON (-): BAR0 of a virtio function.</summary>
        public const uint VirtioCommon = 0x0000;

        /// <summary>BAR VIRTIO_ISR (-): virtio isr.</summary>
        public const uint VirtioIsr = 0x1000;

        /// <summary>BAR VIRTIO_DEVICE (-): virtio device.</summary>
        public const uint VirtioDevice = 0x2000;

        /// <summary>BAR VIRTIO_NOTIFY (-): virtio notify.</summary>
        public const uint VirtioNotify = 0x3000;

        /// <summary>BAR MSIX_TABLE (-): BAR1 of every function.</summary>
        public const uint MsixTable = 0x0000;

        /// <summary>BAR MSIX_PBA (-): msix pba.</summary>
        public const uint MsixPba = 0x2000;
    }
}
