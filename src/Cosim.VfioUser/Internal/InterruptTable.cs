// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser.Internal;

/// <summary>The eventfds a client gave for the device's interrupts, and the mask of the INTx line.</summary>
internal sealed class InterruptTable : IDisposable
{
    private readonly IrqInfo[] _info = new IrqInfo[VfioPci.IrqCount];
    private readonly int[][] _eventFds = new int[VfioPci.IrqCount][];

    internal InterruptTable(IVfioUserDevice device)
    {
        for (int index = 0; index < VfioPci.IrqCount; index++)
        {
            _info[index] = device.GetIrq(index);
            _eventFds[index] = new int[_info[index].Count];
            Array.Fill(_eventFds[index], -1);
        }
    }

    /// <summary>The line has triggered, or the client masked it, and was not unmasked since.</summary>
    internal bool IntxMasked { get; set; }

    internal IrqInfo Info(int index) => _info[index];

    internal bool IsArmed(int index, int interrupt) => _eventFds[index][interrupt] >= 0;

    internal void Arm(int index, int interrupt, int fd)
    {
        Disarm(index, interrupt);
        _eventFds[index][interrupt] = fd;
    }

    internal void Disarm(int index, int interrupt)
    {
        if (_eventFds[index][interrupt] >= 0)
        {
            _ = Libc.Close(_eventFds[index][interrupt]);
            _eventFds[index][interrupt] = -1;
        }
    }

    /// <summary>Signals one interrupt; what was written to memory before is visible before it.</summary>
    /// <returns>False when it is not armed, or masked.</returns>
    internal bool Raise(int index, int interrupt)
    {
        int fd = _eventFds[index][interrupt];
        if (fd < 0 || (index == VfioPci.IntxIrqIndex && IntxMasked))
        {
            return false;
        }

        if (index == VfioPci.IntxIrqIndex && (_info[index].Flags & IrqFlags.AutoMasked) != 0)
        {
            IntxMasked = true;
        }

        GuestMemory.Fence();
        EventFd.Signal(fd);
        return true;
    }

    /// <summary>Back to what holds before a client comes.</summary>
    internal void Clear()
    {
        for (int index = 0; index < VfioPci.IrqCount; index++)
        {
            for (int interrupt = 0; interrupt < _eventFds[index].Length; interrupt++)
            {
                Disarm(index, interrupt);
            }
        }

        IntxMasked = false;
    }

    public void Dispose() => Clear();
}
