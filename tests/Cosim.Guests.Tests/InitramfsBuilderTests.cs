// SPDX-License-Identifier: Apache-2.0
using System.Text;
using NUnit.Framework;

namespace Cosim.Guests.Tests;

public sealed class InitramfsBuilderTests
{
    [Test]
    public void WriteTo_SmallTree_GivesNewcEntriesParentsFirst()
    {
        var builder = new InitramfsBuilder();
        builder.AddSymlink("bin/sh", "busybox");
        builder.AddText("etc/x", "hello", (UnixFileMode)0x1A4);
        builder.AddCharacterDevice("dev/console", 5, 1, (UnixFileMode)0x180);

        // Header fields: magic, inode, mode, uid, gid, links, mtime, size, device (2), node (2), name length, checksum.
        string expected =
            Entry("00000001", "000041ed", "00000002", "00000000", "00000000", "00000000", "00000004", "bin\0\0\0") +
            Entry("00000002", "0000a1ff", "00000001", "00000007", "00000000", "00000000", "00000007", "bin/sh\0\0\0\0", "busybox\0") +
            Entry("00000003", "000041ed", "00000002", "00000000", "00000000", "00000000", "00000004", "dev\0\0\0") +
            Entry("00000004", "00002180", "00000001", "00000000", "00000005", "00000001", "0000000c", "dev/console\0\0\0") +
            Entry("00000005", "000041ed", "00000002", "00000000", "00000000", "00000000", "00000004", "etc\0\0\0") +
            Entry("00000006", "000081a4", "00000001", "00000005", "00000000", "00000000", "00000006", "etc/x\0", "hello\0\0\0") +
            Entry("00000000", "00000000", "00000001", "00000000", "00000000", "00000000", "0000000b", "TRAILER!!!\0\0\0\0");
        Assert.That(Encoding.ASCII.GetString(Write(builder)), Is.EqualTo(expected));
    }

    [Test]
    public void WriteTo_SameContentAddedInAnotherOrder_GivesTheSameBytes()
    {
        byte[] one = Write(new InitramfsBuilder().AddText("a/b", "1", 0).AddText("c", "2", 0));
        byte[] other = Write(new InitramfsBuilder().AddText("c", "2", 0).AddText("a/b", "1", 0));
        Assert.That(other, Is.EqualTo(one));
    }

    [Test]
    public void AddTree_FolderWithLinkAndProgram_KeepsLinksAndModes()
    {
        string source = Directory.CreateTempSubdirectory("initramfs").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(source, "bin"));
            string program = Path.Combine(source, "bin", "p");
            File.WriteAllText(program, "#!");
            File.SetUnixFileMode(program, (UnixFileMode)0x1C0); // 0700
            File.CreateSymbolicLink(Path.Combine(source, "l"), "bin/p");
            string archive = Encoding.ASCII.GetString(Write(new InitramfsBuilder().AddTree(source)));
            Assert.That(archive, Does.Contain("000081c0"), "a file of mode 0700");
            Assert.That(archive, Does.Contain("l\0bin/p"), "a link with its target");
        }
        finally
        {
            Directory.Delete(source, recursive: true);
        }
    }

    [TestCase("../etc/passwd")]
    [TestCase("a//b")]
    [TestCase("/")]
    public void AddText_PathOutsideTheRoot_IsRefused(string path) =>
        Assert.That(() => new InitramfsBuilder().AddText(path, "", 0), Throws.ArgumentException);

    [Test]
    public void AddCopy_MissingFile_NamesFileAndPurpose() =>
        Assert.That(
            () => new InitramfsBuilder().AddCopy("bin/x", "/nowhere/x"),
            Throws.TypeOf<GuestException>().With.Message.Contains("/nowhere/x").And.Message.Contains("bin/x"));

    private static string Entry(string inode, string mode, string links, string size, string major, string minor, string nameLength, params string[] rest) =>
        "070701" + inode + mode + "0000000000000000" + links + "00000000" + size + "0000000000000000" + major + minor + nameLength + "00000000" + string.Concat(rest);

    private static byte[] Write(InitramfsBuilder builder)
    {
        using var output = new MemoryStream();
        builder.WriteTo(output);
        return output.ToArray();
    }
}
