// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cosim.Pcie;

namespace Cosim.Fpga.Tests.Driver;

/// <summary>
/// Plays everything around an FPGA: both root ports with their hosts' memory, and the management port. Every request of the
/// FPGA is checked against the rules of its function before it is served.
/// </summary>
internal sealed class PortDriver
{
    public const int Management = 2;

    /// <summary>Messages of MSI-X go here, like on a PC.</summary>
    public const ulong MessageBase = 0xFEE0_0000;

    private const ulong CycleLimit = 400_000;
    private const int Tags = 32;

    // A read that is never answered keeps its tag for this long.
    private const ulong CompletionTimeout = 65536;

    private readonly Dictionary<(int Port, int Tag), Answer> answers = [];
    private readonly Dictionary<int, ManagementPacket> managementAnswers = [];
    private readonly ulong[][] tagFreeAt = [new ulong[Tags], new ulong[Tags]];
    private readonly byte[] buffer = new byte[32 + 4096];
    private readonly Random random = new(20261);
    private byte nextTag;
    private ushort nextManagementTag;

    public PortDriver(IFpga fpga)
    {
        Fpga = fpga;
        for (int port = 0; port < 2; port++)
        {
            for (int function = 0; function < 8; function++)
            {
                Limits[(port, function)] = (128, 512);
            }
        }
    }

    public IFpga Fpga { get; }

    public HostMemory[] Memory { get; } = [new(1), new(2)];

    /// <summary>Everything that left the FPGA.</summary>
    public List<Output> Log { get; } = [];

    public List<ManagementPacket> Events { get; } = [];

    public List<InterruptSignal> Interrupts { get; } = [];

    /// <summary>Memory requests of the FPGA as they came, per port.</summary>
    public List<(Output Output, bool IsRead, ulong Address, int Length)>[] Requests { get; } = [[], []];

    /// <summary>Max_Payload_Size and Max_Read_Request_Size by port and function, as last configured.</summary>
    public Dictionary<(int Port, int Function), (int Payload, int ReadRequest)> Limits { get; } = [];

    /// <summary>Cycles from a read's last beat to its completion's first.</summary>
    public uint Latency { get; set; } = 16;

    /// <summary>Further cycles by which completions are moved at random against each other.</summary>
    public int Jitter { get; set; }

    /// <summary>Greatest completion in bytes, a multiple of 64.</summary>
    public int CompletionBytes { get; set; } = 256;

    /// <summary>Decides whether a read of the FPGA is refused, or (null status) never answered.</summary>
    public Func<int, ulong, (bool Serve, CompletionStatus? Refusal)>? Refuse { get; set; }

    /// <summary>Most reads that were in flight on a port at once.</summary>
    public int[] MostReads { get; } = new int[2];

    /// <summary>Sends with a first-beat cycle; 0: now.</summary>
    public ulong NotBefore { get; set; }

    // ------------------------------------------------------------------ clock

    /// <summary>Runs until something has happened; fails if the FPGA becomes idle or time runs out before.</summary>
    public void RunUntil(Func<bool> done, string what)
    {
        ulong limit = Fpga.Cycle + CycleLimit;
        while (!done())
        {
            RunResult result = Fpga.Run(limit - Fpga.Cycle, Latency - 1);
            Collect();
            switch (result)
            {
                case RunResult.Failed:
                    Assert.Fail($"FPGA lost: {Fpga.Failure}");
                    break;
                case RunResult.Idle when !done():
                    Assert.Fail($"FPGA idle at cycle {Fpga.Cycle} without {what}. Last outputs:\n{Tail()}");
                    break;
                case RunResult.Limit when !done():
                    Assert.Fail($"Nothing within {CycleLimit} cycles while waiting for {what}. Last outputs:\n{Tail()}");
                    break;
            }
        }
    }

