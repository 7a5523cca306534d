// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;
using Cosim.Pcie;

namespace Cosim.Fpga.Model;

/// <summary>
/// The DMA engine (CONTRACT.md, 4): a reader runs ahead of the commands as far as tags go, a writer takes what has come in the
/// order of the commands.
/// </summary>
internal sealed class DmaEngine
{
    /// <summary>Reads in flight per port.</summary>
    public const int TagsPerPort = 32;

    private const int Scratchpad = 2;
    private const int Spaces = 3;
    private const uint MaxLength = 1 << 20;
    private const uint MaxReturn = 4096;
    private const int CommandCount = 64;
    private const int RequestCount = 64;
    private const int ScratchChunk = 256;
    private const ulong BeatBytes = 32;

    // A stream that is busy for longer than this makes the engine wait, so that completions and interrupts get their turn.
    private const ulong StreamSlack = 8;

    private readonly ModelClock clock;
    private readonly PcieEndpoint[] hosts;
    private readonly ModelPort management;
    private readonly ulong timeoutCycles;
    private readonly Command[] commands = new Command[CommandCount];
    private readonly ReadRequest[] requests = new ReadRequest[RequestCount];
    private readonly ReadRequest?[] byTag = new ReadRequest?[2 * TagsPerPort];
    private readonly uint[] freeTags = [uint.MaxValue, uint.MaxValue];

    // Free-running counts: commands taken, read for, and finished; requests issued, answered (all up to here) and consumed.
    private uint taken;
    private uint readFor;
    private uint finished;
    private uint issued;
    private uint answered;
    private uint consumed;
    private int consumedBytes;
    private ulong wake = ModelPort.Never;
    private ulong writerFree;

    public DmaEngine(ModelClock clock, PcieEndpoint host1, PcieEndpoint host2, ModelPort management, int scratchBytes, ulong timeoutCycles)
    {
        this.clock = clock;
        hosts = [host1, host2];
        this.management = management;
        this.timeoutCycles = timeoutCycles;
        Scratch = new byte[scratchBytes];
        for (int i = 0; i < CommandCount; i++)
        {
            commands[i] = new Command();
        }

        for (int i = 0; i < RequestCount; i++)
        {
            requests[i] = new ReadRequest();
        }
    }

    private enum Status
    {
        Ok = 0,
        Refused = 1,
        Timeout = 2,
        NoBusMaster = 3,
        Wrong = 4,
    }

    /// <summary>The scratch memory.</summary>
    public byte[] Scratch { get; }

    /// <summary>Whether another command can be taken.</summary>
    public bool Ready => taken - finished < CommandCount;

    /// <summary>Cycle in which the engine next has something to do.</summary>
    public ulong Next
    {
        get
        {
            ulong next = wake;
            if (answered != issued)
            {
                next = Math.Min(next, requests[answered % RequestCount].IssuedAt + timeoutCycles);
            }

            return next == ModelPort.Never ? next : Math.Max(next, clock.Now);
        }
    }

    /// <summary>Takes a command.</summary>
    public void Add(ReadOnlySpan<uint> header)
    {
        Command command = commands[taken++ % CommandCount];
        command.Tag = header[0] & 0xFFFF_0000;
        command.Length = header[1];
        command.Source = (int)(header[2] & 0xF);
        command.Destination = (int)((header[2] >> 4) & 0xF);
        command.SourceFunction = (int)((header[2] >> 8) & 0xFF);
        command.DestinationFunction = (int)((header[2] >> 16) & 0xFF);
        command.Returns = (header[3] & 1) != 0;
        command.SourceAddress = header[4] | ((ulong)header[5] << 32);
        command.DestinationAddress = header[6] | ((ulong)header[7] << 32);
        command.Requested = 0;
        command.Written = 0;
        command.LastWrite = 0;
        command.StopReading = false;
        command.Status = IsWrong(command) ? Status.Wrong : Status.Ok;
        wake = clock.Now;
    }

    /// <summary>Takes a completion; one that answers no request, or not as asked, is dropped (an Unexpected Completion, 2.3.2).</summary>
    public void Complete(int port, in Tlp tlp)
    {
        if (tlp.Tag >= TagsPerPort || byTag[(port * TagsPerPort) + tlp.Tag] is not { } request)
        {
            return;
        }

        if (tlp.CompletionStatus != CompletionStatus.SuccessfulCompletion)
        {
            Answer(request, Status.Refused);
            return;
        }

        int left = request.Length - request.Received;
        ReadOnlySpan<byte> bytes = tlp.Type == TlpType.CplD ? tlp.CompletionBytes : [];
        if (bytes.IsEmpty || tlp.ByteCount != left)
        {
            return;
        }

        bytes.CopyTo(request.Data.AsSpan(request.Received));
        request.Received += bytes.Length;
        if (request.Received == request.Length)
        {
            Answer(request, Status.Ok);
        }
    }

