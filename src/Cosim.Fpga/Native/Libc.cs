// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Cosim.Fpga.Native;

/// <summary>What the link needs of the C library: shared memory and futexes.</summary>
internal static unsafe partial class Libc
{
    private const int ProtReadWrite = 3;
    private const int MapShared = 1;
    private const uint CloseOnExec = 1;
    private const int FutexWaitOperation = 0;
    private const int FutexWakeOperation = 1;

    private static readonly nint FutexNumber = RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => 202,
        Architecture.Arm64 => 98,
        var other => throw new PlatformNotSupportedException($"the native link knows no futex on {other}."),
    };

    /// <summary>Makes anonymous shared memory; gives its descriptor.</summary>
    public static int CreateMemory(string name, long size)
    {
        int file = MemfdCreate(name, CloseOnExec);
        if (file < 0 || Ftruncate(file, size) != 0)
        {
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        }

        return file;
    }

    /// <summary>Maps a descriptor for reading and writing.</summary>
    public static nint Map(int file, nint size)
    {
        nint address = Mmap(0, size, ProtReadWrite, MapShared, file, 0);
        return address == -1 ? throw new Win32Exception(Marshal.GetLastPInvokeError()) : address;
    }

    /// <summary>Removes a mapping.</summary>
    public static void Unmap(nint address, nint size) => _ = Munmap(address, size);

    /// <summary>Closes a descriptor.</summary>
    public static void Close(int file) => _ = CloseFile(file);

    /// <summary>Sleeps while the word still holds <paramref name="value"/>, at most for some time; may come back early.</summary>
    public static void FutexWait(ref uint word, uint value, int milliseconds)
    {
        long* timeout = stackalloc long[2] { milliseconds / 1000, milliseconds % 1000 * 1_000_000L };
        fixed (uint* address = &word)
        {
            _ = Syscall(FutexNumber, (nint)address, FutexWaitOperation, (nint)value, (nint)timeout, 0, 0);
        }
    }

    /// <summary>Wakes the one that sleeps on the word.</summary>
    public static void FutexWake(ref uint word)
    {
        fixed (uint* address = &word)
        {
            _ = Syscall(FutexNumber, (nint)address, FutexWakeOperation, 1, 0, 0, 0);
        }
    }

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MemfdCreate(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    private static partial int Ftruncate(int file, long size);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nint size, int protection, int flags, int file, long offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Munmap(nint address, nint size);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int CloseFile(int file);

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint Syscall(nint number, nint a, nint b, nint c, nint d, nint e, nint f);
}