    /// <summary>Runs until the FPGA is idle.</summary>
    public void Settle()
    {
        ulong limit = Fpga.Cycle + CycleLimit;
        while (true)
        {
            RunResult result = Fpga.Run(limit - Fpga.Cycle, Latency - 1);
            Collect();
            switch (result)
            {
                case RunResult.Idle:
                    return;
                case RunResult.Failed:
                    Assert.Fail($"FPGA lost: {Fpga.Failure}");
                    return;
                case RunResult.Limit:
                    Assert.Fail($"Not idle within {CycleLimit} cycles (busy_o?). Last outputs:\n{Tail()}");
                    return;
            }
        }
    }

    /// <summary>Takes what waits and serves it.</summary>
    public void Collect()
    {
        while (Fpga.TryReceive(out FpgaPacket packet))
        {
            var output = new Output(Log.Count, packet.Port, packet.Cycle, packet.Bytes.ToArray());
            if (Log.Count > 0)
            {
                Output before = Log[^1];
                Assert.That((output.Cycle, output.Port), Is.GreaterThan((before.Cycle, before.Port)), "outputs are ordered by cycle, then by port");
            }

            Log.Add(output);
            if (packet.Port == Management)
            {
                TakeManagement(output);
            }
            else
            {
                TakeTlp(output);
            }
        }
    }

    // ------------------------------------------------------------------ root ports

    /// <summary>A tag for a request of a root port.</summary>
    public byte NewTag() => nextTag++;

    /// <summary>Sends a packet as it is.</summary>
    public void Send(int port, ReadOnlySpan<byte> packet) => Fpga.Send(port, packet, NotBefore);

    /// <summary>Sends header DWs and payload DWs to a PCIe port.</summary>
    public void SendRaw(int port, uint dw0, uint dw1, uint dw2, uint dw3, params ReadOnlySpan<uint> payload)
    {
        uint[] words = [dw0, dw1, dw2, dw3, .. payload];
        Send(port, MemoryMarshal.AsBytes<uint>(words));
    }

    /// <summary>Waits for the completion of a tag.</summary>
    public Answer Await(int port, byte tag)
    {
        RunUntil(() => answers.ContainsKey((port, tag)), $"the completion of tag {tag} on port {port}");
        answers.Remove((port, tag), out Answer? answer);
        return answer!;
    }

    public Answer ConfigRead(int port, int function, int offset, byte enables = 0xF)
    {
        byte tag = NewTag();
        int length = TlpWriter.ConfigRead0(buffer, RoutingId.RootPort, tag, RoutingId.Fpga(function), offset, enables);
        Send(port, buffer.AsSpan(0, length));
        return Await(port, tag);
    }

    public Answer ConfigWrite(int port, int function, int offset, uint value, byte enables = 0xF)
    {
        byte tag = NewTag();
        int length = TlpWriter.ConfigWrite0(buffer, RoutingId.RootPort, tag, RoutingId.Fpga(function), offset, enables, value);
        Send(port, buffer.AsSpan(0, length));
        Answer answer = Await(port, tag);
        Assert.That(answer.Payload, Is.Empty, "a Cpl carries no data");
        return answer;
    }

    /// <summary>Reads bytes; the answer's payload is whole DWs.</summary>
    public Answer MemoryRead(int port, ulong address, int length)
    {
        byte tag = NewTag();
        SendRead(port, tag, address, length);
        return Await(port, tag);
    }

    public void SendRead(int port, byte tag, ulong address, int length) =>
        Send(port, buffer.AsSpan(0, TlpWriter.MemoryRead(buffer, RoutingId.RootPort, tag, address, length)));

    /// <summary>Reads 1, 2 or 4 bytes within a DW.</summary>
    public uint Read(int port, ulong address, int size)
    {
        Answer answer = MemoryRead(port, address, size);
        Assert.That(answer.Status, Is.EqualTo(CompletionStatus.SuccessfulCompletion), $"read of 0x{address:x}");
        return (uint)((answer.Dword >> (int)(8 * (address & 3))) & ((1ul << (8 * size)) - 1));
    }

