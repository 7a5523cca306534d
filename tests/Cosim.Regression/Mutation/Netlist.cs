// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace Cosim.Regression.Mutation;

/// <summary>What GHDL makes of the design in synthesis, without what is only naming: two designs with the same are one.</summary>
internal static partial class Netlist
{
    /// <summary>A digest of a netlist in Verilog.</summary>
    public static string Digest(string verilog)
    {
        Dictionary<string, string> names = [];
        string text = Comment().Replace(verilog, "");
        text = Temporary().Replace(text, m =>
        {
            if (!names.TryGetValue(m.Value, out string? name))
            {
                names[m.Value] = name = $"n{names.Count}";
            }

            return name;
        });
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
    }

    // Places in the source.
    [GeneratedRegex(@"/\*.*?\*/|//[^\n]*", RegexOptions.Singleline)]
    private static partial Regex Comment();

    // Temporaries are numbered over the whole design.
    [GeneratedRegex(@"\bn[0-9]+(_[a-z0-9]+)?\b")]
    private static partial Regex Temporary();
}
