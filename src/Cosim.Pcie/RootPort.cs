// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <summary>
/// The root port above the FPGA's PCIe port: turns a host's accesses into TLPs, and TLPs into accesses to the host's memory
/// and interrupts.
/// </summary>
/// <remarks>
/// One thread owns an instance. From within a callback transactions may be started; <see cref="Receive"/>,
/// <see cref="Tick"/>, <see cref="LinkLost"/> and <see cref="ResetPort"/> may not be called. Nothing is allocated for memory and configuration accesses, DMA and interrupts once buffers
/// are warm; the root port's own dealings (walking configuration space, programming vectors, resets, accesses to a BAR that
/// has no address) may allocate.
/// </remarks>
public sealed partial class RootPort
{
    private readonly RootPortOptions _options;
    private readonly ITlpLink _link;
    private readonly IHostCompletion _completion;
    private readonly Action<string>? _report;
    private readonly PcieFunction[] _functions;
    private readonly OutstandingRequests _requests;
    private readonly Queue<PcieFunction> _tagWaiters;
    private readonly byte[] _packet = new byte[Tlp.MaxBytes];
    private HostOperation? _pool;
    private bool _writtenSinceFence;

    /// <summary>Makes a root port.</summary>
    /// <param name="options">Settings.</param>
    /// <param name="link">The way to the FPGA's port.</param>
    /// <param name="hosts">The host of each function, by function number: 1 to 8. One host may stand for several.</param>
    /// <param name="completion">Takes the results of transactions.</param>
    /// <param name="report">Takes one line about each error; null: none. It is not limited here.</param>
    public RootPort(
        RootPortOptions options, ITlpLink link, IReadOnlyList<IPcieHost> hosts, IHostCompletion completion, Action<string>? report = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Tags, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Tags, 256);
        ArgumentOutOfRangeException.ThrowIfZero(options.TimeoutCycles);
        ArgumentOutOfRangeException.ThrowIfZero(hosts.Count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(hosts.Count, 8);
        _options = options;
        _link = link;
        _completion = completion;
        _report = report;
        _functions = new PcieFunction[hosts.Count];
        for (int function = 0; function < hosts.Count; function++)
        {
            _functions[function] = new PcieFunction(function, hosts[function]);
        }

        _requests = new OutstandingRequests(options.Tags);
        _tagWaiters = new Queue<PcieFunction>(hosts.Count);
    }

    /// <summary>Number of functions that have a host.</summary>
    public int FunctionCount => _functions.Length;

    /// <summary>What passed so far.</summary>
    public RootPortCounters Counters { get; } = new();

    /// <summary>Sees each TLP; null: nobody.</summary>
    public ITlpObserver? Observer { get; set; }

    /// <summary>False from <see cref="LinkLost"/> to <see cref="ResetPort"/>: every transaction ends at once with all ones.</summary>
    public bool IsLinkUp { get; private set; } = true;

    /// <summary>Cycle at which <see cref="Tick"/> has to be called next; <see cref="ulong.MaxValue"/> while nothing waits.</summary>
    public ulong NextTimeout => _requests.Oldest < 0 ? ulong.MaxValue : _requests[_requests.Oldest].Deadline;

    /// <summary>Whether nothing is waiting: no transaction, no request, no dealings of the root port's own.</summary>
    public bool IsIdle
    {
        get
        {
            foreach (PcieFunction function in _functions)
            {
                if (function.Head is not null || function.Outstanding != 0 || function.Sequence is not null)
                {
                    return false;
                }
            }

            return true;
        }
    }

    /// <summary>What a function has; null until it was found out (<see cref="Discover"/>, or the first transaction).</summary>
    public FunctionLayout? Layout(int function) => _functions[function].Layout;

    /// <summary>Walks a function's configuration space, if that was not done yet.</summary>
    /// <param name="function">Function number.</param>
    /// <param name="token">Given back on completion: Ok, or UnsupportedRequest when the FPGA has no such function.</param>
    public void Discover(int function, ulong token) => Enqueue(function, OperationKind.Discover, token, 0, 0, 0);

    /// <summary>Reads configuration space.</summary>
    /// <param name="function">Function number.</param>
    /// <param name="offset">Offset of the first byte, any alignment.</param>
    /// <param name="length">Bytes; the range must end by 4096.</param>
    /// <param name="token">Given back on completion.</param>
    public void ConfigRead(int function, int offset, int length, ulong token)
    {
        if (offset < 0 || length < 0 || length > 4096 || offset > 4096 - length)
        {
            Refuse(function, OperationKind.ConfigRead, length, token, $"configuration read of {length} bytes at 0x{offset:x} is outside configuration space");
            return;
        }

        Enqueue(function, OperationKind.ConfigRead, token, 0, (uint)offset, length);
    }

