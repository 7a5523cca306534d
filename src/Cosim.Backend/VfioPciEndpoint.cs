// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Cosim.Backend.Internal;
using Cosim.VfioUser;

namespace Cosim.Backend;

/// <summary>The endpoint as a PCI function held by Linux's vfio-pci, behind an IOMMU (linux/vfio.h, type 1).</summary>
public sealed unsafe class VfioPciEndpoint : IEndpoint
{
    // _IO(';', 100 + n)
    private const nuint VFIO_GET_API_VERSION = 0x3B64;
    private const nuint VFIO_CHECK_EXTENSION = 0x3B65;
    private const nuint VFIO_SET_IOMMU = 0x3B66;
    private const nuint VFIO_GROUP_GET_STATUS = 0x3B67;
    private const nuint VFIO_GROUP_SET_CONTAINER = 0x3B68;
    private const nuint VFIO_GROUP_GET_DEVICE_FD = 0x3B6A;
    private const nuint VFIO_DEVICE_GET_REGION_INFO = 0x3B6C;
    private const nuint VFIO_DEVICE_GET_IRQ_INFO = 0x3B6D;
    private const nuint VFIO_DEVICE_SET_IRQS = 0x3B6E;
    private const nuint VFIO_IOMMU_MAP_DMA = 0x3B71;

    private const int VFIO_TYPE1v2_IOMMU = 3;
    private const uint VFIO_GROUP_FLAGS_VIABLE = 1;
    private const uint VFIO_DMA_MAP_FLAG_READ_WRITE = 3;
    private const int HugepageSize = 2 * 1024 * 1024;

    private readonly List<int> _descriptors = [];
    private EventFd[] _vectors = [];
    private uint* _registers;
    private nuint _registersSize;
    private void* _memory;
    private nuint _memorySize;

