// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Cosim.Fuzzing.Tests;

/// <summary>The fuzzer itself: it finds what is wrong, makes it small, and says what it has not seen.</summary>
public sealed class FuzzerTests
{
    [Test]
    public void Run_TargetThatFails_GivesTheSmallestInput()
    {
        using PickyTarget target = new();
        Fuzzer fuzzer = new(target, 1, []);
        Finding? finding = fuzzer.Run(100_000);
        Assert.That(finding, Is.Not.Null);
        Assert.That(finding!.What, Is.EqualTo("two letters in order"));
        Assert.That(finding.Input, Is.EqualTo("ab"u8.ToArray()));
    }

    [Test]
    public void Try_TooMuchMemory_IsAFinding()
    {
        using PickyTarget target = new();
        Fuzzer fuzzer = new(target, 1, []);
        Assert.That(fuzzer.Try("x"u8), Is.Null);
        Assert.That(fuzzer.Try("m"u8), Does.Contain("bytes were allocated"));
    }

    [Test]
    public void Program_CorporaOnly_ReachesNearlyAllBranchesAndExplainsTheRest()
    {
        // What the parsers' branches are is known in a copy of the program only; it runs in a process of its own.
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "Cosim.Fuzzing.dll"), "--corpora-only", "--seed", "1"]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, () => output + error.Result);
        Assert.That(output, Does.Contain("fuzz ok: "));
    }

    private sealed class PickyTarget : FuzzTarget
    {
        public override string Name => "picky";

        public override string What => "letters";

        public override IReadOnlyList<string> Classes => [];

        public override long MostAllocated(int length) => 1024;

        public override void Generate(FuzzInput input, FuzzRandom random)
        {
            for (int i = 0; i < 8; i++)
            {
                _ = input.Number((ulong)random.Between('a', 'h'), 1);
            }
        }

        public override void Mark(FuzzInput input)
        {
        }

        public override void Execute(ReadOnlySpan<byte> input)
        {
            Require(input.IndexOf("ab"u8) < 0, "two letters in order");
            GC.KeepAlive(input.Contains((byte)'m') ? new byte[100_000] : null);
        }
    }
}
