// SPDX-License-Identifier: Apache-2.0
using Cosim.VfioUser;

namespace Cosim.Fuzzing.Targets;

/// <summary>Whether descriptors of the kinds that clients and servers pass each other were left open.</summary>
/// <remarks>
/// A new descriptor has the lowest number that is free: as long as that is the number it was, none below it was left. Only where it is another one are
/// all of them looked at, which takes longer than an execution.
/// </remarks>
internal sealed class DescriptorCount
{
    /// <summary>Name of all memory that a client passes.</summary>
    public const string MemoryName = "vfio-user-fuzz";

    private int _lowest;
    private int _count;

    /// <summary>From now on what is open now counts as none.</summary>
    public void Begin()
    {
        _lowest = Lowest();
        _count = Count();
    }

    /// <summary>How many more are open than there were.</summary>
    public int Left()
    {
        if (Lowest() == _lowest)
        {
            return 0;
        }

        int left = Count() - _count;
        if (left <= 0)
        {
            // Somebody else in this process has opened or closed something.
            Begin();
        }

        return Math.Max(0, left);
    }

    private static int Lowest()
    {
        using EventFd probe = new();
        return probe.Fd;
    }

    private static int Count() => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count(IsPassed);

    private static bool IsPassed(string entry)
    {
        // One that is closed meanwhile, as that of the folder itself, has none.
        string target = new FileInfo(entry).LinkTarget ?? string.Empty;
        return target.Contains("[eventfd]", StringComparison.Ordinal) || target.Contains("[timerfd]", StringComparison.Ordinal)
            || target.Contains("socket:[", StringComparison.Ordinal) || target.Contains(MemoryName, StringComparison.Ordinal);
    }
}
