// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Cosim.Guests.Internal;

/// <summary>
/// The rate of this machine's time-stamp counter, which an interpreted guest gets to see as its own. A guest that finds
/// the rate out by itself takes long over it and, on a busy machine, gets it wrong; its clock then is wrong, too.
/// </summary>
internal static unsafe partial class TimestampCounter
{
    private const int Read = 1;
    private const int Write = 2;
    private const int Execute = 4;
    private const int PrivateAnonymous = 0x22;

    private static readonly Lazy<long?> Rate = new(Measure);

    /// <summary>In kilohertz; null where there is no such counter.</summary>
    public static long? Kilohertz => Rate.Value;

    private static long? Measure()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64)
        {
            return null;
        }

        // rdtsc; shl rdx, 32; or rax, rdx; ret
        ReadOnlySpan<byte> code = [0x0F, 0x31, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0xC3];
        nuint length = (nuint)Environment.SystemPageSize;
        void* page = Map(null, length, Read | Write, PrivateAnonymous, -1, 0);
        if ((nint)page == -1)
        {
            return null;
        }

        try
        {
            code.CopyTo(new Span<byte>(page, code.Length));
            if (Protect(page, length, Read | Execute) != 0)
            {
                return null; // Forbidden by the machine's policy.
            }

            var counter = (delegate* unmanaged<ulong>)page;
            (long firstTime, ulong firstCount) = Sample(counter);
            Thread.Sleep(20);
            (long lastTime, ulong lastCount) = Sample(counter);
            return (long)((lastCount - firstCount) / Stopwatch.GetElapsedTime(firstTime, lastTime).TotalMilliseconds);
        }
        finally
        {
            _ = Unmap(page, length);
        }
    }

    /// <summary>Reads clock and counter together: of several attempts, the one that was interrupted least.</summary>
    private static (long Time, ulong Count) Sample(delegate* unmanaged<ulong> counter)
    {
        (long Time, ulong Count) best = default;
        long bestWidth = long.MaxValue;
        for (int i = 0; i < 50; i++)
        {
            long before = Stopwatch.GetTimestamp();
            ulong count = counter();
            long after = Stopwatch.GetTimestamp();
            if (after - before < bestWidth)
            {
                bestWidth = after - before;
                best = (before + ((after - before) / 2), count);
            }
        }

        return best;
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int fd, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(void* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);
}
