// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Scheduling;

/// <content>What a program that plays a host can do, on ports with <see cref="ProgramHostOptions"/>.</content>
public sealed partial class Bridge
{
    /// <summary>Reads configuration space.</summary>
    /// <param name="port">Port number.</param>
    /// <param name="function">Function number.</param>
    /// <param name="offset">Byte offset below 4096.</param>
    /// <param name="length">Bytes; any alignment.</param>
    /// <exception cref="InvalidOperationException">No program plays this host, or there is no such function.</exception>
    public Task<TransactionResult> ReadConfig(int port, int function, int offset, int length) =>
        Invoke(() => Programmed(port).ReadConfig(function, offset, length)).Unwrap();

    /// <summary>Writes configuration space.</summary>
    /// <inheritdoc cref="ReadConfig"/>
    public Task<TransactionResult> WriteConfig(int port, int function, int offset, byte[] data) =>
        Invoke(() => Programmed(port).WriteConfig(function, offset, data)).Unwrap();

    /// <summary>Reads a BAR, split into aligned requests of up to 8 bytes.</summary>
    /// <param name="port">Port number.</param>
    /// <param name="function">Function number.</param>
    /// <param name="bar">BAR number.</param>
    /// <param name="offset">Offset in the BAR.</param>
    /// <param name="length">Bytes.</param>
    /// <exception cref="InvalidOperationException">No program plays this host, or there is no such function.</exception>
    public Task<TransactionResult> ReadMemory(int port, int function, int bar, ulong offset, int length) =>
        Invoke(() => Programmed(port).ReadMemory(function, bar, offset, length)).Unwrap();

    /// <summary>Writes a BAR; ends when the last TLP has been sent.</summary>
    /// <inheritdoc cref="ReadMemory"/>
    public Task<TransactionResult> WriteMemory(int port, int function, int bar, ulong offset, byte[] data) =>
        Invoke(() => Programmed(port).WriteMemory(function, bar, offset, data)).Unwrap();

    /// <summary>Reads the memory of the host that a program plays.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Beyond that memory.</exception>
    public Task<byte[]> ReadHostMemory(int port, ulong address, int length) => Invoke(() => HostMemory(port, address, length).ToArray());

    /// <summary>Writes the memory of the host that a program plays.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Beyond that memory.</exception>
    public Task WriteHostMemory(int port, ulong address, ReadOnlyMemory<byte> data) => Invoke(() =>
    {
        data.Span.CopyTo(HostMemory(port, address, data.Length));
        return true;
    });

    /// <summary>The oldest interrupt of a function that nobody has taken yet, or the next one.</summary>
    public Task<HostInterrupt> WaitInterrupt(int port, int function, CancellationToken cancellation) =>
        Invoke(() => Programmed(port).WaitInterrupt(function, cancellation)).Unwrap();

    /// <summary>Arms MSI-X vectors of a function, which writes their table entries and sets MSI-X Enable.</summary>
    public Task ArmVectors(int port, int function, int start, int count) => Invoke(() =>
    {
        Programmed(port).ArmVectors(function, start, count);
        return true;
    });

    /// <summary>Masks MSI-X vectors of a function again; MSI-X Enable falls with the last one.</summary>
    public Task DisarmVectors(int port, int function, int start, int count) => Invoke(() =>
    {
        Programmed(port).DisarmVectors(function, start, count);
        return true;
    });

    /// <summary>Lets INTx of a function interrupt again: it is masked from each interrupt on, as by an interrupt controller. A line that is still high does so at once.</summary>
    public Task UnmaskIntx(int port, int function) => Invoke(() =>
    {
        Programmed(port).UnmaskIntx(function);
        return true;
    });

    /// <summary>Adds an observer of every TLP of a port. It is called on the bridge's thread.</summary>
    public Task Observe(int port, ITlpObserver observer) => Invoke(() =>
    {
        _ports[port].Observe(observer);
        return true;
    });

    /// <summary>Takes an observer away.</summary>
    public Task EndObservation(int port, ITlpObserver observer) => Invoke(() =>
    {
        _ports[port].EndObservation(observer);
        return true;
    });

    private Port Programmed(int port) => port < _ports.Length && _ports[port].IsProgrammed
        ? _ports[port]
        : throw new InvalidOperationException($"bridge {_options.Name}: no program plays the host of port {port}");

    private Span<byte> HostMemory(int port, ulong address, int length) => Programmed(port).Memory.TrySlice(address, length, out Span<byte> bytes)
        ? bytes
        : throw new ArgumentOutOfRangeException(nameof(address), $"0x{address:X}+{length} is beyond the memory of host {port + 1}");
}
