// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using NUnit.Framework;

namespace Cosim.Backend.Tests;

/// <summary>The constants against the register map that people read.</summary>
public sealed class RegisterTests
{
    private static readonly Dictionary<string, uint> _constants = new()
    {
        ["ID"] = BackendRegisters.Id,
        ["VERSION"] = BackendRegisters.Version,
        ["GEOMETRY"] = BackendRegisters.Geometry,
        ["VECTORS"] = BackendRegisters.Vectors,
        ["CONTROL"] = BackendRegisters.Control,
        ["STATUS"] = BackendRegisters.Status,
        ["F2H_STATUS"] = BackendRegisters.F2hStatus,
        ["F2H_ACK"] = BackendRegisters.F2hAck,
        ["H2F_STATUS"] = BackendRegisters.H2fStatus,
        ["H2F_POST"] = BackendRegisters.H2fPost,
        ["F2H_DATA"] = BackendRegisters.F2hData,
        ["H2F_DATA"] = BackendRegisters.H2fData,
        ["DOORBELL"] = BackendRegisters.Doorbell,
    };

    [Test]
    public void Constants_AgainstTheRegisterMap_AreTheSame()
    {
        Dictionary<string, string[]> map = File.ReadLines(FindMap())
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
            .Where(columns => columns.Length > 5 && columns[1] == "BE")
            .ToDictionary(columns => columns[2]);

        foreach ((string name, uint value) in _constants)
        {
            Assert.That(map, Contains.Key(name));
            Assert.That(value, Is.EqualTo(Hex(map[name][3])), name);
        }

        Assert.That(Hex(map["ID"][5]), Is.EqualTo(BackendRegisters.IdValue));
        Assert.That(Hex(map["VERSION"][5]), Is.EqualTo(BackendRegisters.VersionValue));
    }

    private static uint Hex(string text) => uint.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private static string FindMap()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string map = Path.Combine(folder.FullName, "hdl", "registers.md");
            if (File.Exists(map))
            {
                return map;
            }
        }

        throw new FileNotFoundException("No folder above the tests holds hdl/registers.md.");
    }
}
