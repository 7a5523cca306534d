// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Virtio.Tests;

public sealed class MailboxHeaderTests
{
    private static byte[] Message(uint flags, uint size, int payload)
    {
        byte[] message = new byte[MailboxHeader.Bytes + payload];
        new MailboxHeader(MailboxRequest.SetVringNum, flags, size, 3).Write(message);
        return message;
    }

    [Test]
    public void TryRead_WellFormed_GivesWhatWasWritten()
    {
        byte[] message = Message(MailboxHeader.Version | MailboxHeader.Reply, 8, 8);
        Assert.That(message[..MailboxHeader.Bytes], Is.EqualTo(new byte[]
        {
            0x08, 0, 0, 0, // request
            0x05, 0, 0, 0, // flags: version 1, REPLY
            0x08, 0, 0, 0, // size
            0x03, 0, 0, 0, // device
        }));
        Assert.That(MailboxHeader.TryRead(message, out MailboxHeader header), Is.True);
        Assert.That(header, Is.EqualTo(new MailboxHeader(MailboxRequest.SetVringNum, 5, 8, 3)));
        Assert.That(header.IsReply, Is.True);
    }

    [TestCase(0u, 8u, 8, TestName = "TryRead_VersionZero_IsRefused")]
    [TestCase(2u, 8u, 8, TestName = "TryRead_VersionTwo_IsRefused")]
    [TestCase(1u, 9u, 8, TestName = "TryRead_PayloadShorterThanSize_IsRefused")]
    [TestCase(1u, 1009u, 1009, TestName = "TryRead_PayloadBeyondTheMailbox_IsRefused")]
    [TestCase(1u, 0xFFFF_FFF8u, 8, TestName = "TryRead_SizeThatOverflows_IsRefused")]
    public void TryRead_Malformed_IsRefused(uint flags, uint size, int payload) =>
        Assert.That(MailboxHeader.TryRead(Message(flags, size, payload), out _), Is.False);

    [Test]
    public void TryRead_ShorterThanAHeader_IsRefused() => Assert.That(MailboxHeader.TryRead(new byte[15], out _), Is.False);
}
