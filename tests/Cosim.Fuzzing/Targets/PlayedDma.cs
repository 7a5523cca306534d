// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Scheduling;

namespace Cosim.Fuzzing.Targets;

/// <summary>A management port with a DMA engine and two hosts' memories behind it: each copy is made when it is asked for, and may go wrong.</summary>
internal sealed class PlayedDma : IFpga
{
    public const int Host1Bytes = 1 << 16;
    public const int Host2Bytes = 1 << 16;

    /// <summary>Address of host 2's first byte; host 1's is 0.</summary>
    public const ulong Host2Base = 0x10_0000;

    private const int HeaderBytes = 32;
    private const int ScratchBytes = 1 << 16;

    private readonly byte[] _scratch = new byte[ScratchBytes];
    private readonly byte[] _done = new byte[HeaderBytes + DmaPort.MaxInline];
    private readonly Queue<Copy> _copies = new();

    public PlayedDma() => Port = NewPort();

    public ManagementPort Port { get; private set; }

    public byte[] Host1 { get; } = new byte[Host1Bytes];

    public byte[] Host2 { get; } = new byte[Host2Bytes];

    /// <summary>Sees each copy before it is made: host 1's part, whether it is written, and whether the FPGA's own memory is the other end.</summary>
    public Action<ulong, int, bool, bool>? Touched { get; set; }

    /// <summary>How the next copy ends, if not well.</summary>
    public CopyStatus Fault { get; set; }

    /// <summary>Interrupts of either port.</summary>
    public int[] Interrupts { get; } = new int[2];

    public bool IsIdle => _copies.Count == 0;

    public string Kind => "played";

    public int PortCount => 3;

    public ulong Cycle => 0;

    public string? Failure => null;

    public void Send(int port, ReadOnlySpan<byte> packet, ulong notBefore = 0)
    {
        uint word0 = BinaryPrimitives.ReadUInt32LittleEndian(packet);
        int length = BinaryPrimitives.ReadInt32LittleEndian(packet[4..]);
        uint word2 = BinaryPrimitives.ReadUInt32LittleEndian(packet[8..]);
        switch (word0 & 0xFF)
        {
            case RegisterMap.Opcode.MemWrite:
                packet.Slice(HeaderBytes, length).CopyTo(_scratch.AsSpan((int)word2));
                break;
            case RegisterMap.Opcode.Interrupt:
                Interrupts[word2 & 1]++;
                break;
            case RegisterMap.Opcode.Dma:
                _copies.Enqueue(new Copy(
                    (ushort)(word0 >> 16), length, (DmaSpace)(word2 & 0xF), (DmaSpace)((word2 >> 4) & 0xF), (packet[12] & 1) != 0,
                    BinaryPrimitives.ReadUInt64LittleEndian(packet[16..]), BinaryPrimitives.ReadUInt64LittleEndian(packet[24..])));
                break;
            default:
                throw new FindingException($"management command {word0 & 0xFF:x} is none of a queue's");
        }
    }

    /// <summary>Makes the oldest copy.</summary>
    public void Step()
    {
        Copy copy = _copies.Dequeue();
        CopyStatus status = Fault;
        Fault = CopyStatus.Ok;
        Span<byte> payload = default;
        if (status == CopyStatus.Ok)
        {
            Touch(copy);
            Span<byte> from = Memory(copy.Source, copy.From, copy.Length);
            Span<byte> to = Memory(copy.Destination, copy.To, copy.Length);
            status = from.Length == copy.Length ? CopyStatus.Ok : CopyStatus.Refused;
            if (status == CopyStatus.Ok)
            {
                // What is written to where nothing is goes nowhere, as a posted write does.
                from[..Math.Min(to.Length, copy.Length)].CopyTo(to);
                payload = copy.Returns ? from : default;
            }
        }

        _done.AsSpan(0, HeaderBytes).Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(_done, RegisterMap.Opcode.DmaDone | ((uint)status << 8) | ((uint)copy.Tag << 16));
        payload.CopyTo(_done.AsSpan(HeaderBytes));
        Port.Receive(_done.AsSpan(0, HeaderBytes + payload.Length), 0);
    }

    /// <summary>The FPGA is lost, with all that is under way; another port takes the place of the present one.</summary>
    public void Lose()
    {
        _copies.Clear();
        Port.Abandon();
        _copies.Clear();
        Port = NewPort();
    }

    public RunResult Run(ulong maxCycles, uint lookahead = 0) => RunResult.Idle;

    public bool TryReceive(out FpgaPacket packet)
    {
        packet = default;
        return false;
    }

    public void Reset() => _copies.Clear();

    public void Dispose()
    {
    }

    private ManagementPort NewPort() => new(this, 1) { Report = what => throw new FindingException(what) };

    private void Touch(in Copy copy)
    {
        bool isInline = copy.Source == DmaSpace.Scratch || copy.Destination == DmaSpace.Scratch;
        if (copy.Source == DmaSpace.Host1)
        {
            Touched?.Invoke(copy.From, copy.Length, false, isInline);
        }

        if (copy.Destination == DmaSpace.Host1)
        {
            Touched?.Invoke(copy.To, copy.Length, true, isInline);
        }
    }

    private Span<byte> Memory(DmaSpace space, ulong address, int length)
    {
        (byte[] memory, ulong start) = space switch { DmaSpace.Host1 => (Host1, 0UL), DmaSpace.Host2 => (Host2, Host2Base), _ => (_scratch, 0UL) };
        ulong offset = address - start;
        return offset >= (ulong)memory.Length ? default : memory.AsSpan((int)offset, (int)Math.Min((ulong)length, (ulong)memory.Length - offset));
    }

    private readonly record struct Copy(ushort Tag, int Length, DmaSpace Source, DmaSpace Destination, bool Returns, ulong From, ulong To);
}
