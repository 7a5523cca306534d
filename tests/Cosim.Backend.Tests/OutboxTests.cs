// SPDX-License-Identifier: Apache-2.0
using Cosim.Backend.Internal;
using Cosim.VfioUser;
using Cosim.Virtio;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>Messages for a mailbox that the front end does not empty.</summary>
public sealed class OutboxTests
{
    [Test]
    public void Mailbox_LeftFull_GivesUpWithItsReason()
    {
        using EventLoop loop = new();
        using FullEndpoint endpoint = new();
        using Outbox outbox = new(loop, endpoint, patience: 1);
        outbox.Send((MailboxRequest)MailboxHeader.ConfigChange, 0, 0, []);

        Assert.That(() => loop.RunOnce(20_000), Throws.TypeOf<BackendException>().With.Message.Contains("has not emptied the host-to-FPGA mailbox for 0.001 s"));
        Assert.That(endpoint.Written, Is.EqualTo(new[] { (BackendRegisters.Control, 3u) }), "it says that it waits");
    }

    [Test]
    public void Mailbox_LeftFullInASessionThatIsOver_IsNobodysConcern()
    {
        using EventLoop loop = new();
        using FullEndpoint endpoint = new();
        using Outbox outbox = new(loop, endpoint, patience: 1);
        outbox.Send((MailboxRequest)MailboxHeader.ConfigChange, 0, 0, []);
        outbox.Clear();

        Assert.That(() => loop.RunOnce(50), Throws.Nothing);
    }

    private sealed class FullEndpoint : IEndpoint
    {
        public Pool Pool => throw new NotSupportedException();

        public IReadOnlyList<EventFd> Vectors => [];

        public int Lifeline => -1;

        internal List<(uint Offset, uint Value)> Written { get; } = [];

        public uint Read(uint offset) => offset == BackendRegisters.H2fStatus ? 16u : throw new NotSupportedException();

        public void Write(uint offset, uint value) => Written.Add((offset, value));

        public void Dispose()
        {
        }
    }
}