    /// <summary>
    /// Writes configuration space. MSI-X Message Control is not written (the root port rules it); Initiate Function Level
    /// Reset resets the function as <see cref="ResetFunction"/> does but programs armed vectors again.
    /// </summary>
    /// <param name="function">Function number.</param>
    /// <param name="offset">Offset of the first byte, any alignment.</param>
    /// <param name="data">The bytes; the range must end by 4096.</param>
    /// <param name="token">Given back on completion.</param>
    public void ConfigWrite(int function, int offset, ReadOnlySpan<byte> data, ulong token)
    {
        if (offset < 0 || data.Length > 4096 || offset > 4096 - data.Length)
        {
            Refuse(function, OperationKind.ConfigWrite, 0, token, $"configuration write of {data.Length} bytes at 0x{offset:x} is outside configuration space");
            return;
        }

        Enqueue(function, OperationKind.ConfigWrite, token, 0, (uint)offset, data.Length, data);
    }

    /// <summary>Reads from a BAR. The access is cut into naturally aligned parts of 1, 2, 4 and 8 bytes.</summary>
    /// <param name="function">Function number.</param>
    /// <param name="bar">BAR, 0 to 5.</param>
    /// <param name="offset">Offset in the BAR, any alignment.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="token">Given back on completion.</param>
    public void MemoryRead(int function, int bar, ulong offset, int length, ulong token)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Enqueue(function, OperationKind.MemoryRead, token, bar, offset, length);
    }

    /// <summary>Writes to a BAR. The access is cut into naturally aligned parts of 1, 2, 4 and 8 bytes; it is done when they are sent.</summary>
    /// <param name="function">Function number.</param>
    /// <param name="bar">BAR, 0 to 5.</param>
    /// <param name="offset">Offset in the BAR, any alignment.</param>
    /// <param name="data">The bytes.</param>
    /// <param name="token">Given back on completion.</param>
    public void MemoryWrite(int function, int bar, ulong offset, ReadOnlySpan<byte> data, ulong token)
    {
        PcieFunction target = _functions[function];
        bool sendNow = IsLinkUp && target.Barriers == 0 && target.ConfigWritesOutstanding == 0 && target.Sequence is null
            && !target.RestorePending && target.Head is null or { IsRead: true } && target.Layout is not null
            && Covers(target, bar, offset, data.Length) && (target.WindowOpen || target.IsReachable(bar));
        if (sendNow && target.FirstWrite() is null)
        {
            SendMemoryWrite(target.BusAddress(bar) + offset, data);
            _completion.Completed(token, HostStatus.Ok, default);
            return;
        }

        Enqueue(function, OperationKind.MemoryWrite, token, bar, offset, data.Length, data);
    }

    /// <summary>
    /// The host wants the vectors from <paramref name="start"/> on: the FPGA's table is programmed and the vectors are
    /// unmasked, MSI-X is enabled. One that was raised while it was disarmed is given at once.
    /// </summary>
    /// <param name="function">Function number.</param>
    /// <param name="start">First vector.</param>
    /// <param name="count">Number of vectors.</param>
    public void ArmVectors(int function, int start, int count)
    {
        CheckVectors(start, count);
        PcieFunction target = _functions[function];
        target.Vectors.Arm(start, count, armed: true);
        for (int vector = start; vector < start + count; vector++)
        {
            if (target.Vectors[vector].Held)
            {
                target.Vectors[vector].Held = false;
                RaiseVector(target, vector);
            }
        }

        if (IsLinkUp)
        {
            Enqueue(target, OperationKind.ProgramVectors);
        }
    }

    /// <summary>The host no longer wants the vectors: they are masked in the FPGA's table; MSI-X is disabled with the last one.</summary>
    /// <param name="function">Function number.</param>
    /// <param name="start">First vector.</param>
    /// <param name="count">Number of vectors.</param>
    public void DisarmVectors(int function, int start, int count)
    {
        CheckVectors(start, count);
        PcieFunction target = _functions[function];
        target.Vectors.Arm(start, count, armed: false);
        if (IsLinkUp)
        {
            Enqueue(target, OperationKind.ProgramVectors);
        }
    }

    /// <summary>Masks INTx of a function: a rising line waits.</summary>
    public void MaskIntx(int function) => _functions[function].IntxMasked = true;

    /// <summary>Unmasks INTx of a function: if the line is high it is triggered (and masked) again. To be called too when the host sets INTx up.</summary>
    public void UnmaskIntx(int function)
    {
        PcieFunction target = _functions[function];
        target.IntxMasked = false;
        TriggerIntx(target);
    }

    /// <summary>
    /// Resets a function through its PCI Express capability. Done when its configuration space answers again and holds what
    /// the host wrote to BARs, Command, Interrupt Line and Device Control before. Armed vectors are forgotten.
    /// </summary>
    /// <param name="function">Function number.</param>
    /// <param name="token">Given back on completion; UnsupportedRequest if the function has no Function Level Reset.</param>
    public void ResetFunction(int function, ulong token) => Enqueue(function, OperationKind.Reset, token, 0, 0, 0);

    /// <summary>
    /// The host has left a function. It is reset (without Function Level Reset: its interrupts, DMA and BARs are disabled) and
    /// everything the host wrote or armed is forgotten, so that the next host finds it as after power-up.
    /// </summary>
    /// <param name="function">Function number.</param>
    /// <param name="token">Given back on completion.</param>
    public void ReleaseFunction(int function, ulong token)
    {
        // At once: what is armed from now on is the next host's, who may come before this is done.
        _functions[function].Vectors.Disarm();
        Enqueue(function, OperationKind.Release, token, 0, 0, 0);
    }

    /// <summary>The FPGA is lost: whatever waits ends with all ones and <see cref="HostStatus.LinkDown"/>, and so does all that comes.</summary>
    public void LinkLost()
    {
        IsLinkUp = false;
        DropRemote();
        DropEverything();
    }

    /// <summary>
    /// The FPGA was reset (or replaced by a new one). Whatever waits ends with all ones and
    /// <see cref="HostStatus.LinkDown"/>; then what the hosts wrote to BARs, Command, Interrupt Line and Device Control is
    /// written again and armed vectors are programmed.
    /// </summary>
    public void ResetPort()
    {
        LinkLost();
        foreach (PcieFunction function in _functions)
        {
            function.Vectors.Unprogram();
            if (function.Layout is { IsPresent: false })
            {
                function.Layout = null;
            }

            function.RestorePending = function.Shadow.IsTouched || function.Vectors.AnyArmed;
        }

        IsLinkUp = true;
        foreach (PcieFunction function in _functions)
        {
            Pump(function);
        }
    }

    /// <summary>Takes a TLP from the FPGA; while the link is down it is dropped.</summary>
    /// <param name="tlp">The packet.</param>
    /// <param name="cycle">Cycle of its arrival.</param>
    public void Receive(ReadOnlySpan<byte> tlp, ulong cycle)
    {
        if (!IsLinkUp)
        {
            return;
        }

        Observer?.Observed(TlpDirection.FromFpga, tlp, cycle);
        if (!Tlp.TryParse(tlp, out Tlp parsed, out string? malformed))
        {
            Counters.CountMalformed();
            Report($"malformed TLP dropped: {malformed}; {TlpFormatter.Format(tlp)}");
            return;
        }

        Counters.CountReceived(parsed);
        if (MustWait(parsed))
        {
            _deferred.Add(tlp, cycle);
        }
        else
        {
            Accept(parsed, cycle);
        }
    }

    /// <summary>Ends the requests that have waited too long with all ones. To be called at <see cref="NextTimeout"/> at the latest.</summary>
    /// <param name="cycle">The cycle now.</param>
    public void Tick(ulong cycle)
    {
        while (_requests.Oldest >= 0 && _requests[_requests.Oldest].Deadline <= cycle)
        {
            int tag = _requests.Oldest;
            Counters.Timeouts++;
            Report($"no completion within {_options.TimeoutCycles} cycles: {Describe(tag)}");
            FinishRequest(tag, HostStatus.Timeout, default);
        }
    }

    private static void CheckVectors(int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, VectorTable.MaxVectors);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, VectorTable.MaxVectors - start);
    }

    private void Accept(in Tlp tlp, ulong cycle)
    {
        if (tlp.IsCompletion)
        {
            AcceptCompletion(tlp);
        }
        else
        {
            AcceptRequest(tlp, cycle);
        }
    }

    private void Report(string text) => _report?.Invoke($"{_options.Name}: {text}");

    private void Send(TlpType type, int length, ulong notBefore)
    {
        ReadOnlySpan<byte> packet = _packet.AsSpan(0, length);
        Counters.CountSent(type, length);
        Observer?.Observed(TlpDirection.ToFpga, packet, Math.Max(notBefore, _link.Cycle));
        _link.Send(packet, notBefore);
    }
}
