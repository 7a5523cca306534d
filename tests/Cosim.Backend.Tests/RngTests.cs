// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>virtio-rng through the whole back end: mailbox, ring, random numbers.</summary>
public sealed class RngTests
{
    private FakeFpga _fpga = null!;
    private RngBackend _rng = null!;
    private RunningBackend _backend = null!;
    private FrontEndQueue _queue = null!;

    [TearDown]
    public void Stop()
    {
        _backend.Dispose();
        _rng.Dispose();
        _fpga.Dispose();
    }

    [TestCase(1u)]
    [TestCase(7u)]
    [TestCase(4096u)]
    [Clause("virtio 5.4.6.2-1")]
    public void Buffer_OfSomeSize_IsFilledWithRandomBytes(uint size)
    {
        Start(0);
        HashSet<string> seen = [];
        for (int round = 0; round < 16; round++)
        {
            byte[] bytes = Take(size, out uint length);

            Assert.That(length, Is.EqualTo(size));
            Assert.That(bytes.AsSpan((int)size).IndexOfAnyExcept((byte)0xEE), Is.Negative, "nothing behind its end");
            seen.Add(Convert.ToHexString(bytes.AsSpan(0, (int)size)));
        }

        Assert.That(seen, Has.Count.GreaterThan(1));
    }

    [Test]
    [Clause("virtio 5.4.6.2-1")]
    public void Buffer_LargerThanTheAllowance_GetsWhatThereIsAndItsLengthSaysSo()
    {
        const int rate = 2000;
        Start(rate);
        long start = Stopwatch.GetTimestamp();

        // The first may use what was saved up in a second; from then on it comes at the rate.
        byte[] bytes = Take(4096, out uint length);
        Assert.That(length, Is.InRange(1, rate));
        Assert.That(bytes.AsSpan((int)length).IndexOfAnyExcept((byte)0xEE), Is.Negative, "nothing behind what the length says");
        uint all = length;
        while (all < rate + 200)
        {
            _ = Take(4096, out length);
            Assert.That(length, Is.GreaterThan(0));
            all += length;
        }

        Assert.That(all, Is.LessThanOrEqualTo(rate + (Stopwatch.GetElapsedTime(start).TotalSeconds * rate) + 1));
    }

    [Test]
    public void Buffer_WithoutRoom_IsUsedAndTheNextIsServed()
    {
        Start(0);
        FrontEndQueue.Write(_fpga, _queue.Buffers, new byte[16]);
        _queue.Describe(0, _queue.Buffers, 16, DescriptorFlags.None);
        _queue.Offer(0);

        Assert.That(_queue.WaitUsed(), Is.EqualTo((0u, 0u)));
        _ = Take(16, out uint length);
        Assert.That(length, Is.EqualTo(16));
    }

    [Test]
    public void Reset_WhileABufferWaitsForItsTurn_LeavesItAlone()
    {
        Start(1);
        _ = Take(1, out _);
        _queue.Describe(1, _queue.Buffers, 16, DescriptorFlags.Write);
        _queue.Offer(1);

        Assert.That(_fpga.Ask(MailboxRequest.GetVringBase, 0, Bytes.U32(0, 0)), Is.EqualTo(Bytes.U32(0, 1)), "not taken yet");
        _fpga.RunFor(1200);
        Assert.That(_queue.HasUsed, Is.False);
    }

    private void Start(long rate)
    {
        _fpga = new FakeFpga();
        _rng = new RngBackend(rate, text => _backend.Reports.Enqueue(text));
        _backend = new RunningBackend(_fpga, _rng);
        _queue = FrontEndQueue.Enable(_fpga, 0, 0, 64, VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx);
    }

    private byte[] Take(uint size, out uint length)
    {
        byte[] stale = new byte[size + 16];
        Array.Fill(stale, (byte)0xEE);
        FrontEndQueue.Write(_fpga, _queue.Buffers, stale);
        _queue.Describe(0, _queue.Buffers, size, DescriptorFlags.Write);
        _queue.Offer(0);
        (uint id, length) = _queue.WaitUsed();
        Assert.That(id, Is.Zero);
        return FrontEndQueue.Read(_fpga, _queue.Buffers, stale.Length);
    }
}
