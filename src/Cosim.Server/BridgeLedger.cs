// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;
using Cosim.V1;
using Google.Protobuf;

namespace Cosim.Server;

/// <summary>
/// The scenarios of a service's bridges, each in a file of its own, so that they outlive the service however it ends. A bridge that is deleted is
/// forgotten; one that ends with its service is not.
/// </summary>
/// <param name="folder">Where the files are; made when needed.</param>
public sealed class BridgeLedger(string folder)
{
    private const string Extension = ".json";

    /// <summary>The ledger of the service on an address, below a folder that several services may share.</summary>
    public static BridgeLedger For(ServiceAddress address, string folder) =>
        new(Path.Combine(folder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(address.ToString())).AsSpan(0, 8))));

    /// <summary>The scenarios that are kept, by name. A file that is no scenario, such as one that was being written, is left out.</summary>
    public IReadOnlyList<Scenario> Read()
    {
        List<Scenario> scenarios = [];
        if (Directory.Exists(folder))
        {
            foreach (string file in Directory.GetFiles(folder, "*" + Extension).Order(StringComparer.Ordinal))
            {
                try
                {
                    scenarios.Add(JsonParser.Default.Parse<Scenario>(File.ReadAllText(file)));
                }
                catch (Exception e) when (e is InvalidProtocolBufferException or InvalidJsonException)
                {
                    File.Delete(file);
                }
            }
        }

        return scenarios;
    }

    internal void Add(Scenario scenario)
    {
        Directory.CreateDirectory(folder);
        string file = PathOf(scenario.Name);
        File.WriteAllText(file + ".partial", JsonFormatter.Default.Format(scenario));
        File.Move(file + ".partial", file, overwrite: true);
    }

    internal void Remove(string name)
    {
        if (Directory.Exists(folder))
        {
            File.Delete(PathOf(name));
        }
    }

    private string PathOf(string name) => Path.Combine(folder, name + Extension);
}
