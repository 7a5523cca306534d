// SPDX-License-Identifier: Apache-2.0
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>An FPGA that breaks the protocol and fills the pool with garbage: the back end answers, or stops the ring, and serves on after a reset.</summary>
public sealed class HostileFrontEndTests
{
    private const int Sectors = 64;
    private const ulong Features = VirtioFeatures.Version1 | VirtioFeatures.RingEventIdx | VirtioFeatures.RingIndirectDesc;

    private string _folder = string.Empty;
    private BlockBackend _block = null!;
    private RngBackend _rng = null!;
    private FakeFpga _fpga = null!;
    private RunningBackend _backend = null!;

    [SetUp]
    public void Start()
    {
        _folder = Directory.CreateTempSubdirectory("hfe").FullName;
        string image = Path.Combine(_folder, "image");
        File.WriteAllBytes(image, new byte[Sectors * 512]);
        _block = new BlockBackend(new BlockOptions { Path = image }, 32 << 20, _ => { });
        _rng = new RngBackend(0, _ => { });
        _fpga = new FakeFpga();
        _backend = new RunningBackend(_fpga, _block, _rng);
    }

    [TearDown]
    public void Stop()
    {
        // Whatever was done to it: after a reset it serves.
        _fpga.DropMessages();
        Assert.That(_fpga.Tell(MailboxRequest.ResetDevice, 0, []), Is.Zero);
        FrontEndQueue queue = FrontEndQueue.Enable(_fpga, 0, 0, 64, Features);
        byte[] answer = queue.Exchange([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 513);
        Assert.That(answer, Has.Length.EqualTo(513));
        Assert.That(answer[512], Is.Zero, "status of a read");
        _backend.Dispose();
        _fpga.Dispose();
        _block.Dispose();
        _rng.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void SetVringNum_AfterTheAddresses_NeedsThemAgain()
    {
        ulong end = _fpga.PoolIova + _fpga.PoolSize;
        byte[] addresses = [.. Bytes.U32(0, 0), .. Bytes.U64(end - 64, end - 0x100, end - 0x200, 0)];
        Assert.That(_fpga.Tell(MailboxRequest.SetVringNum, 0, Bytes.U32(0, 4)), Is.Zero);
        Assert.That(_fpga.Tell(MailboxRequest.SetVringAddr, 0, addresses), Is.Zero, "a table of 4 at the pool's end");

        Assert.That(_fpga.Tell(MailboxRequest.SetVringNum, 0, Bytes.U32(0, 64)), Is.Zero);

        Assert.That(_fpga.Tell(MailboxRequest.SetVringEnable, 0, Bytes.U32(0, 1)), Is.EqualTo(22), "a table of 64 was never told");
        Assert.That(_fpga.Tell(MailboxRequest.SetVringAddr, 0, addresses), Is.EqualTo(22));
    }

    [Test]
    public void Messages_OfRandomBytes_AreAnsweredOrDropped([Values(1, 2, 3)] int seed)
    {
        Random random = new(seed);
        for (int i = 0; i < 150; i++)
        {
            byte[] message = new byte[random.Next(1, 65)];
            random.NextBytes(message);
            _fpga.SendBytes(message);
        }

        Assert.That(_fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
        Assert.That(_backend.Reports, Has.Count.LessThanOrEqualTo(150));
    }

    [Test]
    public void Requests_WithRandomPayloads_AreEachAnsweredOnce([Values(1, 2, 3)] int seed)
    {
        Random random = new(seed);
        MailboxRequest[] requests = Enum.GetValues<MailboxRequest>();
        for (int i = 0; i < 300; i++)
        {
            byte[] payload = new byte[random.Next(4) switch { 0 => 8, 1 => 40, 2 => 0, _ => random.Next(200) }];
            random.NextBytes(payload);
            if (payload.Length >= 8 && random.Next(2) == 0)
            {
                Bytes.U32((uint)random.Next(2), (uint)random.Next(3)).CopyTo(payload, 0);
            }

            _ = _fpga.Ask(requests[random.Next(requests.Length)], (uint)random.Next(3), payload);
            Assert.That(_fpga.HasMessage, Is.False);
        }
    }

    [TestCase(1025u)]
    [TestCase(0x8000_0000u)]
    [TestCase(uint.MaxValue)]
    public void Mailbox_LengthBeyondIt_IsLeftAlone(uint length)
    {
        _fpga.ClaimMessage(length);
        _fpga.RunFor(20);
        Assert.That(_fpga.HasMessage, Is.False);
        _fpga.ClaimMessage(0);
        Assert.That(_fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
    }

    [Test]
    public void Rings_OfRandomDescriptors_AreServedOrStopped([Values(1, 2, 3, 4)] int seed)
    {
        Random random = new(seed);
        for (int round = 0; round < 20; round++)
        {
            uint device = (uint)random.Next(2);
            Assert.That(_fpga.Tell(MailboxRequest.ResetDevice, device, []), Is.Zero);
            FrontEndQueue queue = FrontEndQueue.Enable(_fpga, (int)device, 0, 64, Features);
            for (ushort i = 0; i < 64; i++)
            {
                // Mostly near what would be right: a request's header, data, a status.
                ulong address = random.Next(8) == 0 ? (ulong)random.NextInt64() : queue.Buffers + (ulong)random.Next(0x1_0000);
                uint length = random.Next(6) switch { 0 => (uint)random.Next(), 1 => 0, 2 => 1, 3 => 16, 4 => 512, _ => (uint)random.Next(5000) };
                queue.Describe(i, address, length, (DescriptorFlags)random.Next(random.Next(4) == 0 ? 8 : 4), (ushort)random.Next(random.Next(8) == 0 ? 70 : 64));
            }

            byte[] garbage = new byte[0x1_0000];
            random.NextBytes(garbage);
            for (int i = 0; i < garbage.Length; i += 64)
            {
                Bytes.U32((uint)random.Next(15), 0, (uint)random.Next(Sectors), random.Next(8) == 0 ? uint.MaxValue : 0).CopyTo(garbage, i);
            }

            FrontEndQueue.Write(_fpga, queue.Buffers, garbage);
            for (int i = 0; i < 32; i++)
            {
                _ = queue.Offer((ushort)random.Next(random.Next(16) == 0 ? 66 : 64));
            }

            _fpga.Kick((int)device, 0);
            Assert.That(_fpga.Ask(MailboxRequest.GetDevice, device), Has.Length.EqualTo(20));
        }
    }

    [Test]
    public void Kicks_WithoutEnd_LeaveTheMailboxServed()
    {
        _ = FrontEndQueue.Enable(_fpga, 0, 0, 64, Features);
        for (int i = 0; i < 2000; i++)
        {
            _fpga.Kick(0, 0);
            _fpga.Kick(1, 7);
        }

        Assert.That(_fpga.Ask(MailboxRequest.GetDevice), Has.Length.EqualTo(20));
    }
}
