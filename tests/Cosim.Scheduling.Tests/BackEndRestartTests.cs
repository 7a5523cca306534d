// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>
/// The back end's program ends at any time under load and another one takes its place (hdl/LIFECYCLE.md): no request is lost, host 1 is
/// told of none twice, those that were in flight come again in their order, and every byte is right.
/// </summary>
[TestFixture(FpgaKind.Model, 24, 60)]
[TestFixture(FpgaKind.Verilator, 4, 60)]
[TestFixture(FpgaKind.Ghdl, 1, 24)]
public sealed class BackEndRestartTests(FpgaKind kind, int seeds, int requests)
{
    private const int Queues = 2;
    private const int MostInFlight = 12;
    private const ulong Rings = 0x1_0000;
    private const ulong RingStride = 0x4000;
    private const ulong Buffers = 0x10_0000;
    private const ulong BufferStride = 0x2000;
    private const int MostBytes = 3000;

    [TestCase(0UL)]
    [TestCase(VirtioFeatures.RingEventIdx)]
    public async Task BackEnd_EndsAgainAndAgainUnderLoad_NothingIsLostNothingIsDoubled(ulong features)
    {
        int restarts = 0;
        int again = 0;
        for (int seed = 1; seed <= seeds; seed++)
        {
            BridgeOptions options = SteppedBridgeTests.Options(kind, null);
            using SteppedBridge stepped = new(options with { Fpga = options.Fpga with { InProcess = kind == FpgaKind.Verilator } });
            await using MockBackEnd backEnd = new(stepped.Bridge);
            Load load = new(stepped, backEnd, features, requests, new Random(seed));
            try
            {
                stepped.Complete(load.Run);
            }
            catch (Exception e)
            {
                Assert.Fail($"seed {seed}: {e}");
            }

            restarts += load.Restarts;
            again += load.ExecutedAgain;
        }

        await TestContext.Out.WriteLineAsync($"{seeds} seeds, {restarts} restarts, {again} requests executed again");
        Assert.That(restarts, Is.GreaterThanOrEqualTo(seeds));
        Assert.That(again, Is.Positive, "no restart met a request in flight");
    }

    private sealed class Load(SteppedBridge stepped, MockBackEnd backEnd, ulong features, int requests, Random random)
    {
        private readonly MockDriver _driver = new(stepped.Bridge, 0);
        private readonly MockQueue[] _queues = new MockQueue[Queues];
        private readonly Dictionary<(int Queue, ushort Head), Request> _inFlight = [];
        private readonly HashSet<(int Queue, int Number)> _completed = [];
        private readonly HashSet<(int Queue, int Number)> _executed = [];
        private readonly int[] _sent = new int[Queues];
        private readonly int[] _newest = new int[Queues];
        private readonly List<MockRequest> _kept = [];
        private bool _done;

        public int Restarts { get; private set; }

        public int ExecutedAgain { get; private set; }

        public async Task Run()
        {
            backEnd.Serve = Take;
            NewSession();
            await backEnd.Start();
            await _driver.Enable(9);
            await _driver.Reset();
            await _driver.Negotiate(features);
            for (int q = 0; q < Queues; q++)
            {
                _queues[q] = await _driver.AddQueue((ushort)q, 16, Rings + ((ulong)q * RingStride));
            }

            await _driver.DriverOk();
            Task serving = ServeAndDie();
            await Drive();
            _done = true;
            await serving;
        }

        private static byte[] Answer(ReadOnlySpan<byte> readable, int length)
        {
            byte[] answer = new byte[length];
            for (int i = 0; i < length; i++)
            {
                answer[i] = (byte)~readable[i % readable.Length];
            }

            return answer;
        }

        private static ulong BufferOf(int queue, int slot) => Buffers + ((ulong)((queue * MostInFlight) + slot) * 2 * BufferStride);

        // Host 1: as many requests as there is room for, each with bytes of its own; what comes back is checked byte for byte.
        private async Task Drive()
        {
            Queue<int>[] slots = [.. Enumerable.Range(0, Queues).Select(_ => new Queue<int>(Enumerable.Range(0, MostInFlight)))];
            while (_completed.Count < Queues * requests)
            {
                bool moved = false;
                for (int q = 0; q < Queues; q++)
                {
                    moved |= await Fill(q, slots[q]);
                    while (await _queues[q].TakeUsed() is { } used)
                    {
                        await Check(q, used, slots[q]);
                        moved = true;
                    }

                    await _queues[q].ArmUsedEvent();
                }

                if (!moved)
                {
                    _ = await _driver.NextInterrupt();
                }
            }

            Assert.That(_inFlight, Is.Empty);
        }

