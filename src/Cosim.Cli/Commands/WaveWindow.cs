// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using System.Text;
using Cosim.Waveforms;

namespace Cosim.Cli.Commands;

/// <summary>A window of cycles of a simulator's waveform: the simulator writes into a pipe, and what leaves it is cut as it comes.</summary>
/// <remarks>Simulators dump from their start on; so nothing but the window is ever on the disk.</remarks>
internal sealed partial class WaveWindow : IDisposable
{
    private const int NanosecondsPerCycle = 4;
    private const string Last = "$comment the simulator has ended $end";
    private const uint OwnerReadWrite = 0x180;

    private readonly string _folder;
    private readonly FileStream _pipe;
    private readonly Task _copy;

    /// <summary>Makes the pipe and begins to wait for the simulator.</summary>
    /// <param name="file">The file for the window.</param>
    /// <param name="from">First cycle.</param>
    /// <param name="to">Last cycle.</param>
    /// <exception cref="IOException">The file or the pipe cannot be made.</exception>
    internal WaveWindow(string file, ulong from, ulong to)
    {
        _folder = Directory.CreateTempSubdirectory("cosim-wave-").FullName;
        Source = Path.Combine(_folder, "wave.vcd");
        if (MakeFifo(Source, OwnerReadWrite) != 0)
        {
            throw new IOException($"{Source}: a pipe cannot be made: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        // Open for both: the simulator finds a reader, and the reader no end before it is told so.
        _pipe = new FileStream(Source, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        _copy = Task.Factory.StartNew(
            () =>
            {
                VcdWindow.Copy(_pipe, File.Create(file), Nanoseconds(from), to == ulong.MaxValue ? to : Nanoseconds(to + 1), Last);
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
    }

    /// <summary>What the simulator is to write.</summary>
    internal string Source { get; }

    /// <summary>The simulator has ended: waits until the window is written.</summary>
    internal void Complete()
    {
        if (!_copy.IsCompleted)
        {
            _pipe.Write(Encoding.ASCII.GetBytes($"\n{Last}\n"));
        }

        _copy.GetAwaiter().GetResult();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pipe.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static ulong Nanoseconds(ulong cycle) => cycle > ulong.MaxValue / NanosecondsPerCycle ? ulong.MaxValue : cycle * NanosecondsPerCycle;

    [LibraryImport("libc", EntryPoint = "mkfifo", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeFifo(string path, uint mode);
}
