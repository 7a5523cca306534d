// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;
using Cosim.Scheduling;

namespace Cosim.Fuzzing.Targets;

/// <summary>A host behind a port of the bridge: sends TLPs, takes completions and interrupts, and holds the FPGA's writes against what was posted.</summary>
internal sealed class PlayedHost : ITlpObserver
{
    public const int MemoryBytes = 4 << 20;

    /// <summary>BAR 0 of function 0; function f has 64 KiB more each, BAR 1 is 32 KiB behind BAR 0 on port 0 and 64 KiB on port 1.</summary>
    public const uint FirstBar = 0xE000_0000;

    // The root port's own tags are below.
    private const int FirstTag = 32;
    private const ulong InterruptBase = 0xFEE0_0000;

    private readonly SteppedBridge _bridge;
    private readonly int _port;
    private readonly byte[] _packet = new byte[Tlp.MaxBytes];
    private readonly uint[] _answers = new uint[256];
    private readonly bool[] _waits = new bool[256];
    private int _tag = FirstTag;

    public PlayedHost(SteppedBridge bridge, int port)
    {
        _bridge = bridge;
        _port = port;
        bridge.Complete(() => bridge.Bridge.Observe(port, this));
    }

    /// <summary>Interrupt vectors raised since they were looked at.</summary>
    public ulong Raised { get; set; }

    /// <summary>Where the FPGA may write: begins and ends.</summary>
    public List<(ulong Start, ulong End)> Posted { get; } = [];

    public Span<byte> Memory => _bridge.Memory(_port);

    public void Post(ulong address, ulong length)
    {
        ulong end = address + length;
        Posted.Add((address, end < address ? ulong.MaxValue : end));
    }

    public void Permit(IEnumerable<(ulong Start, ulong End)> ranges) => Posted.AddRange(ranges);

    public void Write(ulong address, int size, ulong value)
    {
        Span<byte> data = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(data, value);
        int length = TlpWriter.MemoryWrite(_packet, RoutingId.RootPort, 0, address, data[..size]);
        _bridge.Inject(_port, _packet.AsSpan(0, length));
    }

    /// <summary>Sends a read; the answer comes while the clock runs.</summary>
    /// <returns>What <see cref="Answer"/> takes.</returns>
    public int Read(ulong address, int size)
    {
        _tag = _tag == 255 ? FirstTag : _tag + 1;
        size = Math.Min(size, 8 - (int)(address & 7));
        _waits[_tag] = true;
        int length = TlpWriter.MemoryRead(_packet, RoutingId.RootPort, (byte)_tag, address, size);
        _bridge.Inject(_port, _packet.AsSpan(0, length));
        return _tag;
    }

    /// <summary>The answer of a read; null: none has come.</summary>
    public uint? Answer(int tag) => _waits[tag] ? null : _answers[tag];

    /// <summary>Runs the clock until the FPGA is idle.</summary>
    public void Run() => _bridge.RunUntilIdle(400_000);

    /// <summary>Sends a request that the input made, if it is one that a root port would send and harms nobody else of this host.</summary>
    /// <returns>True if configuration space may have changed.</returns>
    public bool InjectRaw(ReadOnlySpan<byte> packet)
    {
        if (!Tlp.TryParse(packet, out Tlp tlp, out _) || tlp.IsCompletion)
        {
            return false;
        }

        bool isElsewhere = tlp.Address is < FirstBar or >= FirstBar + 0x10_0000;
        if (tlp.Type is TlpType.MWr && !isElsewhere && tlp.Address is < FirstBar + 0x1000 or >= FirstBar + 0x4000)
        {
            return false;
        }

        packet.CopyTo(_packet);
        // Its tag is none that anybody waits for.
        _packet[5] = tlp.IsNonPosted ? (byte)31 : tlp.Tag;
        _bridge.Inject(_port, _packet.AsSpan(0, packet.Length));
        return tlp.Type == TlpType.CfgWr0;
    }

    public void Observed(TlpDirection direction, ReadOnlySpan<byte> tlp, ulong cycle)
    {
        if (direction == TlpDirection.ToFpga)
        {
            return;
        }

        if (!Tlp.TryParse(tlp, out Tlp parsed, out string? malformed))
        {
            throw new FindingException($"port {_port}: the FPGA sends a malformed TLP: {malformed}");
        }

        if (parsed.IsCompletion && parsed.Tag >= FirstTag)
        {
            _waits[parsed.Tag] = false;
            uint value = 0xFFFF_FFFF;
            if (parsed.HasData)
            {
                Span<byte> bytes = stackalloc byte[4];
                bytes.Clear();
                ReadOnlySpan<byte> data = parsed.CompletionBytes;
                data[..Math.Min(4, data.Length)].CopyTo(bytes);
                value = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
            }

            _answers[parsed.Tag] = value;
        }
        else if (parsed.Type == TlpType.MWr)
        {
            Written(parsed);
        }
        else if (parsed.Type == TlpType.MRd && _port == 1)
        {
            Check(parsed, "reads");
        }
    }

    private void Written(in Tlp write)
    {
        if (write.Address >> 20 == InterruptBase >> 20)
        {
            uint vector = BinaryPrimitives.ReadUInt32LittleEndian(write.Payload);
            Raised |= 1UL << (int)(vector & 63);
            return;
        }

        Check(write, "writes");
    }

    private void Check(in Tlp request, string what)
    {
        ulong start = request.ByteAddress;
        ulong end = start + (uint)request.RequestBytes;
        // Parts of a request may lie in ranges that were posted side by side.
        foreach ((ulong from, ulong to) in Posted)
        {
            if (from <= start && start < to)
            {
                start = Math.Min(end, to);
                if (start == end)
                {
                    return;
                }
            }
        }

        foreach ((ulong from, ulong to) in Posted)
        {
            if (from <= start && end <= to)
            {
                return;
            }
        }

        throw new FindingException($"port {_port}: the FPGA {what} what was not posted: {TlpFormatter.Format(request)}");
    }
}
