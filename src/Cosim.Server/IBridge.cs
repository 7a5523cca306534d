// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;
using Cosim.V1;

namespace Cosim.Server;

/// <summary>Result of an access that a program makes as a host.</summary>
/// <param name="Status">How it ended.</param>
/// <param name="Data">Of a read: the bytes, all ones in the places of requests that failed. Else empty.</param>
public readonly record struct AccessResult(AccessStatus Status, ReadOnlyMemory<byte> Data);

/// <summary>An interrupt that a function raised.</summary>
/// <param name="Vector">MSI-X vector; null for INTx.</param>
/// <param name="Cycle">Cycle of its TLP.</param>
public readonly record struct RaisedInterrupt(int? Vector, ulong Cycle);

/// <summary>Makes bridges.</summary>
public interface IBridgeFactory
{
    /// <summary>Builds and starts a bridge with its hosts; ends when the sockets exist.</summary>
    /// <param name="scenario">A scenario without violations.</param>
    /// <param name="cancellation">Gives up; nothing is left then.</param>
    /// <exception cref="BridgeException">A tool is missing, or the FPGA or a host does not start. Nothing is left.</exception>
    Task<IBridge> CreateAsync(Scenario scenario, CancellationToken cancellation);

    /// <summary>Clears away what services that were killed have left behind.</summary>
    void ClearLeftovers();
}

/// <summary>
/// A running bridge with its hosts, as the service sees it. All members may be called from any thread. Disposing it ends its hosts and
/// simulator, and completes when they are gone.
/// </summary>
/// <remarks>
/// The accesses throw <see cref="BridgeException"/> where no program plays the host of the port, or where there is no such port or function,
/// and <see cref="ObjectDisposedException"/> after the bridge's end.
/// </remarks>
public interface IBridge : IAsyncDisposable
{
    /// <summary>Raised when what <see cref="GetStatusAsync"/> tells has changed beyond its counters; on any thread.</summary>
    event Action? Changed;

    /// <summary>State, error, functions and counters; the rest of the message is the caller's to fill.</summary>
    Task<BridgeStatus> GetStatusAsync();

    /// <summary>Brings the FPGA back to its state after power-on.</summary>
    Task ResetAsync();

    /// <summary>Begins a recording.</summary>
    /// <param name="file">Name of a file in the folder of recordings; null: a new one.</param>
    /// <param name="reset">Reset the FPGA first.</param>
    /// <exception cref="BridgeException">The bridge is being recorded already, or the file cannot be made.</exception>
    Task<RecordingStatus> StartRecordingAsync(string? file, bool reset);

    /// <summary>Ends the recording; completes when it is in its file.</summary>
    /// <exception cref="BridgeException">The bridge is not being recorded.</exception>
    Task<RecordingStatus> StopRecordingAsync();

    /// <summary>Opens the file of the recording that goes on, or of the last one, to read it.</summary>
    /// <exception cref="BridgeException">There is none.</exception>
    Task<Stream> OpenRecordingAsync();

    /// <summary>Reads configuration space.</summary>
    Task<AccessResult> ReadConfigAsync(int port, int function, int offset, int length);

    /// <summary>Writes configuration space.</summary>
    Task<AccessResult> WriteConfigAsync(int port, int function, int offset, ReadOnlyMemory<byte> data);

    /// <summary>Reads a BAR.</summary>
    Task<AccessResult> ReadMemoryAsync(int port, int function, int bar, ulong offset, int length);

    /// <summary>Writes a BAR; ends when the last TLP has left.</summary>
    Task<AccessResult> WriteMemoryAsync(int port, int function, int bar, ulong offset, ReadOnlyMemory<byte> data);

    /// <summary>Reads the memory of the host that a program plays.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Beyond that memory.</exception>
    Task<ReadOnlyMemory<byte>> ReadHostMemoryAsync(int port, ulong address, int length);

    /// <summary>Writes the memory of the host that a program plays.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Beyond that memory.</exception>
    Task WriteHostMemoryAsync(int port, ulong address, ReadOnlyMemory<byte> data);

    /// <summary>Programs MSI-X table entries and enables MSI-X.</summary>
    Task ArmVectorsAsync(int port, int function, int start, int count);

    /// <summary>The oldest interrupt of the function that nobody has taken, or the next.</summary>
    Task<RaisedInterrupt> WaitInterruptAsync(int port, int function, CancellationToken cancellation);

    /// <summary>Number of ports that have a host.</summary>
    int Ports { get; }

    /// <summary>Shows every TLP of a port to the observer, on the bridge's thread, until the result is disposed.</summary>
    Task<IDisposable> ObserveAsync(int port, ITlpObserver observer);
}
