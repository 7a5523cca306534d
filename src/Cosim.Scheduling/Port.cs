// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Pcie;
using Cosim.VfioUser;

namespace Cosim.Scheduling;

/// <summary>One PCIe port of the FPGA with its root port and the host behind it.</summary>
/// <remarks>
/// A token's top byte says whose transaction it is: a function's (of a vfio-user client) or, with <see cref="OwnTokens"/>, one whose caller
/// waits on a task.
/// </remarks>
internal sealed class Port : ITlpLink, IHostCompletion, IDisposable
{
    private const int OwnerShift = 56;
    private const ulong OwnTokens = 0xFFUL << OwnerShift;

    private readonly IFpga _fpga;
    private readonly EventLoop _loop;
    private readonly int _number;
    private readonly HostOptions _options;
    private readonly RootPort _rootPort;
    private readonly VfioFunction[] _clients = [];
    private readonly ProgramFunction[] _programs = [];
    private readonly ProgramMemory? _memory;
    private readonly Transactions _transactions;
    private readonly TlpObservers _observers;
    private readonly VfioUserServerOptions _server;

    public Port(IFpga fpga, EventLoop loop, int number, HostOptions options, BridgeOptions bridge, TaskEnds ends, Action<string> report)
    {
        _fpga = fpga;
        _loop = loop;
        _number = number;
        _options = options;
        _transactions = new Transactions(ends);
        IPcieHost[] hosts;
        switch (options)
        {
            case SocketHostOptions sockets:
                if (sockets.Sockets.Count != sockets.Functions)
                {
                    throw new ArgumentException($"port {number}: {sockets.Sockets.Count} sockets for {sockets.Functions} functions", nameof(options));
                }

                _clients = [.. Enumerable.Range(0, options.Functions).Select(f => new VfioFunction(f, (ulong)f << OwnerShift))];
                hosts = [.. _clients];
                break;
            case ProgramHostOptions program:
                _memory = new ProgramMemory(program.MemoryBase, program.MemoryBytes);
                _programs = [.. Enumerable.Range(0, options.Functions).Select(_ => new ProgramFunction(_memory, this, ends))];
                hosts = [.. _programs];
                break;
            default:
                throw new ArgumentException($"port {number}: a host of kind {options.GetType().Name} is not known", nameof(options));
        }

        _rootPort = new RootPort(
            new RootPortOptions
            {
                Name = $"port {number}",
                CompletionLatencyCycles = bridge.CompletionLatencyCycles,
                TimeoutCycles = bridge.CompletionTimeoutCycles,
                Completions = bridge.Completions,
            },
            this,
            hosts,
            this,
            report);
        _observers = new TlpObservers(_rootPort);
        _server = new VfioUserServerOptions { Report = report, DmaTimeoutMilliseconds = (int)bridge.HostMemoryTimeout.TotalMilliseconds };
    }

    /// <inheritdoc/>
    public ulong Cycle { get; private set; }

    /// <summary>Whether a program plays the host.</summary>
    public bool IsProgrammed => _memory is not null;

    /// <summary>The memory of a host that a program plays.</summary>
    public ProgramMemory Memory => _memory!;

    /// <summary>What passed the port.</summary>
    public RootPortCounters Counters => _rootPort.Counters;

    /// <summary>Number of functions.</summary>
    public int Functions => _options.Functions;

    /// <summary>Lets the clients' VERSION requests be answered.</summary>
    public bool LinkUp
    {
        set
        {
            foreach (VfioFunction client in _clients)
            {
                client.LinkUp = value;
            }
        }
    }

    /// <summary>Socket of a function, or the empty string.</summary>
    public string Socket(int function) => _clients.Length == 0 ? "" : ((SocketHostOptions)_options).Sockets[function];

    /// <summary>Whether a client is attached to a function.</summary>
    public bool Attached(int function) => _clients.Length != 0 && _clients[function].Attached;

    /// <summary>Finds out what each function has.</summary>
    public Task Discover()
    {
        List<Task<TransactionResult>> tasks = [];
        for (int f = 0; f < _options.Functions; f++)
        {
            tasks.Add(_transactions.Begin(out ulong token));
            _rootPort.Discover(f, OwnTokens | token);
        }

        return Verify(tasks);
    }

    /// <summary>Creates the sockets of a client's functions.</summary>
    public void Listen(bool linkUp)
    {
        for (int f = 0; f < _clients.Length; f++)
        {
            _clients[f].Listen(_rootPort, _rootPort.Layout(f)!, _loop, Socket(f), linkUp, _server);
        }
    }

    /// <summary>No packet is offered before this cycle, to which an idle FPGA may still have to be brought.</summary>
    public ulong NotBefore
    {
        get;
        set
        {
            field = value;
            Cycle = Math.Max(Cycle, value);
        }
    }