    /// <summary>Writes 1, 2 or 4 bytes within a DW (posted).</summary>
    public void Write(int port, ulong address, uint value, int size)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        WriteBytes(port, address, bytes[..size]);
    }

    public void WriteBytes(int port, ulong address, ReadOnlySpan<byte> bytes) =>
        Send(port, buffer.AsSpan(0, TlpWriter.MemoryWrite(buffer, RoutingId.RootPort, 0, address, bytes)));

    /// <summary>Writes Device Control: Max_Payload_Size and Max_Read_Request_Size.</summary>
    public void SetLimits(int port, int function, int payload, int readRequest)
    {
        uint Code(int bytes) => (uint)System.Numerics.BitOperations.Log2((uint)bytes / 128);
        ConfigWrite(port, function, 0x48, 0x2810u & ~0x70E0u | (Code(payload) << 5) | (Code(readRequest) << 12), 0b0011);
        Limits[(port, function)] = (Math.Min(payload, 256), readRequest);
    }

    // ------------------------------------------------------------------ management port

    /// <summary>Sends a command and gives its tag.</summary>
    public int Command(uint opcode, uint length = 0, uint dw2 = 0, uint dw3 = 0, uint dw4 = 0, uint dw5 = 0, uint dw6 = 0, uint dw7 = 0, ReadOnlySpan<byte> payload = default)
    {
        int tag = nextManagementTag++;
        byte[] packet = new byte[32 + payload.Length];
        Span<uint> words = MemoryMarshal.Cast<byte, uint>(packet.AsSpan(0, 32));
        words[0] = opcode | ((uint)tag << 16);
        (words[1], words[2], words[3], words[4]) = (length, dw2, dw3, dw4);
        (words[5], words[6], words[7]) = (dw5, dw6, dw7);
        payload.CopyTo(packet.AsSpan(32));
        Send(Management, packet);
        return tag;
    }

    public ManagementPacket AwaitManagement(int tag)
    {
        RunUntil(() => managementAnswers.ContainsKey(tag), $"the answer to management command {tag}");
        managementAnswers.Remove(tag, out ManagementPacket? answer);
        return answer!;
    }

    public bool HasAnswer(int tag) => managementAnswers.ContainsKey(tag);

    public void WriteRegister(uint address, uint value) => Command(RegisterMap.Opcode.RegWrite, dw2: address, dw4: value);

    /// <summary>Reads a register once all that was sent before has had its effect.</summary>
    public uint ReadRegister(uint address)
    {
        Settle();
        ManagementPacket answer = AwaitManagement(Command(RegisterMap.Opcode.RegRead, dw2: address));
        Assert.That((answer.Opcode, answer.Dw2), Is.EqualTo((RegisterMap.Opcode.RegData, address)));
        return answer.Dw4;
    }

    public static uint FunctionRegister(int function, uint offset) => RegisterMap.Management.Function + ((uint)function * 0x10000) + offset;

    public static uint QueueRegister(int function, int queue, uint offset) =>
        FunctionRegister(function, RegisterMap.Function.Queue + ((uint)queue * 0x40) + offset);

    public void Interrupt(int port, int function, uint index) => Command(RegisterMap.Opcode.Interrupt, dw2: (uint)(port | (function << 8)), dw3: index);

    public void WriteScratch(uint offset, ReadOnlySpan<byte> bytes) => Command(RegisterMap.Opcode.MemWrite, (uint)bytes.Length, offset, payload: bytes);

    public byte[] ReadScratch(uint offset, int length)
    {
        ManagementPacket answer = AwaitManagement(Command(RegisterMap.Opcode.MemRead, (uint)length, offset));
        Assert.That((answer.Opcode, answer.Length, answer.Dw2, answer.Payload.Length), Is.EqualTo((RegisterMap.Opcode.MemData, (uint)length, offset, length)));
        return answer.Payload;
    }

    /// <summary>Sends a DMA command; spaces are 0 and 1 for the hosts and 2 for scratch.</summary>
    public int Dma(int source, ulong from, int destination, ulong to, uint length, int sourceFunction = 0, int destinationFunction = 0, bool returns = false) =>
        Command(
            RegisterMap.Opcode.Dma,
            length,
            (uint)(source | (destination << 4) | (sourceFunction << 8) | (destinationFunction << 16)),
            returns ? 1u : 0,
            (uint)from,
            (uint)(from >> 32),
            (uint)to,
            (uint)(to >> 32));

    /// <summary>The next event, waiting for it.</summary>
    public ManagementPacket NextEvent()
    {
        RunUntil(() => Events.Count > 0, "an event");
        ManagementPacket first = Events[0];
        Events.RemoveAt(0);
        return first;
    }

    /// <summary>All events there are once the FPGA is idle.</summary>
    public (uint Opcode, int Port, int Function, uint Dw3, uint Dw4)[] AllEvents()
    {
        Settle();
        var all = Events.Select(e => e.Event).ToArray();
        Events.Clear();
        return all;
    }

    /// <summary>All interrupts there are once the FPGA is idle.</summary>
    public InterruptSignal[] AllInterrupts()
    {
        Settle();
        InterruptSignal[] all = [.. Interrupts];
        Interrupts.Clear();
        return all;
    }

    // ------------------------------------------------------------------ what the FPGA sends

    private void TakeManagement(Output output)
    {
        ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(output.Bytes.AsSpan(0, 32));
        var packet = new ManagementPacket(
            output, words[0] & 0xFF, (int)((words[0] >> 8) & 0xFF), (int)(words[0] >> 16), words[1], words[2], words[3], words[4], output.Bytes[32..]);
        Assert.That((words[5], words[6], words[7]), Is.EqualTo((0u, 0u, 0u)), $"unused fields are 0: {output}");
        if (packet.Opcode is RegisterMap.Opcode.RegData or RegisterMap.Opcode.MemData or RegisterMap.Opcode.DmaDone)
        {
            managementAnswers.Add(packet.Tag, packet);
        }
        else
        {
            Assert.That((packet.Tag, packet.Status, packet.Length, packet.Payload.Length), Is.EqualTo((0, 0, 0u, 0)), $"an event has DW2 to DW4 only: {output}");
            Events.Add(packet);
        }
    }

    private void TakeTlp(Output output)
    {
        Assert.That(Tlp.TryParse(output.Bytes, out Tlp tlp, out string? malformed), Is.True, $"{output}: {malformed}");
        Assert.That((tlp.TrafficClass, tlp.Poisoned), Is.EqualTo((0, false)), output.ToString());
        Assert.That(tlp.HeaderDwords == 4 || BitConverter.ToUInt32(output.Bytes, 12) == 0, Is.True, $"DW3 is 0 behind a header of 3 DWs: {output}");
        switch (tlp.Type)
        {
            case TlpType.Cpl:
            case TlpType.CplD:
                var answer = new Answer(output, tlp.CompletionStatus, tlp.CompleterId, tlp.ByteCount, tlp.LowerAddress, tlp.Payload.ToArray());
                Assert.That(answers.TryAdd((output.Port, tlp.Tag), answer), Is.True, $"one completion for one request: {output}");
                break;
            case TlpType.Msg:
                Interrupts.Add(new InterruptSignal(output, tlp.RequesterId.Function, 0, 0, tlp.MessageCode));
                break;
            case TlpType.MWr when tlp.Address >> 20 == MessageBase >> 20:
                Assert.That((tlp.LengthDwords, tlp.FirstByteEnables), Is.EqualTo((1, 0xF)), $"a message of MSI-X is one DW: {output}");
                Interrupts.Add(new InterruptSignal(output, tlp.RequesterId.Function, tlp.Address, BitConverter.ToUInt32(tlp.Payload), null));
                break;
            case TlpType.MWr:
                TakeWrite(output, tlp);
                break;
            case TlpType.MRd:
                TakeRead(output, tlp);
                break;
            default:
                Assert.Fail($"The FPGA sends no such TLP: {output}");
                break;
        }
    }

    private void CheckRequest(Output output, in Tlp tlp, int limit)
    {
        Assert.That(tlp.RequesterId.Bus, Is.EqualTo(1), output.ToString());
        Assert.That(tlp.LengthDwords * 4, Is.LessThanOrEqualTo(limit), $"Length is within the function's limit: {output}");
        Assert.That(tlp.HeaderDwords, Is.EqualTo(tlp.Address > uint.MaxValue ? 4 : 3), $"3 DWs below 4 GiB, 4 from there on: {output}");
        Requests[output.Port].Add((output, tlp.Type == TlpType.MRd, tlp.ByteAddress, tlp.RequestBytes));
    }

    private void TakeWrite(Output output, in Tlp tlp)
    {
        CheckRequest(output, tlp, Limits[(output.Port, tlp.RequesterId.Function)].Payload);
        int skip = ByteEnables.Offset(tlp.FirstByteEnables);
        if (Memory[output.Port].TryGet(tlp.ByteAddress, tlp.RequestBytes, out Span<byte> bytes))
        {
            tlp.Payload.Slice(skip, bytes.Length).CopyTo(bytes);
        }
    }

    private void TakeRead(Output output, in Tlp tlp)
    {
        int port = output.Port;
        CheckRequest(output, tlp, Limits[(port, tlp.RequesterId.Function)].ReadRequest);
        Assert.That(tlp.Tag, Is.LessThan(Tags), $"tags 0 to 31: {output}");
        Assert.That(tagFreeAt[port][tlp.Tag], Is.LessThanOrEqualTo(output.Cycle), $"the tag is not in use: {output}");
        tagFreeAt[port][tlp.Tag] = output.Cycle + CompletionTimeout;
        (bool serve, CompletionStatus? refusal) = Refuse?.Invoke(port, tlp.ByteAddress) ?? (true, null);
        bool isMemory = Memory[port].TryGet(tlp.ByteAddress, tlp.RequestBytes, out Span<byte> bytes);
        ulong at = output.Cycle + Latency + (ulong)(Jitter > 0 ? random.Next(Jitter) : 0);
        var completer = RoutingId.RootPort;
        if (!serve || !isMemory)
        {
            if (serve || refusal is not null)
            {
                CompletionStatus status = refusal ?? CompletionStatus.UnsupportedRequest;
                int sent = TlpWriter.Completion(
                    buffer, completer, status, tlp.RequesterId, tlp.Tag, tlp.RequestBytes, ByteEnables.LowerAddress(tlp.Address, tlp.FirstByteEnables));
                Fpga.Send(port, buffer.AsSpan(0, sent), at);
                tagFreeAt[port][tlp.Tag] = at;
            }

            CountReads(port, output.Cycle);
            return;
        }

        int left = bytes.Length;
        ulong address = tlp.ByteAddress;
        while (left > 0)
        {
            int length = TlpSplit.NextCompletion(address, left, CompletionBytes);
            int sent = TlpWriter.CompletionData(
                buffer, completer, tlp.RequesterId, tlp.Tag, left, (byte)(address & 0x7F), bytes.Slice(bytes.Length - left, length));
            Fpga.Send(port, buffer.AsSpan(0, sent), at);
            tagFreeAt[port][tlp.Tag] = at;
            left -= length;
            address += (ulong)length;
            at += (ulong)(Jitter > 0 ? random.Next(Jitter) : 0);
        }

        CountReads(port, output.Cycle);
    }

    private void CountReads(int port, ulong cycle)
    {
        int inFlight = 0;
        for (int tag = 0; tag < Tags; tag++)
        {
            inFlight += tagFreeAt[port][tag] > cycle ? 1 : 0;
        }

        MostReads[port] = Math.Max(MostReads[port], inFlight);
    }

    private string Tail() => string.Join('\n', Log.TakeLast(8));
}
