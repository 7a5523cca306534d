// SPDX-License-Identifier: Apache-2.0
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using NUnit.Framework;

namespace Cosim.Guests.Tests;

public sealed class QmpClientTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private QmpClient _client = null!;
    private Socket _peer = null!;
    private StreamReader _requests = null!;

    [SetUp]
    public void Connect()
    {
        (Socket ours, _peer) = SocketPair.Create();
        _client = new QmpClient(ours);
        _requests = new StreamReader(new NetworkStream(_peer));
    }

    [TearDown]
    public async Task CloseAsync()
    {
        _requests.Dispose();
        _peer.Dispose();
        await _client.DisposeAsync();
    }

    [Test]
    public async Task ExecuteAsync_AnswersOutOfOrderAmongEvents_EachFindsItsCommand()
    {
        Task<QmpEvent> happened = _client.NextEventAsync(e => e.Name == "RESET");
        Task<JsonNode> first = _client.ExecuteAsync("one", new JsonObject { ["a"] = 1 });
        JsonNode firstRequest = JsonNode.Parse((await _requests.ReadLineAsync())!)!;
        Task<JsonNode> second = _client.ExecuteAsync("two");
        JsonNode secondRequest = JsonNode.Parse((await _requests.ReadLineAsync())!)!;
        Assert.That((string?)firstRequest["execute"], Is.EqualTo("one"));
        Assert.That((int?)firstRequest["arguments"]?["a"], Is.EqualTo(1));

        await SendAsync($$"""{"return": 2, "id": {{secondRequest["id"]}}}""");
        await SendAsync("""{"event": "RESET", "data": {"guest": true}, "timestamp": {}}""");
        await SendAsync($$"""{"error": {"class": "GenericError", "desc": "no such thing"}, "id": {{firstRequest["id"]}}}""");
        Assert.That((int)await second.WaitAsync(Deadline), Is.EqualTo(2));
        Assert.That((bool?)(await happened.WaitAsync(Deadline)).Data["guest"], Is.True);
        Assert.That(async () => await first.WaitAsync(Deadline), Throws.TypeOf<QmpException>().With.Message.Contains("no such thing"));
    }

    [Test]
    public async Task ExecuteAsync_QemuGoneWhileWaiting_FailsThatAndAllLaterCalls()
    {
        Task<QmpEvent> happened = _client.NextEventAsync(_ => true);
        Task<JsonNode> waiting = _client.ExecuteAsync("quit");
        await _requests.ReadLineAsync();
        _peer.Dispose();
        Assert.That(async () => await waiting.WaitAsync(Deadline), Throws.TypeOf<GuestException>());
        Assert.That(async () => await happened.WaitAsync(Deadline), Throws.TypeOf<GuestException>());
        Assert.That(async () => await _client.ExecuteAsync("stop").WaitAsync(Deadline), Throws.TypeOf<GuestException>());
    }

    private async Task SendAsync(string line) => await _peer.SendAsync(Encoding.UTF8.GetBytes(line + "\r\n"));
}