    /// <summary>Whether the root port waits for nothing.</summary>
    public bool IsIdle => _rootPort.IsIdle;

    /// <summary>Whether the FPGA waits for this port's host, see <see cref="RootPort.WaitsForHost"/>.</summary>
    public bool WaitsForHost => _rootPort.WaitsForHost;

    /// <summary>Takes a TLP from the FPGA.</summary>
    public void Receive(ReadOnlySpan<byte> tlp, ulong cycle)
    {
        Cycle = cycle;
        _rootPort.Receive(tlp, cycle);
    }

    /// <summary>Cycles that may pass before <see cref="Tick"/> has to be called.</summary>
    public ulong CyclesToTimeout()
    {
        ulong timeout = _rootPort.NextTimeout;
        return timeout == ulong.MaxValue ? timeout : timeout <= _fpga.Cycle ? 1 : timeout - _fpga.Cycle;
    }

    /// <summary>Ends what waited too long. An idle FPGA will never answer: then all that waits has waited too long.</summary>
    public void Tick(ulong cycle, bool idle)
    {
        Cycle = cycle;
        ulong timeout = _rootPort.NextTimeout;
        if (timeout != ulong.MaxValue && (idle || cycle >= timeout))
        {
            _rootPort.Tick(idle && !_rootPort.HasRemoteReads ? ulong.MaxValue : cycle);
        }
    }

    /// <summary>The FPGA is lost.</summary>
    public void FpgaLost() => _rootPort.LinkLost();

    /// <summary>The FPGA was reset.</summary>
    public void FpgaReset() => _rootPort.ResetPort();

    /// <inheritdoc/>
    public void Send(ReadOnlySpan<byte> tlp, ulong notBefore) => _fpga.Send(_number, tlp, Math.Max(notBefore, NotBefore));

    /// <inheritdoc/>
    public void Completed(ulong token, HostStatus status, ReadOnlySpan<byte> data)
    {
        if ((token & OwnTokens) == OwnTokens)
        {
            _transactions.Completed(token & ~OwnTokens, status, data);
        }
        else
        {
            _clients[token >> OwnerShift].Completed(token, data);
        }
    }

    public Task<TransactionResult> ReadConfig(int function, int offset, int length)
    {
        Check(function);
        Task<TransactionResult> done = _transactions.Begin(out ulong token);
        _rootPort.ConfigRead(function, offset, length, OwnTokens | token);
        return done;
    }

    public Task<TransactionResult> WriteConfig(int function, int offset, ReadOnlySpan<byte> data)
    {
        Check(function);
        Task<TransactionResult> done = _transactions.Begin(out ulong token);
        _rootPort.ConfigWrite(function, offset, data, OwnTokens | token);
        return done;
    }

    public Task<TransactionResult> ReadMemory(int function, int bar, ulong offset, int length)
    {
        Check(function);
        Task<TransactionResult> done = _transactions.Begin(out ulong token);
        _rootPort.MemoryRead(function, bar, offset, length, OwnTokens | token);
        return done;
    }

    public Task<TransactionResult> WriteMemory(int function, int bar, ulong offset, ReadOnlySpan<byte> data)
    {
        Check(function);
        Task<TransactionResult> done = _transactions.Begin(out ulong token);
        _rootPort.MemoryWrite(function, bar, offset, data, OwnTokens | token);
        return done;
    }

    public Task<HostInterrupt> WaitInterrupt(int function, CancellationToken cancellation)
    {
        Check(function);
        return _programs[function].WaitInterrupt(cancellation);
    }

    public void ArmVectors(int function, int start, int count)
    {
        Check(function);
        _rootPort.ArmVectors(function, start, count);
    }

    public void DisarmVectors(int function, int start, int count)
    {
        Check(function);
        _rootPort.DisarmVectors(function, start, count);
    }

    public void UnmaskIntx(int function)
    {
        Check(function);
        _rootPort.UnmaskIntx(function);
    }

    public void Observe(ITlpObserver observer) => _observers.Add(observer);

    public void EndObservation(ITlpObserver observer) => _observers.Remove(observer);

    public void Dispose()
    {
        foreach (VfioFunction client in _clients)
        {
            client.Dispose();
        }
    }

    private void Check(int function)
    {
        if (function < 0 || function >= _options.Functions)
        {
            throw new InvalidOperationException($"port {_number} has no function {function}; it has {_options.Functions}");
        }
    }

    private async Task Verify(List<Task<TransactionResult>> tasks)
    {
        for (int f = 0; f < tasks.Count; f++)
        {
            TransactionResult result = await tasks[f].ConfigureAwait(false);
            if (result.Status != HostStatus.Ok)
            {
                throw new InvalidOperationException($"port {_number}: function {f} does not answer configuration requests ({result.Status})");
            }
        }
    }
}
