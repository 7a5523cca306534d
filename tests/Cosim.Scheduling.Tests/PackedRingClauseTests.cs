// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Virtio;

namespace Cosim.Scheduling.Tests;

/// <summary>What a device does and leaves alone in packed virtqueues (virtio 1.3, 2.8), seen in the requests that reach host 1.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class PackedRingClauseTests(FpgaKind kind) : BridgeFixture(kind)
{
    private const int Size = 16;
    private const int FlagsOffset = 14;
    private const ulong RingMemory = 0x1_0000;
    private const ulong Data = 0x10_0000;

    [Test]
    [Clause("virtio 2.8.15-1")]
    [Clause("virtio 2.8.15-2")]
    [Clause("virtio 2.8.15-3")]
    [Clause("virtio 2.8.18-1")]
    public async Task Ring_LapAfterLap_DescriptorsAreWrittenOnceAndBuffersAsTheirDirectionSays()
    {
        RequestWatcher watcher = new();
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(VirtioFeatures.RingPacked);
        MockPackedQueue queue = await Driver.AddPackedQueue(0, Size, RingMemory);
        await Driver.DriverOk();
        await Bridge.Observe(0, watcher);
        ulong place = Data;
        for (int lap = 0; lap < 5; lap++)
        {
            int before = watcher.Requests.Count;
            List<(ushort Id, int Slot, MockBuffer[] Chain)> chains = [];
            List<byte[]> messages = [];
            while (queue.Free >= 4)
            {
                // Three pieces to read and one to write, or the other way round.
                bool isRead = chains.Count % 2 == 0;
                int count = isRead ? 3 : 1;
                MockBuffer[] chain = [.. Enumerable.Range(0, 4).Select(i => new MockBuffer(place + ((ulong)i * 64), isRead ? 20u : 7u, i >= count))];
                byte[] message = new byte[chain.Where(b => !b.Writable).Sum(b => b.Length)];
                new Random(lap).NextBytes(message);
                int at = 0;
                foreach (MockBuffer buffer in chain.Where(b => !b.Writable))
                {
                    await Bridge.WriteHostMemory(0, buffer.Address, message.AsMemory(at, (int)buffer.Length));
                    at += (int)buffer.Length;
                }

                chains.Add((await queue.Add(chain), queue.Available.Index, chain));
                messages.Add(message);
                place += 4 * 64;
            }

            _ = await queue.Publish();
            for (int i = 0; i < chains.Count; i++)
            {
                (_, _, MockBuffer[] chain) = chains[i];
                byte[] expected = [.. messages[i].Take((int)chain.Where(b => b.Writable).Sum(b => b.Length)).Select(b => (byte)~b)];
                Assert.That(await Driver.NextUsed(queue), Is.EqualTo((chains[i].Id, (uint)expected.Length)));
                List<byte> answer = [];
                foreach (MockBuffer buffer in chain.Where(b => b.Writable))
                {
                    answer.AddRange(await Bridge.ReadHostMemory(0, buffer.Address, (int)buffer.Length));
                }

                Assert.That(answer.Take(expected.Length), Is.EqualTo(expected), "its pieces are read and written in their order");
            }

            WatchedRequest[] requests = [.. watcher.Requests.Skip(before)];
            for (int slot = 0; slot < Size; slot++)
            {
                ulong flags = queue.Layout.DescriptorAddress(slot) + FlagsOffset;
                WatchedRequest[] writes = [.. requests.Where(r => r.IsWrite && r.Touches(queue.Layout.DescriptorAddress(slot), PackedDescriptor.Size))];
                int used = Array.FindIndex(writes, w => w.Touches(flags, 2));
                Assert.That(used, Is.EqualTo(writes.Length - 1), $"lap {lap}, slot {slot}: after its flags nothing of it is written");
            }

            MockBuffer[] buffers = [.. chains.SelectMany(c => c.Chain)];
            foreach (WatchedRequest request in requests)
            {
                foreach (MockBuffer buffer in buffers.Where(b => request.Touches(b.Address, (int)b.Length)))
                {
                    Assert.That(request.IsWrite, Is.EqualTo(buffer.Writable), $"{request}");
                }
            }
        }
    }
}
