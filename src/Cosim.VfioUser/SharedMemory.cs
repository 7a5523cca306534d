// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <summary>Anonymous memory behind a descriptor (memfd), mapped here and fit to be mapped elsewhere.</summary>
public sealed unsafe class SharedMemory : IDisposable
{
    private readonly nuint _mapped;
    private byte* _address;

    /// <summary>Creates zeroed memory.</summary>
    /// <param name="length">Bytes; a multiple of the page size if it is to be mapped for DMA.</param>
    /// <param name="name">Shown in /proc, of no other meaning.</param>
    /// <exception cref="VfioUserException">No memory or no descriptor was to be had.</exception>
    public SharedMemory(long length, string name = "shared")
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        Fd = Libc.CreateMemory(name, Libc.MFD_CLOEXEC);
        if (Fd < 0)
        {
            throw VfioUserException.FromLastError("memfd_create");
        }

        void* address = Libc.MAP_FAILED;
        if (Libc.Truncate(Fd, length) == 0)
        {
            address = Libc.Map(null, (nuint)length, Libc.PROT_READ | Libc.PROT_WRITE, Libc.MAP_SHARED, Fd, 0);
        }

        if (address == Libc.MAP_FAILED)
        {
            VfioUserException error = VfioUserException.FromLastError($"{length} bytes of shared memory");
            _ = Libc.Close(Fd);
            throw error;
        }

        _mapped = (nuint)length;
        _address = (byte*)address;
        Length = length;
    }

    /// <summary>The descriptor; owned by this object.</summary>
    public int Fd { get; private set; }

    /// <summary>Bytes the file has.</summary>
    public long Length { get; private set; }

    /// <summary>First byte; null after disposal.</summary>
    public byte* Address => _address;

    /// <summary>Part of the memory.</summary>
    public Span<byte> Span(long offset, int length)
    {
        ObjectDisposedException.ThrowIf(_address == null, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + length, (long)_mapped);
        return new Span<byte>(_address + offset, length);
    }

    /// <summary>Changes the size of the file under its mappings: beyond the new end an access raises SIGBUS.</summary>
    public void Truncate(long length)
    {
        if (Libc.Truncate(Fd, length) != 0)
        {
            throw VfioUserException.FromLastError("ftruncate");
        }

        Length = length;
    }

    /// <summary>Unmaps the memory and closes its descriptor.</summary>
    public void Dispose()
    {
        if (_address != null)
        {
            _ = Libc.Unmap(_address, _mapped);
            _address = null;
            _ = Libc.Close(Fd);
            Fd = -1;
        }
    }
}
