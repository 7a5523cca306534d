// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms.Tests;

/// <summary>Finds files of the clone.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Cosim.sln")))
            {
                return at.FullName;
            }
        }

        throw new InvalidOperationException($"No Cosim.sln above {AppContext.BaseDirectory}.");
    }
}
