// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Cosim.VfioUser.Internal;

namespace Cosim.VfioUser;

/// <summary>
/// The DMA map of one client: which of its memory the device may reach, and the copies to and from it. Every access is
/// checked against the map. One thread at a time.
/// </summary>
/// <remarks>
/// A naturally aligned part of 2, 4 or 8 bytes of the guest range is always a single access. Accesses allocate nothing.
/// A client that shrinks the file behind a map causes <see cref="DmaResult.Faulted"/>, not the end of the process.
/// </remarks>
public sealed unsafe class GuestMemory : IDisposable
{
    /// <summary>Ranges are multiples of this many bytes when they come with a descriptor.</summary>
    public const int PageSize = 4096;

    private Mapping[] _maps = new Mapping[64];
    private int _count;
    private int _lastHit;

    /// <summary>Creates an empty map.</summary>
    /// <param name="capacity">How many ranges it may hold (max_dma_maps).</param>
    public GuestMemory(int capacity = 32768)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        Capacity = capacity;
    }

    /// <summary>How many ranges the map may hold.</summary>
    public int Capacity { get; }

    /// <summary>How many ranges it holds.</summary>
    public int Count => _count;

    /// <summary>Takes note of the pages that are written; null: nobody wants to know.</summary>
    internal DirtyLog? DirtyLog { get; set; }

    /// <summary>A full memory barrier: what was written before it is seen before what is written after it, and no later read runs ahead of it.</summary>
    public static void Fence() => Interlocked.MemoryBarrier();

    /// <summary>Adds a range backed by a file.</summary>
    /// <param name="range">DMA addresses; must not overlap a range of the map.</param>
    /// <param name="access">What it allows.</param>
    /// <param name="fd">A regular file (memfd, tmpfs, hugetlbfs); -1 for a range that the client has to be asked for. The caller keeps it and may close it.</param>
    /// <param name="offset">Where the range starts in the file; a multiple of the page size.</param>
    /// <returns>
    /// EEXIST when it overlaps, ENOSPC when the map is full, EINVAL when address, size or offset do not fit pages or the
    /// file is too short or of another kind, otherwise what mmap(2) says.
    /// </returns>
    public Errno Map(DmaRange range, DmaAccess access, int fd, ulong offset)
    {
        int index = FirstEndingAtOrAfter(range.First);
        if (index < _count && _maps[index].First <= range.Last)
        {
            return Errno.EEXIST;
        }

        if (_count == Capacity)
        {
            return Errno.ENOSPC;
        }

        byte* host = null;
        if (fd >= 0)
        {
            Errno error = MapFile(range, access, fd, offset, out host);
            if (error != Errno.None)
            {
                return error;
            }
        }

        if (_count == _maps.Length)
        {
            Array.Resize(ref _maps, _count * 2);
        }

        Array.Copy(_maps, index, _maps, index + 1, _count - index);
        _maps[index] = new Mapping { First = range.First, Last = range.Last, Host = host, Access = access };
        _count++;
        return Errno.None;
    }

    /// <summary>Removes the ranges that lie within <paramref name="range"/>; one that holds none is no error.</summary>
    /// <returns>EINVAL, with nothing removed, when a range of the map lies partly inside.</returns>
    public Errno Unmap(DmaRange range)
    {
        if (!TryFindWhole(range, out int first, out int end))
        {
            return Errno.EINVAL;
        }

        for (int index = first; index < end; index++)
        {
            Release(ref _maps[index]);
        }

        Array.Copy(_maps, end, _maps, first, _count - end);
        _count -= end - first;
        _lastHit = 0;
        return Errno.None;
    }

    /// <summary>Removes everything.</summary>
    public void Clear()
    {
        for (int index = 0; index < _count; index++)
        {
            Release(ref _maps[index]);
        }

        _count = 0;
        _lastHit = 0;
    }

    /// <summary>Copies client memory to <paramref name="destination"/>.</summary>
    /// <param name="iova">DMA address of the first byte.</param>
    /// <param name="destination">Takes as many bytes as it has; undefined unless the result is Ok.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public DmaResult Read(ulong iova, Span<byte> destination)
    {
        if (destination.IsEmpty)
        {
            return DmaResult.Ok;
        }

        DmaResult result = Check(iova, (ulong)destination.Length, DmaAccess.Read);
        if (result != DmaResult.Ok)
        {
            return result;
        }

        fixed (byte* local = destination)
        {
            int index = _lastHit;
            ulong done = 0;
            ulong length = (ulong)destination.Length;
            while (true)
            {
                ref readonly Mapping map = ref _maps[index];
                ulong address = iova + done;
                ulong part = Math.Min(length - done - 1, map.Last - address) + 1;
                if (NativeCopy.Read(local + done, map.Host + (address - map.First), (nuint)part) != 0)
                {
                    return DmaResult.Faulted;
                }

                done += part;
                if (done == length)
                {
                    return DmaResult.Ok;
                }

                index++;
            }
        }
    }

    /// <summary>Copies <paramref name="source"/> to client memory.</summary>
    /// <param name="iova">DMA address of the first byte.</param>
    /// <param name="source">Bytes to write.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public DmaResult Write(ulong iova, ReadOnlySpan<byte> source)
    {
        if (source.IsEmpty)
        {
            return DmaResult.Ok;
        }

        DmaResult result = Check(iova, (ulong)source.Length, DmaAccess.Write);
        if (result != DmaResult.Ok)
        {
            return result;
        }

        fixed (byte* local = source)
        {
            int index = _lastHit;
            ulong done = 0;
            ulong length = (ulong)source.Length;
            while (true)
            {
                ref readonly Mapping map = ref _maps[index];
                ulong address = iova + done;
                ulong part = Math.Min(length - done - 1, map.Last - address) + 1;
                if (NativeCopy.Write(local + done, map.Host + (address - map.First), (nuint)part) != 0)
                {
                    DirtyLog?.Mark(iova, length);
                    return DmaResult.Faulted;
                }

                done += part;
                if (done == length)
                {
                    DirtyLog?.Mark(iova, length);
                    return DmaResult.Ok;
                }

                index++;
            }
        }
    }

    /// <summary>Whether a range could be accessed now, without touching it.</summary>
    /// <param name="iova">First address.</param>
    /// <param name="length">Bytes, at least 1.</param>
    /// <param name="access">The direction or directions needed.</param>
    /// <returns>Ok, Unmapped, Remote or Denied.</returns>
    public DmaResult Check(ulong iova, ulong length, DmaAccess access)
    {
        if (!DmaRange.TryCreate(iova, length, out DmaRange range))
        {
            return DmaResult.Unmapped;
        }

        int index = _lastHit;
        if (index >= _count || iova < _maps[index].First || iova > _maps[index].Last)
        {
            index = FirstEndingAtOrAfter(iova);
        }

        int hit = index;
        bool remote = false;
        ulong address = iova;
        while (true)
        {
            if (index >= _count || address < _maps[index].First)
            {
                return DmaResult.Unmapped;
            }

            ref readonly Mapping map = ref _maps[index];
            remote |= map.Host == null;
            if ((map.Access & access) != access)
            {
                return DmaResult.Denied;
            }

            if (map.Last >= range.Last)
            {
                _lastHit = hit;
                return remote ? DmaResult.Remote : DmaResult.Ok;
            }

            address = map.Last + 1;
            index++;
        }
    }

    /// <summary>Removes everything.</summary>
    public void Dispose() => Clear();

    /// <summary>Whether <paramref name="range"/> holds only whole ranges of the map.</summary>
    internal bool CanUnmap(DmaRange range) => TryFindWhole(range, out int _, out int _);

    private static Errno MapFile(DmaRange range, DmaAccess access, int fd, ulong offset, out byte* host)
    {
        host = null;
        ulong size = unchecked(range.Last - range.First + 1);
        if ((range.First | size | offset) % PageSize != 0 || size == 0)
        {
            return Errno.EINVAL;
        }

        if (!Libc.TryStatus(fd, out Libc.FileStatus status)
            || (status.Mode & Libc.S_IFMT) != Libc.S_IFREG
            || offset > status.Size
            || size > status.Size - offset)
        {
            return Errno.EINVAL;
        }

        int protection = ((access & DmaAccess.Read) != 0 ? Libc.PROT_READ : 0)
            | ((access & DmaAccess.Write) != 0 ? Libc.PROT_WRITE : 0);
        void* address = Libc.Map(null, (nuint)size, protection, Libc.MAP_SHARED, fd, (long)offset);
        if (address == Libc.MAP_FAILED)
        {
            return (Errno)Marshal.GetLastPInvokeError();
        }

        host = (byte*)address;
        return Errno.None;
    }

    private static void Release(ref Mapping map)
    {
        if (map.Host != null)
        {
            _ = Libc.Unmap(map.Host, (nuint)(map.Last - map.First + 1));
        }

        map = default;
    }

    private bool TryFindWhole(DmaRange range, out int first, out int end)
    {
        first = FirstEndingAtOrAfter(range.First);
        end = first;
        if (first < _count && _maps[first].First < range.First)
        {
            return false;
        }

        while (end < _count && _maps[end].First <= range.Last)
        {
            if (_maps[end].Last > range.Last)
            {
                return false;
            }

            end++;
        }

        return true;
    }

    private int FirstEndingAtOrAfter(ulong address)
    {
        int low = 0;
        int high = _count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (_maps[middle].Last < address)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private struct Mapping
    {
        internal ulong First;
        internal ulong Last;
        internal byte* Host;
        internal DmaAccess Access;
    }
}