        private async Task<bool> Fill(int q, Queue<int> slots)
        {
            bool added = false;
            while (_sent[q] < requests && slots.Count > 0 && _queues[q].Free >= 3)
            {
                int slot = slots.Dequeue();
                ulong from = BufferOf(q, slot);
                ulong to = from + BufferStride;
                byte[] readable = new byte[random.Next(4, MostBytes)];
                random.NextBytes(readable);
                BinaryPrimitives.WriteInt32LittleEndian(readable, ++_sent[q]);
                int length = random.Next(1, MostBytes);
                await stepped.Bridge.WriteHostMemory(0, from, readable);
                await stepped.Bridge.WriteHostMemory(0, to, new byte[length + 1]);
                int cut = random.Next(1, readable.Length);
                ushort head = await _queues[q].Add(
                    new MockBuffer(from, (uint)cut, false), new MockBuffer(from + (uint)cut, (uint)(readable.Length - cut), false), new MockBuffer(to, (uint)length, true));
                _inFlight.Add((q, head), new Request(_sent[q], slot, readable, length));
                added = true;
            }

            if (added)
            {
                await _queues[q].Publish();
            }

            return added;
        }

        private async Task Check(int q, (ushort Head, uint Length) used, Queue<int> slots)
        {
            Assert.That(_inFlight.Remove((q, used.Head), out Request? request), $"queue {q}: head {used.Head} was used twice");
            Assert.That(_completed.Add((q, request!.Number)), $"queue {q}: request {request.Number} was completed twice");
            Assert.That(used.Length, Is.EqualTo(request.Length), $"queue {q}: request {request.Number}");
            byte[] got = await stepped.Bridge.ReadHostMemory(0, BufferOf(q, request.Slot) + BufferStride, request.Length + 1);
            Assert.That(got, Is.EqualTo((byte[])[.. Answer(request.Readable, request.Length), 0]), $"queue {q}: bytes of request {request.Number}");
            slots.Enqueue(request.Slot);
        }

        // Host 2: requests are kept, completed in any order, and forgotten when the program ends, which it does in any cycle.
        private async Task ServeAndDie()
        {
            int left = 3;
            int patience = random.Next(1, 12);
            while (!_done)
            {
                await stepped.AtCycle(stepped.Cycle + (ulong)random.Next(1, 3000));
                if (left > 0 && --patience == 0 && !_done)
                {
                    left--;
                    patience = random.Next(4, 20);
                    await Restart();
                    continue;
                }

                for (int n = random.Next(0, 6); n > 0 && _kept.Count > 0; n--)
                {
                    MockRequest request = _kept[random.Next(_kept.Count)];
                    _kept.Remove(request);
                    byte[] answer = Answer(request.Readable, (int)request.WritableLength);
                    await stepped.Bridge.WriteHostMemory(1, request.Writable, answer);
                    await backEnd.PushUsed(0, request.Queue, request.Head, (uint)answer.Length);
                }
            }
        }

        private async Task Restart()
        {
            Restarts++;
            _kept.Clear();
            backEnd.Die();
            switch (random.Next(3))
            {
                case 0:
                    await backEnd.WriteBar(RegisterMap.BackEnd.Control, 0);
                    await stepped.AtCycle(stepped.Cycle + (ulong)random.Next(1, 5000));
                    break;
                case 1:
                    // As when host 2's QEMU is killed.
                    _ = await stepped.Bridge.WriteConfig(1, 0, 0x48, [0x10, 0xA8]);
                    await stepped.AtCycle(stepped.Cycle + (ulong)random.Next(1, 5000));
                    break;
                default:
                    // A new program begins before the FPGA has heard of the old one's end.
                    break;
            }

            NewSession();
            await stepped.Bridge.DisarmVectors(1, 0, 0, 17);
            await backEnd.Announce();
        }

        private void NewSession() => Array.Clear(_newest);

        private byte[]? Take(MockRequest request)
        {
            int number = BinaryPrimitives.ReadInt32LittleEndian(request.Readable);
            int q = request.Queue;
            Assert.That(_completed, Does.Not.Contain((q, number)), $"queue {q}: request {number}, of which host 1 has been told, is offered again");
            Assert.That(number, Is.GreaterThan(_newest[q]), $"queue {q}: out of order");
            _newest[q] = number;
            ExecutedAgain += _executed.Add((q, number)) ? 0 : 1;
            _kept.Add(request);
            return null;
        }
    }

    private sealed record Request(int Number, int Slot, byte[] Readable, int Length);
}
