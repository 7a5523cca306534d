// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using NUnit.Framework;

namespace Cosim.Guests.Tests;

/// <summary>sim-scripts/setup, where there is no network to be had: its mirror is a port on which nobody listens.</summary>
public sealed class SetUpScriptTests
{
    private const string NoMirror = "http://127.0.0.1:9/debian";

    private string _clone = "";
    private string _programs = "";

    [SetUp]
    public void MakeEmptyClone()
    {
        _clone = Directory.CreateTempSubdirectory("clone").FullName;
        _programs = Directory.CreateDirectory(Path.Combine(_clone, "programs")).FullName;
        Directory.CreateDirectory(Path.Combine(_clone, "sim-scripts"));
        foreach (string script in new[] { "setup", "common.sh" })
        {
            File.Copy(Path.Combine(Repository(), "sim-scripts", script), Path.Combine(_clone, "sim-scripts", script));
        }
    }

    [TearDown]
    public void RemoveClone() => Directory.Delete(_clone, recursive: true);

    [Test]
    public void Setup_EverythingInPlace_NeedsNoNetwork()
    {
        (int status, string output) = Run(Repository());
        Assert.That(status, Is.Zero, output);
        Assert.That(output.Trim().Split('\n'), Has.Length.EqualTo(1), output);
    }

    [Test]
    public void Setup_MirrorDoesNotAnswer_NamesItAndThePackagesThatAreMissing()
    {
        RequireApt();
        (int status, string output) = Run(_clone);
        Assert.That(status, Is.EqualTo(1), output);
        Assert.That(output, Does.Contain(NoMirror).And.Contain("linux-image-cloud-amd64 >= 6.12").And.Contain("COSIM_DEBIAN_MIRROR"));
        Assert.That(File.Exists(Path.Combine(_clone, ".cosim", "tools.json")), Is.False);
    }

    [Test]
    public void Setup_QemuOfTheMachineTooOld_SaysSoAndWantsAnother()
    {
        RequireApt();
        Program("qemu-system-x86_64", "echo 'QEMU emulator version 9.2.4 (Debian)'");
        (int status, string output) = Run(_clone);
        Assert.That(status, Is.EqualTo(1), output);
        Assert.That(output, Does.Contain("too old: qemu-system-x86_64 9.2.4").And.Contain("needs 10.1 with vfio-user-pci"));
    }

    [Test]
    public void Setup_OnlyAnOlderSdk_SaysWhatToType()
    {
        Program("dotnet", "echo '9.0.100 [/somewhere]'");
        (int status, string output) = Run(_clone);
        Assert.That(status, Is.EqualTo(1), output);
        Assert.That(output, Does.Contain(".NET SDK 10 is missing. Type: "));
    }

    [Test]
    public void Check_EmptyClone_ListsWhatIsMissingAndFetchesNothing()
    {
        (int status, string output) = Run(_clone, "--check");
        Assert.That(status, Is.EqualTo(1), output);
        Assert.That(output, Does.Match("(?m)^missing +kernel .*linux-image-cloud-amd64"));
        Assert.That(Directory.Exists(Path.Combine(_clone, ".cosim")), Is.False);
    }

    [Test]
    public void Check_EverythingInPlace_SaysSo()
    {
        (int status, string output) = Run(Repository(), "--check");
        Assert.That(status, Is.Zero, output);
        Assert.That(output, Does.Match("(?m)^ok +qemu +[0-9.]+ "));
    }

    private static string Repository()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "Cosim.sln")))
            {
                return folder;
            }
        }

        throw new InvalidOperationException($"No folder above {AppContext.BaseDirectory} holds Cosim.sln.");
    }

    private static void RequireApt()
    {
        if (!File.Exists("/usr/bin/apt-get"))
        {
            Assert.Ignore("This machine has no apt, from which set-up fetches.");
        }
    }

    private void Program(string name, string script)
    {
        string path = Path.Combine(_programs, name);
        File.WriteAllText(path, $"#!/bin/sh\n{script}\n");
        File.SetUnixFileMode(path, (UnixFileMode)0x1ED); // 0755
    }

    private (int Status, string Output) Run(string clone, params string[] arguments)
    {
        var start = new ProcessStartInfo("bash", [Path.Combine(clone, "sim-scripts", "setup"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["COSIM_DEBIAN_MIRROR"] = NoMirror;
        start.Environment["PATH"] = $"{_programs}:{start.Environment["PATH"]}";
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.Result);
    }
}
