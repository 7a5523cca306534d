// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using System.Text;
using NUnit.Framework;

namespace Cosim.Guests.Tests;

public sealed class SerialLineTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private SerialLine _line = null!;
    private Socket _peer = null!;

    [SetUp]
    public void Connect()
    {
        (Socket ours, _peer) = SocketPair.Create();
        _line = new SerialLine("the line", ours);
    }

    [TearDown]
    public async Task CloseAsync()
    {
        _peer.Dispose();
        await _line.DisposeAsync();
    }

    [Test]
    public async Task WaitForAsync_TextInPiecesAmongOther_ReturnsWhatCameBeforeAndKeepsTheRest()
    {
        Task<string> first = _line.WaitForAsync("ready\n", Deadline);
        foreach (string piece in new[] { "some re", "a", "rea", "dy", "\nthen more; " })
        {
            await _peer.SendAsync(Encoding.ASCII.GetBytes(piece));
        }

        Assert.That(await first, Is.EqualTo("some rea"));
        Assert.That(await _line.WaitForAsync(";", Deadline), Is.EqualTo("then more"));
    }

    [Test]
    public async Task WaitForAsync_PeerGone_SaysSoWithTheTranscript()
    {
        await _peer.SendAsync("Kernel panic\n"u8.ToArray());
        _peer.Dispose();
        Assert.That(
            async () => await _line.WaitForAsync("ready", Deadline),
            Throws.TypeOf<GuestException>().With.Message.Contains("the line: the guest is gone").And.Message.Contains("Kernel panic"));
    }

    [Test]
    public async Task WaitForAsync_MegabytesBefore_FindsTheText()
    {
        Task<string> found = _line.WaitForAsync("needle", Deadline);
        byte[] hay = [.. Enumerable.Repeat((byte)'.', 1 << 16)];
        for (int i = 0; i < 32; i++)
        {
            await _peer.SendAsync(hay);
        }

        await _peer.SendAsync("needle"u8.ToArray());
        Assert.That(await found, Has.Length.EqualTo(32 << 16));
        await _peer.SendAsync("after"u8.ToArray());
        await _line.WaitForAsync("after", Deadline);
        Assert.That(_line.Transcript, Does.EndWith("needleafter").And.Length.LessThan(1 << 17));
    }

    [Test]
    public async Task AttachAsync_KeysAndOutput_GoBothWaysUntilTheInputEnds()
    {
        (Socket terminal, Socket user) = SocketPair.Create();
        await using var keys = new NetworkStream(terminal, ownsSocket: true);
        using var screen = new MemoryStream();
        var typed = new byte[8];

        async Task TypeAndLeaveAsync()
        {
            await user.SendAsync("ls\r"u8.ToArray());
            Assert.That(await _peer.ReceiveAsync(typed), Is.EqualTo(3));
            await _peer.SendAsync("files"u8.ToArray());
            await _line.WaitForAsync("files", Deadline);
            user.Dispose();
        }

        Task typing = TypeAndLeaveAsync();
        using var timer = new CancellationTokenSource(Deadline);
        await _line.AttachAsync(keys, screen, timer.Token);
        await typing;
        Assert.That(timer.IsCancellationRequested, Is.False);
        Assert.That(Encoding.ASCII.GetString(typed), Does.StartWith("ls\r"));
        Assert.That(Encoding.ASCII.GetString(screen.ToArray()), Is.EqualTo("files"));
    }

    [Test]
    public async Task AttachAsync_GuestGone_EndsThoughTheInputDoesNot()
    {
        (Socket terminal, Socket user) = SocketPair.Create();
        await using var keys = new NetworkStream(terminal, ownsSocket: true);
        using (user)
        {
            using var screen = new MemoryStream();
            using var timer = new CancellationTokenSource(Deadline);
            await _peer.SendAsync("bye"u8.ToArray());
            _peer.Shutdown(SocketShutdown.Send);
            await _line.AttachAsync(keys, screen, timer.Token);
            Assert.That(timer.IsCancellationRequested, Is.False);
        }
    }
}
