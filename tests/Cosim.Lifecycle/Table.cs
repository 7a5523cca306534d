// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Lifecycle;

/// <summary>Prints rows in columns.</summary>
internal static class Table
{
    internal static async Task PrintAsync(TextWriter output, IReadOnlyList<string[]> rows)
    {
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length))];
        foreach (string[] row in rows)
        {
            await output.WriteLineAsync(string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
        }
    }

    internal static string Bytes(long bytes) => bytes == 0 ? "-" : $"{bytes / 1048576.0:0.0} MiB";
}
