// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Grpc.Tests;

/// <summary>grpc-js, a client that shares no line with ours, against our server.</summary>
[TestFixture(Transport.Loopback)]
[TestFixture(Transport.UnixSocket)]
[CancelAfter(180_000)]
public sealed class ForeignClientTests(Transport transport)
{
    [Test]
    public async Task GrpcJs_AllKindsOfCalls_AllChecksHold(CancellationToken token)
    {
        string modules = await GrpcJs.InstallAsync(token);
        await using EchoServer server = await EchoServer.StartAsync(transport, o => o.ResponseCompressionAlgorithm = "gzip");
        string script = Path.Combine(AppContext.BaseDirectory, "foreign-client.js");
        (int exitCode, string output) = await GrpcJs.RunAsync(script, [modules, AppContext.BaseDirectory, server.Target], token);
        Assert.That(exitCode, Is.Zero, output);
        Assert.That(output, Does.EndWith("all checks hold\n"));
    }
}