    /// <summary>Does the work of this cycle.</summary>
    public void Step()
    {
        ulong now = clock.Now;
        if (answered != issued && requests[answered % RequestCount].IssuedAt + timeoutCycles <= now)
        {
            Expire(now);
        }

        if (wake > now)
        {
            return;
        }

        // The writer first: what it frees, the reader may use in the same cycle.
        wake = Write(now);
        wake = Math.Min(Read(now), wake);
    }

    /// <summary>Drops everything; the scratch memory keeps its contents.</summary>
    public void PowerOn()
    {
        taken = readFor = finished = 0;
        issued = answered = consumed = 0;
        consumedBytes = 0;
        Array.Clear(byTag);
        Array.Fill(freeTags, uint.MaxValue);
        wake = ModelPort.Never;
        writerFree = 0;
    }

    private bool IsWrong(Command command)
    {
        if (command.Length is 0 or > MaxLength || command.Source >= Spaces || command.Destination >= Spaces)
        {
            return true;
        }

        return IsWrongRange(command.Source, command.SourceFunction, command.SourceAddress, command.Length)
            || IsWrongRange(command.Destination, command.DestinationFunction, command.DestinationAddress, command.Length)
            || (command.Returns && (command.Destination != Scratchpad || command.DestinationAddress % BeatBytes != 0 || command.Length > MaxReturn));
    }

    private bool IsWrongRange(int space, int function, ulong address, uint length) =>
        space == Scratchpad
            ? address >= (ulong)Scratch.Length || address + length > (ulong)Scratch.Length
            : function >= hosts[space].FunctionCount;

    private PciFunction Function(int space, int function) => hosts[space][function];

    /// <summary>Issues at most one read request; the cycle in which to look again.</summary>
    private ulong Read(ulong now)
    {
        while (readFor != taken)
        {
            Command command = commands[readFor % CommandCount];
            if (command.Status != Status.Ok || command.StopReading || command.Source == Scratchpad || command.Requested == command.Length)
            {
                readFor++;
                wake = now + 1;
                continue;
            }

            PciFunction function = Function(command.Source, command.SourceFunction);
            if (!function.BusMaster
                || (command.Requested == 0 && command.Destination != Scratchpad && !Function(command.Destination, command.DestinationFunction).BusMaster))
            {
                command.Status = Status.NoBusMaster;
                continue;
            }

            ModelPort port = hosts[command.Source].Port;
            if (issued - consumed == RequestCount || freeTags[command.Source] == 0)
            {
                return wake;
            }

            if (port.SenderFree > now + StreamSlack)
            {
                return Math.Min(wake, port.SenderFree - StreamSlack);
            }

            Issue(command, function, port, now);
            return now + 1;
        }

        return wake;
    }

    private void Issue(Command command, PciFunction function, ModelPort port, ulong now)
    {
        int tag = System.Numerics.BitOperations.TrailingZeroCount(freeTags[command.Source]);
        freeTags[command.Source] &= ~(1u << tag);
        ulong address = command.SourceAddress + command.Requested;
        ReadRequest request = requests[issued++ % RequestCount];
        request.Command = readFor;
        request.Port = command.Source;
        request.Tag = tag;
        request.Length = TlpSplit.NextRequest(address, command.Length - command.Requested, function.MaxReadRequest);
        request.Received = 0;
        request.Answered = false;
        request.IssuedAt = now;
        byTag[(request.Port * TagsPerPort) + tag] = request;
        command.Requested += (uint)request.Length;
        TlpWriter.MemoryRead(port.Emit(Tlp.HeaderBytes, now + 1, out _), function.Id, (byte)tag, address, request.Length);
    }

    private void Answer(ReadRequest request, Status status)
    {
        request.Answered = true;
        request.Status = status;
        byTag[(request.Port * TagsPerPort) + request.Tag] = null;
        freeTags[request.Port] |= 1u << request.Tag;
        if (status != Status.Ok)
        {
            commands[request.Command % CommandCount].StopReading = true;
        }

        while (answered != issued && requests[answered % RequestCount].Answered)
        {
            answered++;
        }

        wake = clock.Now;
    }

    private void Expire(ulong now)
    {
        for (uint i = answered; i != issued; i++)
        {
            ReadRequest request = requests[i % RequestCount];
            if (!request.Answered && request.IssuedAt + timeoutCycles <= now)
            {
                Answer(request, Status.Timeout);
            }
        }
    }

