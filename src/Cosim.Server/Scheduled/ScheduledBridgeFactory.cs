// SPDX-License-Identifier: Apache-2.0
using Cosim.Scheduling;
using Cosim.V1;

namespace Cosim.Server.Scheduled;

/// <summary>Makes bridges on the transaction scheduler, with their simulators and hosts.</summary>
/// <param name="folders">Where things are.</param>
/// <param name="log">Takes one line a time about what a bridge dropped, refused or lost.</param>
public sealed class ScheduledBridgeFactory(BridgeFolders folders, Action<string> log) : IBridgeFactory
{
    /// <summary>Clears away what services that were killed have left: run-time folders, sockets, and processes that outlived them.</summary>
    public void ClearLeftovers() => RunFolder.ClearLeftovers(folders, log);

    /// <inheritdoc/>
    public async Task<IBridge> CreateAsync(Scenario scenario, CancellationToken cancellation)
    {
        string runFolder = Path.Combine(folders.Run, scenario.Name);
        HostStarter? starter = null;
        Bridge? bridge = null;
        ScheduledBridge? made = null;
        try
        {
            starter = new HostStarter(scenario, folders, runFolder, line => log($"{scenario.Name}: {line}"));
            starter.MakeSocketFolders();

            BridgeOptions options = ScenarioOptions.ToBridgeOptions(scenario, folders, runFolder, line => log($"{scenario.Name}: {line}"));

            // A simulator that is not built yet takes its time.
            bridge = await Task.Run(() => new Bridge(options), cancellation);
            await bridge.Started.WaitAsync(cancellation);
            made = new ScheduledBridge(scenario, bridge, starter, folders.Recordings);
            await made.StartHostsAsync(cancellation);
            return made;
        }
        catch (Exception e)
        {
            if (made is not null)
            {
                await made.DisposeAsync();
            }
            else
            {
                bridge?.Dispose();
                starter?.Dispose();
            }

            if (e is OperationCanceledException or BridgeException)
            {
                throw;
            }

            throw new BridgeException($"The bridge {scenario.Name} cannot be started: {e.Message}", e);
        }
    }
}