    /// <summary>Opens the function, maps its registers, lends it a pool and arms all vectors.</summary>
    /// <param name="vendor">PCI vendor.</param>
    /// <param name="device">PCI device.</param>
    /// <param name="poolSize">Bytes; a multiple of 2 MiB.</param>
    /// <param name="iova">Where the FPGA sees the pool.</param>
    /// <exception cref="BackendException">There is no such function, vfio-pci does not hold it, or Linux refuses a step.</exception>
    public VfioPciEndpoint(ushort vendor, ushort device, long poolSize, ulong iova)
    {
        try
        {
            string address = Find(vendor, device);
            int container = Open("/dev/vfio/vfio");
            if (Linux.Control(container, VFIO_GET_API_VERSION, null) != 0
                || Linux.Control(container, VFIO_CHECK_EXTENSION, (void*)VFIO_TYPE1v2_IOMMU) != 1)
            {
                throw new BackendException("/dev/vfio/vfio offers no type 1 IOMMU: is the machine's IOMMU switched on?");
            }

            int handle = OpenFunction(address, container);
            MapRegisters(handle);
            Pool = MapPool(container, poolSize, iova);
            EnableBusMaster(handle);
            ArmVectors(handle);
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
    public int Lifeline => -1;

    /// <inheritdoc/>
    public uint Read(uint offset) => Volatile.Read(ref _registers[offset / 4]);

    /// <inheritdoc/>
    public void Write(uint offset, uint value) => Volatile.Write(ref _registers[offset / 4], value);

    /// <summary>Gives the function back to Linux, which resets it, and frees the pool.</summary>
    public void Dispose()
    {
        if (_registers != null)
        {
            _ = Linux.Unmap(_registers, _registersSize);
            _registers = null;
        }

        // The function first, the container last: its end unmaps the pool from the IOMMU.
        for (int index = _descriptors.Count - 1; index >= 0; index--)
        {
            _ = Linux.Close(_descriptors[index]);
        }

        _descriptors.Clear();
        if (_memory != null)
        {
            _ = Linux.Unmap(_memory, _memorySize);
            _memory = null;
        }

        foreach (EventFd? vector in _vectors)
        {
            vector?.Dispose();
        }

        _vectors = [];
    }

    private static string Find(ushort vendor, ushort device)
    {
        const string Folder = "/sys/bus/pci/devices";
        string? named = Environment.GetEnvironmentVariable("COSIM_ENDPOINT");
        IEnumerable<string> functions = Directory.Exists(Folder) ? Directory.EnumerateDirectories(Folder).Order(StringComparer.Ordinal) : [];
        foreach (string function in functions)
        {
            string address = Path.GetFileName(function);
            if (ReadHex(Path.Combine(function, "vendor")) != vendor
                || ReadHex(Path.Combine(function, "device")) != device
                || (!string.IsNullOrEmpty(named) && named != address))
            {
                continue;
            }

            string? driver = Path.GetFileName(new DirectoryInfo(Path.Combine(function, "driver")).LinkTarget);
            return driver == "vfio-pci"
                ? address
                : throw new BackendException(
                    $"PCI function {address} ({vendor:x4}:{device:x4}) is held by {driver ?? "no driver"}; expected vfio-pci.");
        }

        throw new BackendException($"There is no PCI function {vendor:x4}:{device:x4} in {Folder}.");
    }

    private static uint ReadHex(string path) =>
        File.Exists(path) && uint.TryParse(File.ReadAllText(path).Trim().AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out uint value)
            ? value
            : uint.MaxValue;

    private static void Require(int result, string what)
    {
        if (result < 0)
        {
            throw new BackendException($"{what}: {Linux.LastError}.");
        }
    }

    private static (ulong Size, long Offset) GetRegion(int handle, int index)
    {
        RegionInformation info = new() { Argsz = (uint)sizeof(RegionInformation), Index = (uint)index };
        Require(Linux.Control(handle, VFIO_DEVICE_GET_REGION_INFO, &info), $"Region {index} of the endpoint");
        return (info.Size, (long)info.Offset);
    }

    private int Open(string path)
    {
        int fd = Linux.Open(path, Linux.O_RDWR | Linux.O_CLOEXEC);
        Require(fd, $"Cannot open {path}");
        _descriptors.Add(fd);
        return fd;
    }

    private int OpenFunction(string address, int container)
    {
        string? link = new DirectoryInfo($"/sys/bus/pci/devices/{address}/iommu_group").LinkTarget;
        if (link is null)
        {
            throw new BackendException($"PCI function {address} is in no IOMMU group: is the machine's IOMMU switched on?");
        }

        string number = Path.GetFileName(link);
        int group = Open($"/dev/vfio/{number}");
        GroupStatus status = new() { Argsz = (uint)sizeof(GroupStatus) };
        Require(Linux.Control(group, VFIO_GROUP_GET_STATUS, &status), $"IOMMU group {number}");
        if ((status.Flags & VFIO_GROUP_FLAGS_VIABLE) == 0)
        {
            throw new BackendException($"IOMMU group {number} of {address} holds functions that other drivers use.");
        }

        Require(Linux.Control(group, VFIO_GROUP_SET_CONTAINER, &container), $"IOMMU group {number} into a container");
        Require(Linux.Control(container, VFIO_SET_IOMMU, (void*)VFIO_TYPE1v2_IOMMU), "The container's IOMMU");
        fixed (byte* name = Encoding.ASCII.GetBytes(address + '\0'))
        {
            int handle = Linux.Control(group, VFIO_GROUP_GET_DEVICE_FD, name);
            Require(handle, $"PCI function {address}");
            _descriptors.Add(handle);
            return handle;
        }
    }

    private void MapRegisters(int handle)
    {
        (ulong size, long offset) = GetRegion(handle, VfioPci.Bar0RegionIndex);
        void* registers = Linux.Map(null, (nuint)size, Linux.PROT_READ_WRITE, Linux.MAP_SHARED, handle, offset);
        if (registers == Linux.MAP_FAILED)
        {
            throw new BackendException($"BAR0 of the endpoint ({size} bytes) cannot be mapped: {Linux.LastError}.");
        }

        _registers = (uint*)registers;
        _registersSize = (nuint)size;
    }

    private Pool MapPool(int container, long poolSize, ulong iova)
    {
        nuint size = (nuint)((poolSize + HugepageSize - 1) / HugepageSize * HugepageSize);
        void* memory = Linux.Map(
            null,
            size,
            Linux.PROT_READ_WRITE,
            Linux.MAP_SHARED | Linux.MAP_ANONYMOUS | Linux.MAP_HUGETLB | Linux.MAP_POPULATE,
            -1,
            0);
        if (memory == Linux.MAP_FAILED)
        {
            throw new BackendException(
                $"A pool of {size >> 20} MiB of hugepages cannot be had ({Linux.LastError}): /proc/sys/vm/nr_hugepages must allow {size / HugepageSize}.");
        }

        _memory = memory;
        _memorySize = size;
        DmaMap map = new()
        {
            Argsz = (uint)sizeof(DmaMap),
            Flags = VFIO_DMA_MAP_FLAG_READ_WRITE,
            Address = (ulong)memory,
            Iova = iova,
            Size = size,
        };
        Require(Linux.Control(container, VFIO_IOMMU_MAP_DMA, &map), $"The pool at IOVA 0x{iova:x}");
        return new Pool((byte*)memory, iova, size);
    }

    private static void EnableBusMaster(int handle)
    {
        (_, long offset) = GetRegion(handle, VfioPci.ConfigRegionIndex);
        ushort command = 0;
        if (Linux.ReadAt(handle, &command, sizeof(ushort), offset + 4) == sizeof(ushort))
        {
            command |= 6; // Memory Space, Bus Master
            if (Linux.WriteAt(handle, &command, sizeof(ushort), offset + 4) == sizeof(ushort))
            {
                return;
            }
        }

        throw new BackendException($"The endpoint's Command register cannot be written: {Linux.LastError}.");
    }

    private void ArmVectors(int handle)
    {
        IrqInformation info = new() { Argsz = (uint)sizeof(IrqInformation), Index = VfioPci.MsixIrqIndex };
        Require(Linux.Control(handle, VFIO_DEVICE_GET_IRQ_INFO, &info), "MSI-X of the endpoint");
        _vectors = new EventFd[info.Count];

        // struct vfio_irq_set: argsz, flags, index, start, count, then one descriptor each.
        int[] set = new int[5 + _vectors.Length];
        set[0] = set.Length * sizeof(int);
        set[1] = (int)(IrqSetFlags.ActionTrigger | IrqSetFlags.DataEventFd);
        set[2] = VfioPci.MsixIrqIndex;
        set[4] = _vectors.Length;
        for (int vector = 0; vector < _vectors.Length; vector++)
        {
            _vectors[vector] = new EventFd();
            set[5 + vector] = _vectors[vector].Fd;
        }

        fixed (int* argument = set)
        {
            Require(Linux.Control(handle, VFIO_DEVICE_SET_IRQS, argument), $"{_vectors.Length} MSI-X vectors of the endpoint");
        }
    }

    /// <summary>struct vfio_group_status.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct GroupStatus
    {
        internal uint Argsz;
        internal uint Flags;
    }

    /// <summary>struct vfio_region_info.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct RegionInformation
    {
        internal uint Argsz;
        internal uint Flags;
        internal uint Index;
        internal uint CapabilityOffset;
        internal ulong Size;
        internal ulong Offset;
    }

    /// <summary>struct vfio_irq_info.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct IrqInformation
    {
        internal uint Argsz;
        internal uint Flags;
        internal uint Index;
        internal uint Count;
    }

    /// <summary>struct vfio_iommu_type1_dma_map.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct DmaMap
    {
        internal uint Argsz;
        internal uint Flags;
        internal ulong Address;
        internal ulong Iova;
        internal ulong Size;
    }
}
