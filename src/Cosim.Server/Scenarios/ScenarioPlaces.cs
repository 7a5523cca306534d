// SPDX-License-Identifier: Apache-2.0
using Cosim.V1;

namespace Cosim.Server.Scenarios;

/// <summary>
/// Where the files of a scenario may lie when its caller is not known to be the service's owner: below the work folder, links followed. Such a
/// caller names no programs and no arguments of QEMU either, which could open any file.
/// </summary>
public static class ScenarioPlaces
{
    private const int MostLinks = 40;

    /// <summary>All violations of a scenario that meets <see cref="ScenarioRules"/>.</summary>
    /// <param name="scenario">The scenario.</param>
    /// <param name="workFolder">The work folder; null: no file may be named.</param>
    public static IReadOnlyList<ScenarioViolation> Check(Scenario scenario, string? workFolder)
    {
        List<ScenarioViolation> found = [];
        string? root = workFolder is null ? null : Resolve(workFolder);
        File("fpga.waves.file", scenario.Fpga?.Waves?.File);
        File("record.file", scenario.Record?.File);
        Files("fpga.design.files", scenario.Fpga?.Design?.Files ?? []);
        for (int i = 0; i < scenario.Devices.Count; i++)
        {
            File($"devices[{i}].block.image", scenario.Devices[i].Block?.Image);
            if (scenario.Host2?.KindCase == HostSpec.KindOneofCase.Process)
            {
                // Elsewhere the paths are the guest's own.
                Files($"devices[{i}].console.ports", [.. (scenario.Devices[i].Console?.Ports ?? []).Select(port => ScenarioRules.EndOf(port).Path)]);
            }
        }

        foreach ((string path, HostSpec? host) in new[] { ("host1", scenario.Host1), ("host2", scenario.Host2) })
        {
            File($"{path}.socket.directory", host?.Socket?.Directory);
            File($"{path}.qemu.kernel", host?.Qemu?.Kernel);
            File($"{path}.qemu.initrd", host?.Qemu?.Initrd);
            File($"{path}.qemu.console", host?.Qemu?.Console);
            Files($"{path}.qemu.files", host?.Qemu?.Files ?? []);
            Nothing($"{path}.qemu.arguments", host?.Qemu?.Arguments.Count);
            Nothing($"{path}.process.command", host?.Process?.Command.Count);
        }

        return found;

        void Files(string field, IReadOnlyList<string> paths)
        {
            for (int i = 0; i < paths.Count; i++)
            {
                File($"{field}[{i}]", paths[i]);
            }
        }

        void File(string field, string? path)
        {
            if (!string.IsNullOrEmpty(path) && !IsBelow(path, root))
            {
                found.Add(new ScenarioViolation(field, $"is {path}; expected a file below {workFolder ?? "no folder"}: callers over IP name no others unless the service runs with --trust-callers"));
            }
        }

        void Nothing(string field, int? count)
        {
            if (count > 0)
            {
                found.Add(new ScenarioViolation(field, "is given; callers over IP name no programs unless the service runs with --trust-callers"));
            }
        }
    }

    private static bool IsBelow(string path, string? root) =>
        root is not null && Resolve(path) is { } real && real.StartsWith(root + "/", StringComparison.Ordinal);

    /// <summary>An absolute path without links and dots, as the kernel would find it; null where its links do not end. What is not there is taken as it is named.</summary>
    private static string? Resolve(string path)
    {
        Stack<string> left = new(path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse());
        List<string> real = [];
        int links = 0;
        while (left.TryPop(out string? part))
        {
            if (part is "." or "..")
            {
                if (part == ".." && real.Count > 0)
                {
                    real.RemoveAt(real.Count - 1);
                }

                continue;
            }

            real.Add(part);
            if (new FileInfo("/" + string.Join('/', real)).LinkTarget is not { } target)
            {
                continue;
            }

            if (++links > MostLinks)
            {
                return null;
            }

            real.RemoveAt(real.Count - 1);
            if (target.StartsWith('/'))
            {
                real.Clear();
            }

            foreach (string component in target.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
            {
                left.Push(component);
            }
        }

        return "/" + string.Join('/', real);
    }
}
