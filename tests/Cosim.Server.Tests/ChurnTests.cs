// SPDX-License-Identifier: Apache-2.0
using Cosim.Server.Scheduled;
using Cosim.V1;
using Cosim.VfioUser;
using Grpc.Net.Client;
using NUnit.Framework;

namespace Cosim.Server.Tests;

/// <summary>A service that makes and ends bridges for ever holds no more at the end than at the beginning.</summary>
[CancelAfter(240_000)]
public sealed class ChurnTests
{
    private const int WarmUp = 100;
    private const int Cycles = 1000;

    [Test]
    public async Task Bridges_CreatedUsedAndDeletedAThousandTimes_DescriptorsThreadsMemoryAndFilesAreFlat(CancellationToken token)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("cosim-churn-");
        try
        {
            await using BridgeServer server = await BridgeServer.StartAsync(new BridgeServerOptions
            {
                Address = ServiceAddress.Parse($"unix:{folder.FullName}/s.sock"),
                Factory = new ScheduledBridgeFactory(
                    new BridgeFolders
                    {
                        Hdl = folder.FullName,
                        Build = folder.FullName,
                        Tools = Path.Combine(folder.FullName, "tools.json"),
                        BackEnd = Path.Combine(folder.FullName, "backend"),
                        Run = Path.Combine(folder.FullName, "run"),
                        Recordings = Path.Combine(folder.FullName, "recordings"),
                    },
                    _ => { }),
            });
            using GrpcChannel channel = server.Address.Connect();
            Bridges.BridgesClient bridges = new(channel);
            Transactions.TransactionsClient transactions = new(channel);
            for (int i = 0; i < WarmUp; i++)
            {
                await UseBridgeAsync(bridges, transactions, i, token);
            }

            Held before = Held.Now(folder);
            for (int i = 0; i < Cycles; i++)
            {
                await UseBridgeAsync(bridges, transactions, i, token);
            }

            // What a client has just left may take a moment to be closed.
            Held after = Held.Now(folder);
            for (int look = 0; look < 50 && after.Descriptors > before.Descriptors + 5; look++)
            {
                await Task.Delay(100, token);
                after = Held.Now(folder);
            }

            await TestContext.Out.WriteLineAsync($"before {before}, after {Cycles} bridges {after}");
            Assert.Multiple(() =>
            {
                Assert.That(after.Descriptors, Is.LessThanOrEqualTo(before.Descriptors + 5), after.Kinds);
                Assert.That(after.Threads, Is.LessThanOrEqualTo(before.Threads + 8), "the pool's threads come and go");
                Assert.That(after.ManagedKiB, Is.LessThanOrEqualTo(before.ManagedKiB + 2048));
                Assert.That(after.ResidentMiB, Is.LessThanOrEqualTo(before.ResidentMiB + 64));
                Assert.That(after.Mappings, Is.LessThanOrEqualTo(before.Mappings + 250));
                Assert.That(after.Files, Is.EqualTo(before.Files));
            });
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // Odd ones have sockets, with a client that comes and goes; even ones are played by programs.
    private static async Task UseBridgeAsync(Bridges.BridgesClient bridges, Transactions.TransactionsClient transactions, int number, CancellationToken token)
    {
        Scenario scenario = new()
        {
            Name = $"churn-{number % 3}",
            Fpga = new FpgaSpec { Kind = FpgaSpec.Types.Kind.Model },
            Host1 = new HostSpec { Program = new ProgramHost { MemoryBytes = 8192 } },
            Host2 = number % 2 == 0 ? new HostSpec { Program = new ProgramHost { MemoryBytes = 8192 } } : new HostSpec { Socket = new SocketHost() },
            Devices = { new DeviceSpec { Net = new NetDevice() }, new DeviceSpec { Net = new NetDevice() } },
        };
        BridgeStatus status = await bridges.CreateAsync(scenario, cancellationToken: token);
        byte[] id = new byte[4];
        if (number % 2 == 0)
        {
            ReadResponse read = await transactions.ReadConfigAsync(
                new ReadConfigRequest { Function = new FunctionAddress { Bridge = scenario.Name, Port = 1 }, Length = 4 }, cancellationToken: token);
            read.Data.CopyTo(id, 0);
        }
        else
        {
            using VfioUserClient client = VfioUserClient.Connect(status.Functions.Single(f => f.Port == 1).Socket);
            using SharedMemory memory = new(64 << 10, "churn");
            client.Map(memory, 0, 0, 64 << 10);
            client.Read(VfioPci.ConfigRegionIndex, 0, id);
        }

        Assert.That(id, Is.EqualTo(new byte[] { 0x05, 0x0C, 0x01, 0x51 }));
        await bridges.DeleteAsync(new DeleteBridgeRequest { Name = scenario.Name }, cancellationToken: token);
    }

    private sealed record Held(int Descriptors, int Threads, long ManagedKiB, long ResidentMiB, int Mappings, int Files, string Kinds)
    {
        internal static Held Now(DirectoryInfo folder)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();

            // An assembly that is loaded late keeps its file open, whatever bridges there are.
            string[] open = [.. Directory.GetFileSystemEntries("/proc/self/fd")
                .Select(fd => new FileInfo(fd).LinkTarget ?? "closed")
                .Where(target => !target.EndsWith(".dll", StringComparison.Ordinal))];
            return new Held(
                open.Length,
                Directory.GetFileSystemEntries("/proc/self/task").Length,
                GC.GetTotalMemory(forceFullCollection: true) >> 10,
                Environment.WorkingSet >> 20,
                File.ReadLines("/proc/self/maps").Count(),
                folder.GetFileSystemInfos("*", SearchOption.AllDirectories).Length,
                string.Join(", ", open
                    .CountBy(target => target.Split(':', '[', '(')[0])
                    .OrderByDescending(kind => kind.Value)
                    .Take(8)
                    .Select(kind => $"{kind.Value} {kind.Key}")));
        }
    }
}
