// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Scheduling;

/// <summary>An interrupt that a function raised.</summary>
/// <param name="Vector">MSI-X vector, or -1: INTx.</param>
/// <param name="Cycle">Cycle of its TLP.</param>
public readonly record struct HostInterrupt(int Vector, ulong Cycle);

/// <summary>The memory of a host that a program plays; all functions of the port see the same.</summary>
internal sealed class ProgramMemory(ulong start, int bytes)
{
    private readonly byte[] _bytes = new byte[bytes];

    public Span<byte> Bytes => _bytes;

    public bool TrySlice(ulong address, int length, out Span<byte> slice)
    {
        slice = default;
        address -= start; // below the start it becomes greater than any length
        if (address > (ulong)_bytes.Length || (ulong)length > (ulong)_bytes.Length - address)
        {
            return false;
        }

        slice = _bytes.AsSpan((int)address, length);
        return true;
    }
}

/// <summary>One function of a port whose host is played by a program: memory is an array, interrupts are kept until they are taken.</summary>
internal sealed class ProgramFunction(ProgramMemory memory, ITlpLink link, TaskEnds ends) : IPcieHost
{
    private const int MostInterrupts = 4096;
    private const int MostWaiting = 1024;

    private readonly Queue<HostInterrupt> _interrupts = new();
    private readonly Queue<Waiting> _waiting = new();

    public DmaStatus Read(ulong address, Span<byte> data)
    {
        if (!memory.TrySlice(address, data.Length, out Span<byte> bytes))
        {
            return DmaStatus.Unmapped;
        }

        bytes.CopyTo(data);
        return DmaStatus.Ok;
    }

    public DmaStatus Write(ulong address, ReadOnlySpan<byte> data)
    {
        if (!memory.TrySlice(address, data.Length, out Span<byte> bytes))
        {
            return DmaStatus.Unmapped;
        }

        data.CopyTo(bytes);
        return DmaStatus.Ok;
    }

    public void Fence()
    {
        // Programs see this memory through the bridge's thread only.
    }

    public void MsixInterrupt(int vector) => Raise(new HostInterrupt(vector, link.Cycle));

    public void Intx(bool asserted)
    {
        if (asserted)
        {
            Raise(new HostInterrupt(-1, link.Cycle));
        }
    }

    /// <summary>The oldest interrupt that nobody has taken, or the next.</summary>
    public Task<HostInterrupt> WaitInterrupt(CancellationToken cancellation)
    {
        if (_interrupts.TryDequeue(out HostInterrupt interrupt))
        {
            return Task.FromResult(interrupt);
        }

        if (_waiting.Count == MostWaiting)
        {
            ForgetCancelled();
        }

        TaskCompletionSource<HostInterrupt> source = ends.Begin<HostInterrupt>();
        CancellationTokenRegistration registration = cancellation.Register(() => source.TrySetCanceled(cancellation));
        _waiting.Enqueue(new Waiting(source, registration));
        return source.Task;
    }

    private void Raise(HostInterrupt interrupt)
    {
        while (_waiting.TryDequeue(out Waiting? waiting))
        {
            // A caller's token may live on: it shall not keep all who ever waited.
            _ = waiting.Registration.Unregister();
            if (ends.End(waiting.Source, interrupt))
            {
                return;
            }
        }

        if (_interrupts.Count == MostInterrupts)
        {
            _ = _interrupts.Dequeue();
        }

        _interrupts.Enqueue(interrupt);
    }

    // Those who have given up are not waited for; whoever is left waits on.
    private void ForgetCancelled()
    {
        for (int left = _waiting.Count; left > 0; left--)
        {
            Waiting waiting = _waiting.Dequeue();
            if (!waiting.Source.Task.IsCompleted)
            {
                _waiting.Enqueue(waiting);
            }
        }

        if (_waiting.Count == MostWaiting)
        {
            throw new InvalidOperationException($"{MostWaiting} calls wait for an interrupt of the function already");
        }
    }

    private sealed record Waiting(TaskCompletionSource<HostInterrupt> Source, CancellationTokenRegistration Registration);
}
