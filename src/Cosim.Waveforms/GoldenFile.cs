// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Cosim.Waveforms;

/// <summary>What a test got is not what is kept.</summary>
public sealed class GoldenMismatchException : Exception
{
    /// <summary>Makes the exception.</summary>
    public GoldenMismatchException(string message)
        : base(message)
    {
    }
}

/// <summary>A text that is kept under version control and that a test's result is held against.</summary>
/// <remarks>
/// Files and their names are Verify's, so that it can take this class's place: <c>Class.Method.verified.txt</c> is what is
/// kept, <c>Class.Method.received.txt</c> is written beside it when a test gets something else and is not under version
/// control; where both are canonical waveforms <c>Class.Method.received.svg</c> shows the first differences. What was received becomes
/// what is kept by renaming it, which is what <c>cosim wave accept</c> does, or by running the test with COSIM_ACCEPT=1; in CI (the
/// variable CI is set) never.
/// </remarks>
/// <param name="folder">Folder of the files.</param>
/// <param name="name">Their name: <c>Class.Method</c>.</param>
/// <param name="environment">Reads an environment variable; null: the process's own.</param>
public sealed class GoldenFile(string folder, string name, Func<string, string?>? environment = null)
{
    /// <summary>The variable that makes a difference accepted.</summary>
    public const string AcceptVariable = "COSIM_ACCEPT";

    internal const string VerifiedEnding = ".verified.txt";
    internal const string ReceivedEnding = ".received.txt";
    internal const string PictureEnding = ".received.svg";

    private readonly Func<string, string?> environment = environment ?? Environment.GetEnvironmentVariable;

    /// <summary>Path of what is kept.</summary>
    public string VerifiedPath { get; } = Path.Combine(folder, name + VerifiedEnding);

    /// <summary>Path of what a test got instead.</summary>
    public string ReceivedPath { get; } = Path.Combine(folder, name + ReceivedEnding);

    /// <summary>Path of the picture of the first differences.</summary>
    public string PicturePath { get; } = Path.Combine(folder, name + PictureEnding);

    /// <summary>Whether this is CI, where nothing is ever accepted.</summary>
    /// <param name="environment">Reads an environment variable; null: the process's own.</param>
    public static bool InCi(Func<string, string?>? environment = null)
        => (environment ?? Environment.GetEnvironmentVariable)("CI") is not (null or "" or "false");

    /// <summary>How two texts differ: two canonical waveforms as <see cref="WaveComparison"/> compares them, others by every character.</summary>
    /// <returns>The first difference, or null where there is none.</returns>
    /// <exception cref="WaveformException">Both begin as canonical waveforms, but are none.</exception>
    public static string? Difference(string verified, string received)
        => AreWaves(verified, received) ? WaveComparison.Describe(verified, received) : FirstLine(verified, received);

    /// <summary>Holds a text against what is kept.</summary>
    /// <param name="received">The text; its lines end with a line feed.</param>
    /// <param name="difference">Says how two texts, expected and received, differ, or null if they do not; null: <see cref="Difference"/> does.</param>
    /// <exception cref="GoldenMismatchException">They differ, or nothing is kept yet.</exception>
    public void Check(string received, Func<string, string, string?>? difference = null)
    {
        string? verified = File.Exists(VerifiedPath) ? File.ReadAllText(VerifiedPath).ReplaceLineEndings("\n") : null;
        string? found = verified is null ? "nothing is kept yet" : (difference ?? Difference)(verified, received);
        if (found is null)
        {
            File.Delete(ReceivedPath);
            File.Delete(PicturePath);
            return;
        }

        Directory.CreateDirectory(folder);
        File.WriteAllText(ReceivedPath, received, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
        File.Delete(PicturePath);
        bool ci = InCi(environment);
        if (!ci && environment(AcceptVariable) == "1")
        {
            File.Move(ReceivedPath, VerifiedPath, overwrite: true);
            return;
        }

        string picture = verified is not null && Draw(verified, received) ? $"; picture: {PicturePath}" : "";
        string accept = ci ? "" : $" If this is as it should be, run again with {AcceptVariable}=1.";
        throw new GoldenMismatchException($"{name}: {found}. Expected: {VerifiedPath}; received: {ReceivedPath}{picture}.{accept}");
    }

    private static bool AreWaves(string verified, string received)
        => verified.StartsWith(CanonicalWave.Title + "\n", StringComparison.Ordinal) && received.StartsWith(CanonicalWave.Title + "\n", StringComparison.Ordinal);

    private bool Draw(string verified, string received)
    {
        if (!AreWaves(verified, received))
        {
            return false;
        }

        WaveDiff diff = WaveDiff.Of(() => new StringReader(verified), () => new StringReader(received));
        if (diff.HasPicture)
        {
            using StreamWriter picture = new(PicturePath);
            diff.WriteSvg(name, picture);
        }

        return diff.HasPicture;
    }

    private static string? FirstLine(string expected, string received)
    {
        if (expected == received)
        {
            return null;
        }

        string[] wanted = expected.Split('\n');
        string[] given = received.Split('\n');
        int line = 0;
        while (line < wanted.Length && line < given.Length && wanted[line] == given[line])
        {
            line++;
        }

        return $"line {line + 1}: expected '{wanted.ElementAtOrDefault(line)}', received '{given.ElementAtOrDefault(line)}'";
    }
}
