// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;

namespace Cosim.Fpga.Tests;

/// <summary>Holds registers.md, the VHDL package and the C# class against each other.</summary>
[TestFixture]
public partial class RegisterMapTests
{
    private static readonly Dictionary<string, Type> Blocks = new()
    {
        ["OP"] = typeof(RegisterMap.Opcode),
        ["MG"] = typeof(RegisterMap.Management),
        ["FN"] = typeof(RegisterMap.Function),
        ["QU"] = typeof(RegisterMap.Queue),
        ["BE"] = typeof(RegisterMap.BackEnd),
        ["BAR"] = typeof(RegisterMap.Bar),
    };

    [Test]
    public void RegisterMap_AgainstTable_HasTheSameNamesAndValues()
    {
        SortedDictionary<string, uint> constants = new(StringComparer.Ordinal);
        foreach ((string block, Type type) in Blocks)
        {
            foreach (FieldInfo field in type.GetFields(BindingFlags.Public | BindingFlags.Static))
            {
                constants.Add($"{block}_{field.Name.ToUpperInvariant()}", (uint)field.GetRawConstantValue()!);
            }
        }

        // C# names carry no underscores: F2H_CONTROL is F2hControl.
        var table = Table().Select(entry => KeyValuePair.Create(entry.Key[..(entry.Key.IndexOf('_') + 1)] + entry.Key[entry.Key.IndexOf('_')..].Replace("_", "", StringComparison.Ordinal), entry.Value));
        Assert.That(constants, Is.EquivalentTo(table));
    }

    [Test]
    public void VhdlPackage_AgainstTable_HasTheSameNamesAndValues()
    {
        var constants = VhdlConstant().Matches(Repository.Text("hdl/cosim_regs_pkg.vhd"))
            .ToDictionary(match => match.Groups[1].Value, match => Convert.ToUInt32(match.Groups[2].Value, 16));
        Assert.That(constants, Is.EquivalentTo(Table()));
    }

    [Test]
    public void Table_RegistersOfABlock_DoNotOverlap()
    {
        string[] registers = [.. Table().Keys.Where(name => !name.StartsWith("BAR_", StringComparison.Ordinal))];
        Assert.That(registers, Has.Length.GreaterThan(60));
        Assert.That(Table().Where(entry => registers.Contains(entry.Key)).Select(entry => (entry.Key[..2], entry.Value)), Is.Unique);
    }

    private static Dictionary<string, uint> Table() =>
        TableRow().Matches(Repository.Text("hdl/registers.md")).ToDictionary(
            match => $"{match.Groups[1].Value}_{match.Groups[2].Value}",
            match => uint.Parse(match.Groups[3].Value, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));

    [GeneratedRegex(@"^\| ([A-Z]+) \| ([A-Z0-9_]+) \| 0x([0-9A-Fa-f]+) \|", RegexOptions.Multiline)]
    private static partial Regex TableRow();

    [GeneratedRegex(@"constant ([A-Z0-9_]+)_C\s*:\s*natural\s*:=\s*16#([0-9A-Fa-f]+)#;")]
    private static partial Regex VhdlConstant();
}
