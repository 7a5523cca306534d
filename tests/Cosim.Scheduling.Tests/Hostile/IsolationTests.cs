// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests.Hostile;

/// <summary>
/// Neither host sees a byte of the other's memory that was not posted. Every byte of both memories is a guard: those of host 1 that are not
/// posted are 80 to BF, posted ones 00 to 3F; those of host 2 are C0 to FF, what its back end answers 40 to 7F. After random block and net
/// traffic with resets and a new back end every byte of both is looked at.
/// </summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class IsolationTests(FpgaKind kind)
{
    private const int Rings = 0x1_0000;
    private const int RingStride = 0x1_0000;
    private const int Arena = 0x10_0000;
    private const int ArenaEnd = 0x40_0000;
    private const ushort Block = 0;
    private const ushort Receive = 1;
    private const ushort Transmit = 2;
    private const ushort Entries = 64;

    private readonly byte[] _expected = new byte[ArenaEnd];
    private readonly bool[] _mayBeAnswered = new bool[ArenaEnd];
    private readonly List<Lane> _lanes = [];
    private Random _random = null!;
    private SteppedBridge _stepped = null!;
    private MockBackEnd _backEnd = null!;
    private MockDriver[] _drivers = null!;
    private int _next;
    private int _answers;
    private int _used;

    [Test]
    public async Task Memory_OfBothHosts_HoldsNothingOfTheOtherThatWasNotPosted([Values(1, 2)] int seed)
    {
        (int rounds, int resets) = kind switch { FpgaKind.Model => (120, 12), FpgaKind.Verilator => (30, 3), _ => (8, 1) };
        _random = new Random(seed);
        (_next, _answers, _used) = (Arena, 0, 0);
        _lanes.Clear();
        Array.Clear(_mayBeAnswered);
        List<string> log = [];
        using (_stepped = new SteppedBridge(SteppedBridgeTests.Options(kind, null) with { Log = log.Add }))
        {
            await using (_backEnd = new MockBackEnd(_stepped.Bridge) { Reannounces = true, Serve = Answer })
            {
                Fill();
                _stepped.Complete(() => Traffic(rounds, resets), mostCycles: 500_000_000);
                CheckHostOne();
                CheckHostTwo();
            }
        }

        Assert.That(_used, Is.GreaterThan(rounds), "chains that were used");

        // The session that was ended in the middle may still answer its last request.
        Assert.That(log.Where(line => !line.EndsWith("which was not asked", StringComparison.Ordinal)), Is.Empty);
    }

    private static byte Guard(int address, int first) => (byte)(first + (int)(((uint)address * 2654435761u) >> 26));

    private void Fill()
    {
        Span<byte> one = _stepped.Memory(0);
        Span<byte> two = _stepped.Memory(1);
        for (int i = 0; i < one.Length; i++)
        {
            one[i] = Guard(i, 0x80);
        }

        for (int i = 0; i < two.Length; i++)
        {
            two[i] = Guard(i, 0xC0);
        }

        one.CopyTo(_expected);
    }

    private async Task Traffic(int rounds, int resets)
    {
        await _backEnd.Start();
        _drivers = [new MockDriver(_stepped.Bridge, 0), new MockDriver(_stepped.Bridge, 1)];
        for (int function = 0; function < 2; function++)
        {
            await _stepped.Bridge.WriteConfig(0, function, 0x10, BitConverter.GetBytes(0xE000_0000 + ((uint)function << 16)));
            await _stepped.Bridge.WriteConfig(0, function, 0x14, BitConverter.GetBytes(0xE000_8000 + ((uint)function << 16)));
            await _drivers[function].Enable(9);
            await Start(function);
        }

        for (int round = 0; round < rounds; round++)
        {
            foreach (Lane lane in _lanes)
            {
                for (int i = _random.Next(4); i > 0 && lane.Queue.Free >= 6 && _next < ArenaEnd - 0x8000; i--)
                {
                    await Post(lane);
                }

                await lane.Queue.Publish();
            }

            await _stepped.AtCycle(_stepped.Cycle + (ulong)_random.Next(3000));
            await Collect();
            if (round % (rounds / (resets + 1)) == 1 && round / (rounds / (resets + 1)) < resets)
            {
                await Start(_random.Next(2));
            }

            if (round == rounds / 2)
            {
                await _backEnd.Announce();
            }
        }

        for (int wait = 0; _lanes.Exists(lane => lane.InFlight.Count != 0); wait++)
        {
            Assert.That(wait, Is.LessThan(2000), "every chain is used in the end");
            await Task.WhenAll(_lanes.Select(lane => lane.Queue.Publish(always: true)));
            await _stepped.AtCycle(_stepped.Cycle + 2000);
            await Collect();
        }
    }

    // Starts a function, also while its chains are under way: what those are to write may have come, or not.
    private async Task Start(int function)
    {
        MockDriver driver = _drivers[function];
        await driver.Reset();
        foreach (Lane lane in _lanes.Where(l => l.Function == function))
        {
            foreach (MockBuffer buffer in lane.InFlight.Values.SelectMany(b => b).Where(b => b.Writable))
            {
                _mayBeAnswered.AsSpan((int)buffer.Address, (int)buffer.Length).Fill(true);
            }
        }

        _ = _lanes.RemoveAll(l => l.Function == function);
        await driver.Negotiate(VirtioFeatures.RingEventIdx);
        foreach (ushort queue in function == 0 ? new[] { Block } : [Receive, Transmit])
        {
            _lanes.Add(new Lane(function, queue, await driver.AddQueue(queue, Entries, Rings + ((ulong)queue * RingStride))));
        }

        await driver.DriverOk();
    }

    private async Task Post(Lane lane)
    {
        List<MockBuffer> chain = [];
        switch (lane.Index)
        {
            case Block:
                bool write = _random.Next(2) == 0;
                chain.Add(await Take(16, false));
                for (int parts = _random.Next(1, 4); parts > 0; parts--)
                {
                    chain.Add(await Take(_random.Next(1, 3000), !write));
                }

                chain.Add(await Take(1, true));
                break;
            case Receive:
                chain.Add(await Take(_random.Next(12, 2000), true));
                chain.Add(await Take(_random.Next(1, 2000), true));
                break;
            default:
                chain.Add(await Take(12, false));
                chain.Add(await Take(_random.Next(60, 1515), false));
                break;
        }

        lane.InFlight.Add(await lane.Queue.Add([.. chain]), [.. chain]);
    }

    // Buffers of any alignment with guards between them; no byte is posted twice.
    private async Task<MockBuffer> Take(int length, bool writable)
    {
        int address = _next + _random.Next(1, 9);
        _next = address + length;
        if (!writable)
        {
            byte[] posted = new byte[length];
            for (int i = 0; i < length; i++)
            {
                posted[i] = (byte)_random.Next(0x40);
            }

            posted.CopyTo(_expected, address);
            await _stepped.Bridge.WriteHostMemory(0, (ulong)address, posted);
        }

        return new MockBuffer((ulong)address, (uint)length, writable);
    }

    // Answers are as long as it pleases, and go up from 40 to 7F and round again.
    private byte[] Answer(MockRequest request)
    {
        Assert.That(request.Readable, Is.All.LessThan(0x40), "bytes that the driver posted");
        int first = _answers++;
        int length = _random.Next(3) == 0 ? _random.Next((int)request.WritableLength + 1) : (int)request.WritableLength;
        return [.. Enumerable.Range(first, length).Select(i => (byte)(0x40 + (i & 0x3F)))];
    }

    private async Task Collect()
    {
        foreach (Lane lane in _lanes)
        {
            while (await lane.Queue.TakeUsed() is { } used)
            {
                Assert.That(lane.InFlight.Remove(used.Head, out MockBuffer[]? chain), Is.True);
                _used++;
                byte? next = null;
                uint left = used.Length;
                foreach (MockBuffer buffer in chain!.Where(b => b.Writable))
                {
                    for (uint i = 0; i < buffer.Length && left != 0; i++, left--)
                    {
                        int address = (int)(buffer.Address + i);
                        next = next is { } last ? (byte)(0x40 + ((last + 1) & 0x3F)) : _stepped.Memory(0)[address];
                        _expected[address] = next.Value;
                    }
                }

                Assert.That(left, Is.Zero, "used bytes beyond the buffers");
                Assert.That(next ?? 0x40, Is.InRange(0x40, 0x7F), "bytes that the back end answered");
            }
        }
    }

    private void CheckHostOne()
    {
        Span<byte> memory = _stepped.Memory(0);
        for (int i = 0; i < memory.Length; i++)
        {
            bool isRing = i >= Rings && i < Rings + (3 * RingStride) && i % RingStride < 0x1000;
            if (!isRing && memory[i] != _expected[i] && !(_mayBeAnswered[i] && memory[i] is >= 0x40 and <= 0x7F))
            {
                Assert.Fail($"host 1 has {memory[i]:X2} at 0x{i:X}; expected {_expected[i]:X2}");
            }
        }
    }

    private void CheckHostTwo()
    {
        Span<byte> memory = _stepped.Memory(1);
        bool[] isRing = new bool[memory.Length];
        foreach (SplitVirtqueue ring in _backEnd.Layouts)
        {
            isRing.AsSpan((int)ring.DescriptorTable, SplitVirtqueue.DescriptorTableBytes(ring.Size)).Fill(true);
            isRing.AsSpan((int)ring.Available, SplitVirtqueue.AvailableBytes(ring.Size)).Fill(true);
            isRing.AsSpan((int)ring.Used, SplitVirtqueue.UsedBytes(ring.Size)).Fill(true);
        }

        int posted = 0;
        for (int i = 0; i < memory.Length; i++)
        {
            bool inPool = i >= (int)MockBackEnd.Pool && i < (int)(MockBackEnd.Pool + MockBackEnd.PoolSize);
            posted += !isRing[i] && memory[i] < 0x40 ? 1 : 0;
            if (!isRing[i] && memory[i] != Guard(i, 0xC0) && !(inPool && memory[i] < 0x80))
            {
                Assert.Fail($"host 2 has {memory[i]:X2} at 0x{i:X}{(memory[i] < 0xC0 ? ", a byte of host 1 that was not posted" : "")}");
            }
        }

        Assert.That(posted, Is.GreaterThan(1000), "posted bytes that are still in the pool");
    }

    private sealed record Lane(int Function, ushort Index, MockQueue Queue)
    {
        public Dictionary<ushort, MockBuffer[]> InFlight { get; } = [];
    }
}