    /// <summary>Moves one chunk of the oldest command, or finishes it; the cycle in which to look again.</summary>
    private ulong Write(ulong now)
    {
        if (finished == taken)
        {
            return ModelPort.Never;
        }

        if (writerFree > now)
        {
            return writerFree;
        }

        Command command = commands[finished % CommandCount];
        if (command.Status != Status.Ok)
        {
            return Drain(command, now);
        }

        if (command.Written == command.Length)
        {
            return Finish(command, now);
        }

        bool toHost = command.Destination != Scratchpad;
        ulong address = command.DestinationAddress + command.Written;
        int left = (int)(command.Length - command.Written);
        int length;
        PciFunction? function = null;
        if (toHost)
        {
            function = Function(command.Destination, command.DestinationFunction);
            if (!function.BusMaster)
            {
                command.Status = Status.NoBusMaster;
                return now + 1;
            }

            ulong senderFree = hosts[command.Destination].Port.SenderFree;
            if (senderFree > now + StreamSlack)
            {
                return senderFree - StreamSlack;
            }

            length = TlpSplit.NextRequest(address, left, function.MaxPayload);
        }
        else
        {
            length = Math.Min(left, ScratchChunk);
        }

        if (command.Source != Scratchpad)
        {
            length = Available(command, length);
            if (length == 0)
            {
                return command.Status == Status.Ok ? ModelPort.Never : now + 1;
            }
        }

        if (toHost)
        {
            int packet = Tlp.HeaderBytes + (ByteEnables.Dwords(address, length) * 4);
            Span<byte> tlp = hosts[command.Destination].Port.Emit(packet, now + 1, out command.LastWrite);
            TlpWriter.MemoryWrite(tlp, function!.Id, 0, address, length, out Span<byte> payload);
            Fetch(command, payload);
        }
        else
        {
            Fetch(command, Scratch.AsSpan((int)address, length));
            command.LastWrite = now + ((ulong)length / BeatBytes);
        }

        command.Written += (uint)length;
        writerFree = now + 1 + (((ulong)length + BeatBytes - 1) / BeatBytes);
        return now + 1;
    }

    /// <summary>
    /// Bytes that have come for a chunk of the oldest command: all of them, those before a failed request, or 0 to wait.
    /// Sets the command's status when a failed request is the next one.
    /// </summary>
    private int Available(Command command, int wanted)
    {
        int available = -consumedBytes;
        for (uint i = consumed; available < wanted; i++)
        {
            if (i == issued || requests[i % RequestCount] is not { Answered: true } request || request.Command != finished)
            {
                return 0;
            }

            if (request.Status != Status.Ok)
            {
                if (available <= 0)
                {
                    command.Status = request.Status;
                }

                return Math.Max(available, 0);
            }

            available += request.Length;
        }

        return wanted;
    }

    /// <summary>Copies the next bytes of the source.</summary>
    private void Fetch(Command command, Span<byte> destination)
    {
        if (command.Source == Scratchpad)
        {
            Scratch.AsSpan((int)command.SourceAddress + (int)command.Written, destination.Length).CopyTo(destination);
            return;
        }

        while (!destination.IsEmpty)
        {
            ReadRequest request = requests[consumed % RequestCount];
            int length = Math.Min(destination.Length, request.Length - consumedBytes);
            request.Data.AsSpan(consumedBytes, length).CopyTo(destination);
            destination = destination[length..];
            consumedBytes += length;
            if (consumedBytes == request.Length)
            {
                consumed++;
                consumedBytes = 0;
            }
        }
    }

    /// <summary>Waits for the answers to what a failed command has asked for.</summary>
    private ulong Drain(Command command, ulong now)
    {
        consumedBytes = 0;
        while (consumed != issued && requests[consumed % RequestCount].Command == finished)
        {
            if (!requests[consumed % RequestCount].Answered)
            {
                return ModelPort.Never;
            }

            consumed++;
        }

        return Finish(command, now);
    }

    private ulong Finish(Command command, ulong now)
    {
        if (readFor == finished)
        {
            readFor++;
        }

        bool hasData = command.Returns && command.Status == Status.Ok;
        int padded = hasData ? ((int)command.Length + 3) & ~3 : 0;
        Span<byte> packet = management.Emit(ManagementPort.HeaderBytes + padded, Math.Max(now, command.LastWrite) + 1, out _);
        Span<uint> header = MemoryMarshal.Cast<byte, uint>(packet[..ManagementPort.HeaderBytes]);
        header[0] = RegisterMap.Opcode.DmaDone | ((uint)command.Status << 8) | command.Tag;
        header[1] = command.Length;
        if (hasData)
        {
            Scratch.AsSpan((int)command.DestinationAddress, padded).CopyTo(packet[ManagementPort.HeaderBytes..]);
        }

        finished++;
        return now + 1;
    }

    private sealed class Command
    {
        public uint Tag;
        public uint Length;
        public int Source;
        public int Destination;
        public int SourceFunction;
        public int DestinationFunction;
        public bool Returns;
        public ulong SourceAddress;
        public ulong DestinationAddress;
        public uint Requested;
        public uint Written;
        public ulong LastWrite;
        public bool StopReading;
        public Status Status;
    }

    private sealed class ReadRequest
    {
        public uint Command;
        public int Port;
        public int Tag;
        public int Length;
        public int Received;
        public bool Answered;
        public Status Status;
        public ulong IssuedAt;

        public byte[] Data { get; } = new byte[TlpSplit.PageBytes];
    }
}
