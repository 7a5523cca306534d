// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;

namespace Cosim.Waveforms;

/// <summary>Golden waveforms for tests of any project and any design, in any test framework.</summary>
/// <remarks>
/// The golden file stands beside the test's source and is called after its file and method, as Verify has it:
/// <c>CounterTests.Counts.verified.txt</c>. How it is accepted is said at <see cref="GoldenFile"/>.
/// <code>
/// [Test]
/// public void Counts()
/// {
///     Simulate("counter_tb", "counter.vcd");
///     GoldenWave.Verify("counter.vcd", new SignalQuery { Top = "counter_tb.dut", Clock = "clk", Reset = "rst" });
/// }
/// </code>
/// </remarks>
public static class GoldenWave
{
    /// <summary>Holds a simulator's file against the golden waveform of the calling test.</summary>
    /// <param name="waveFile">Path of the file: .vcd, .vcd.gz, .fst or .ghw.</param>
    /// <param name="query">What of it counts.</param>
    /// <param name="variant">Told apart by this, several calls in one test have golden files of their own.</param>
    /// <param name="sourceFile">Source file of the test; the compiler fills it in.</param>
    /// <param name="test">Name of the test's method; the compiler fills it in.</param>
    /// <exception cref="GoldenMismatchException">They differ, or nothing is kept yet.</exception>
    /// <exception cref="WaveformException">The file cannot be read, or has not what counts.</exception>
    public static void Verify(string waveFile, SignalQuery query, string? variant = null, [CallerFilePath] string sourceFile = "", [CallerMemberName] string test = "")
        => Verify(output => WaveImport.Write(waveFile, query, output), variant, sourceFile, test);

    /// <summary>The same for signals and streams that are listed one by one.</summary>
    /// <inheritdoc cref="Verify(string, SignalQuery, string?, string, string)"/>
    /// <param name="selection">What of it counts.</param>
#pragma warning disable CS1573 // The other parameters are those of the overload above.
    public static void Verify(string waveFile, WaveSelection selection, string? variant = null, [CallerFilePath] string sourceFile = "", [CallerMemberName] string test = "")
#pragma warning restore CS1573
        => Verify(output => WaveImport.Write(waveFile, selection, output), variant, sourceFile, test);

    private static void Verify(Action<TextWriter> write, string? variant, string sourceFile, string test)
    {
        using StringWriter output = new();
        write(output);
        string folder = Path.GetDirectoryName(sourceFile)!;
        if (!Directory.Exists(folder))
        {
            throw new DirectoryNotFoundException($"{folder}, where the source of the test stood when it was compiled, is not there; golden files stand beside it.");
        }

        string name = $"{Path.GetFileNameWithoutExtension(sourceFile)}.{test}{(variant is null ? "" : "." + variant)}";
        new GoldenFile(folder, name).Check(output.ToString());
    }
}
