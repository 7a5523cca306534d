// SPDX-License-Identifier: Apache-2.0
using Cosim.Scheduling;
using Cosim.V1;

namespace Cosim.Server.Scheduled;

/// <summary>Makes bridges on the transaction scheduler, with their simulators and hosts.</summary>
/// <param name="folders">Where things are.</param>
/// <param name="log">Takes one line a time about what a bridge dropped, refused or lost.</param>
public sealed class ScheduledBridgeFactory(BridgeFolders folders, Action<string> log) : IBridgeFactory
{
    /// <inheritdoc/>
    public async Task<IBridge> CreateAsync(Scenario scenario, CancellationToken cancellation)
    {
        string runFolder = Path.Combine(folders.Run, scenario.Name);
        HostStarter starter = new(scenario, folders, runFolder);
        Bridge? bridge = null;
        ScheduledBridge? made = null;
        try
        {
            // What is there was left by a service that was killed.
            starter.Dispose();
            Directory.CreateDirectory(runFolder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            foreach (string folder in new[] { scenario.Host1, scenario.Host2 }.Select(h => h?.Socket?.Directory).OfType<string>().Where(d => d.Length > 0))
            {
                Directory.CreateDirectory(folder);
            }

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
                starter.Dispose();
            }

            if (e is OperationCanceledException or BridgeException)
            {
                throw;
            }

            throw new BridgeException($"The bridge {scenario.Name} cannot be started: {e.Message}", e);
        }
    }
}
