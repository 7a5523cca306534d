// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser.Internal;

/// <summary>Descriptors that came with a message and that nobody has taken yet; what is not taken is closed.</summary>
internal sealed class DescriptorQueue
{
    private readonly int[] _descriptors = new int[Wire.MaxDescriptors];

    internal int Count { get; private set; }

    /// <summary>More came than a message may carry.</summary>
    internal bool Overflowed { get; private set; }

    internal void Add(int fd)
    {
        if (Count == _descriptors.Length)
        {
            Overflowed = true;
            _ = Libc.Close(fd);
            return;
        }

        _descriptors[Count++] = fd;
    }

    internal void MarkOverflow() => Overflowed = true;

    /// <summary>The descriptor at a place, still owned by the queue.</summary>
    internal int Peek(int index) => _descriptors[index];

    /// <summary>Passes the descriptor at a place to the caller.</summary>
    internal int Take(int index)
    {
        int fd = _descriptors[index];
        _descriptors[index] = -1;
        return fd;
    }

    internal void CloseAll()
    {
        for (int index = 0; index < Count; index++)
        {
            if (_descriptors[index] >= 0)
            {
                _ = Libc.Close(_descriptors[index]);
            }
        }

        Count = 0;
        Overflowed = false;
    }
}
