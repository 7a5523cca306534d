// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using Cosim.Server.Scheduled;
using Cosim.V1;
using Grpc.Net.Client;
using NUnit.Framework;

namespace Cosim.Server.Tests;

/// <summary>What a service leaves behind, orderly or killed, and what the next one makes of it.</summary>
[CancelAfter(60_000)]
public sealed class RestoreTests
{
    private DirectoryInfo _folder = null!;
    private List<string> _log = null!;

    [SetUp]
    public void MakeFolder()
    {
        _folder = Directory.CreateTempSubdirectory("cosim-restore-");
        _log = [];
    }

    [TearDown]
    public void RemoveFolder() => _folder.Delete(recursive: true);

    private BridgeFolders Folders => new()
    {
        Hdl = _folder.FullName,
        Build = _folder.FullName,
        Tools = Path.Combine(_folder.FullName, "tools.json"),
        BackEnd = Path.Combine(_folder.FullName, "backend"),
        Run = Path.Combine(_folder.FullName, "run"),
        Recordings = Path.Combine(_folder.FullName, "recordings"),
    };

    private BridgeLedger Ledger => new(Path.Combine(_folder.FullName, "ledger"));

    [Test]
    public async Task Restore_AfterAnOrderlyEnd_StartsWhatWasRunningAndNothingThatWasDeleted(CancellationToken token)
    {
        Scenario kept = Programmed("kept");
        kept.Host1 = new HostSpec { Socket = new SocketHost { Directory = Path.Combine(_folder.FullName, "sockets") } };
        await using (BridgeServer first = await StartAsync())
        {
            using GrpcChannel channel = first.Address.Connect();
            Bridges.BridgesClient bridges = new(channel);
            await bridges.CreateAsync(kept, cancellationToken: token);
            await bridges.CreateAsync(Programmed("deleted"), cancellationToken: token);
            await bridges.DeleteAsync(new DeleteBridgeRequest { Name = "deleted" }, cancellationToken: token);
        }

        Assert.That(Directory.GetDirectories(Folders.Run), Is.Empty, "an orderly end leaves nothing");
        await using BridgeServer second = await StartAsync();
        await second.RestoreAsync(_log.Add);
        using GrpcChannel again = second.Address.Connect();
        ListBridgesResponse list = await new Bridges.BridgesClient(again).ListAsync(new ListBridgesRequest(), cancellationToken: token);
        Assert.Multiple(() =>
        {
            Assert.That(list.Bridges.Select(b => b.Scenario), Is.EqualTo(new[] { kept }));
            Assert.That(_log, Has.Some.EqualTo("bridge kept: started again"));
            Assert.That(_log.Where(line => line.Contains("start it again with the same arguments", StringComparison.Ordinal)), Has.Exactly(2).Items, "one for each socket of host 1");
        });
    }

    [Test]
    public async Task ClearLeftovers_OfAServiceThatWasKilled_EndsItsProcessesAndRemovesItsFilesAndNobodyElses()
    {
        using Process orphan = Process.Start("sleep", ["600"]);
        using Process gone = Process.Start("true");
        await gone.WaitForExitAsync();
        string socket = Path.Combine(_folder.FullName, "left.sock");
        await File.WriteAllTextAsync(socket, "");
        string left = Leave("left", $"owner {gone.Id} 1\nprocess {orphan.Id} {StartTime(orphan.Id)}\nsocket {socket}\n");

        // The same number, but another process: its start time tells. And a folder whose service runs.
        string reused = Leave("reused", $"owner {Environment.ProcessId} 1\nprocess {Environment.ProcessId} 1\n");
        string used = Leave("used", $"owner {Environment.ProcessId} {StartTime(Environment.ProcessId)}\n");
        string others = Directory.CreateDirectory(Path.Combine(Folders.Run, "others")).FullName;

        new ScheduledBridgeFactory(Folders, _log.Add).ClearLeftovers();

        Assert.Multiple(() =>
        {
            Assert.That(orphan.WaitForExit(10_000), Is.True);
            Assert.That(new[] { left, reused, used, others }.Select(Directory.Exists), Is.EqualTo(new[] { false, false, true, true }));
            Assert.That(File.Exists(socket), Is.False);
            Assert.That(_log, Has.Exactly(1).Contain($"process {orphan.Id} (sleep)"));
        });
    }

    [Test]
    public async Task Create_WhereAnotherServiceThatRunsHasTheFolder_IsRefused()
    {
        using Process other = Process.Start("sleep", ["600"]);
        try
        {
            string folder = Leave("mine", $"owner {other.Id} {StartTime(other.Id)}\n");
            BridgeException error = Assert.ThrowsAsync<BridgeException>(
                () => new ScheduledBridgeFactory(Folders, _log.Add).CreateAsync(Programmed("mine"), CancellationToken.None))!;
            Assert.That(error.Message, Does.Contain($"process {other.Id}"));
            Assert.That(Directory.Exists(folder), Is.True);
        }
        finally
        {
            other.Kill();
            await other.WaitForExitAsync();
        }
    }

    private static string StartTime(int id)
    {
        string stat = File.ReadAllText($"/proc/{id}/stat");
        return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19];
    }

    private static Scenario Programmed(string name) => new()
    {
        Name = name,
        Fpga = new FpgaSpec { Kind = FpgaSpec.Types.Kind.Model },
        Host1 = new HostSpec { Program = new ProgramHost { MemoryBytes = 8192 } },
        Host2 = new HostSpec { Program = new ProgramHost { MemoryBytes = 8192 } },
        Devices = { new DeviceSpec { Net = new NetDevice() }, new DeviceSpec { Net = new NetDevice() } },
    };

    private string Leave(string name, string owner)
    {
        string folder = Directory.CreateDirectory(Path.Combine(Folders.Run, name)).FullName;
        File.WriteAllText(Path.Combine(folder, "owner"), owner);
        return folder;
    }

    private Task<BridgeServer> StartAsync() => BridgeServer.StartAsync(new BridgeServerOptions
    {
        Address = ServiceAddress.Parse($"unix:{_folder.FullName}/s.sock"),
        Factory = new ScheduledBridgeFactory(Folders, _log.Add),
        Ledger = Ledger,
    });
}
