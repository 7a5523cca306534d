// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Fpga.Model;

/// <summary>
/// The FPGA as CONTRACT.md describes it, at the boundary of whole packets: what a packet causes happens in the cycle of its
/// last beat, what leaves does so a fixed number of cycles later, and time jumps from one such cycle to the next.
/// </summary>
public sealed class ReferenceModel : IFpga
{
    private const int Ports = 3;
    private const int Management = 2;
    private const ulong ResetCycles = 4;
    private const int MaxBackEndVectors = 512;
    private const ulong CompletionTimeout = 65536;

    private readonly ModelClock clock = new();
    private readonly ModelPacketPool pool = new();
    private readonly ModelPort[] ports = new ModelPort[Ports];
    private readonly PcieEndpoint[] endpoints = new PcieEndpoint[Management];
    private readonly ModelEvents events;
    private readonly DmaEngine dma;
    private readonly ManagementPort management;
    private readonly ModelPacketQueue waiting = new();
    private ModelPacket? shown;
    private ulong cycle;

    /// <summary>Makes a model.</summary>
    /// <param name="options">Functions, queues, vectors and scratch size are used.</param>
    public ReferenceModel(FpgaOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Functions, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Functions, 8);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.QueuesPerFunction, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.QueuesPerFunction, 64);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(1 + (options.Functions * options.QueuesPerFunction), MaxBackEndVectors);
        for (int port = 0; port < Ports; port++)
        {
            ports[port] = new ModelPort(port, port == Management ? ManagementPort.HeaderBytes : Tlp.HeaderBytes, pool);
        }

        int queues = options.QueuesPerFunction;
        events = new ModelEvents(clock, options.Functions, queues);
        endpoints[0] = new PcieEndpoint(clock, ports[0], options.Functions);
        endpoints[1] = new PcieEndpoint(clock, ports[1], 1);
        for (int function = 0; function < options.Functions; function++)
        {
            endpoints[0][function] = new VirtioFunction(endpoints[0], events, function, queues, options.VectorsPerFunction ?? queues + 1);
        }

        int vectors = 1 + (options.Functions * queues);
        var backEnd = new BackEndFunction(endpoints[1], events, options.Functions, queues, vectors);
        endpoints[1][0] = backEnd;
        dma = new DmaEngine(clock, endpoints[0], endpoints[1], ports[Management], options.ScratchBytes, CompletionTimeout);
        endpoints[0].Requester = dma;
        endpoints[1].Requester = dma;
        management = new ManagementPort(clock, ports[Management], endpoints[0], backEnd, dma, events, queues);
    }

    /// <inheritdoc/>
    public string Kind => "model";

    /// <inheritdoc/>
    public int PortCount => Ports;

    /// <inheritdoc/>
    public ulong Cycle => cycle;

    /// <inheritdoc/>
    public string? Failure => null;

    /// <inheritdoc/>
    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(port);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(port, Ports);
        int header = port == Management ? ManagementPort.HeaderBytes : Tlp.HeaderBytes;
        if (packet.Length < header || packet.Length > header + Tlp.MaxPayloadBytes || packet.Length % 4 != 0)
        {
            throw new ArgumentException(
                $"A packet of {packet.Length} bytes for port {port}: expected {header} to {header + Tlp.MaxPayloadBytes} bytes in whole DWs.", nameof(packet));
        }

        // What is due already counts as due now, so that it does not overtake what became due before it.
        ports[port].Offer(packet, Math.Max(notBefore, cycle));
    }

    /// <inheritdoc/>
    public RunResult Run(ulong maxCycles, uint lookahead = 0)
    {
        if (waiting.Count > 0)
        {
            return RunResult.Output;
        }

        ulong limit = maxCycles > ulong.MaxValue - cycle ? ulong.MaxValue : cycle + maxCycles;
        while (true)
        {
            clock.Now = cycle;
            ulong next = NextActivity();
            if (next == ModelPort.Never)
            {
                return waiting.Count > 0 ? RunResult.Output : RunResult.Idle;
            }

            if (next >= limit)
            {
                cycle = limit;
                return waiting.Count > 0 ? RunResult.Output : RunResult.Limit;
            }

            bool hadOutput = waiting.Count > 0;
            clock.Now = next;
            Execute(next);
            cycle = next + 1;
            if (!hadOutput && waiting.Count > 0)
            {
                limit = Math.Min(limit, next + Math.Max(1, lookahead));
            }
        }
    }

    /// <inheritdoc/>
    public bool TryReceive(out FpgaPacket packet)
    {
        if (shown is not null)
        {
            pool.Return(shown);
            shown = null;
        }

        if (waiting.Count == 0)
        {
            packet = default;
            return false;
        }

        shown = waiting.Dequeue();
        packet = new FpgaPacket(shown.Port, shown.Time, shown.Bytes);
        return true;
    }

    /// <inheritdoc/>
    public void Reset()
    {
        cycle += ResetCycles;
        clock.Now = cycle;
        events.Clear();
        foreach (PcieEndpoint endpoint in endpoints)
        {
            endpoint.PowerOn();
        }

        events.Clear();
        dma.PowerOn();
        foreach (ModelPort port in ports)
        {
            port.Reset(cycle);
        }

        while (waiting.Count > 0)
        {
            pool.Return(waiting.Dequeue());
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private ulong NextActivity()
    {
        ulong next = Math.Min(dma.Next, management.NextEvent);
        for (int port = 0; port < Ports; port++)
        {
            next = Math.Min(next, ports[port].NextArrival(cycle, IsReady(port)));
            next = Math.Min(next, ports[port].NextDeparture);
        }

        return next;
    }

    private void Execute(ulong now)
    {
        for (int port = 0; port < Ports; port++)
        {
            if (ports[port].Receive(now, IsReady(port)) is { } packet)
            {
                if (port == Management)
                {
                    management.Receive(packet.Bytes);
                }
                else
                {
                    endpoints[port].Receive(port, packet.Bytes);
                }

                pool.Return(packet);
            }
        }

        if (dma.Next <= now)
        {
            dma.Step();
        }

        if (management.NextEvent <= now)
        {
            management.SendEvent();
        }

        for (int port = 0; port < Ports; port++)
        {
            while (ports[port].Depart(now) is { } packet)
            {
                waiting.Enqueue(packet);
            }
        }
    }

    private bool IsReady(int port) => port != Management || dma.Ready;
}
