// SPDX-License-Identifier: Apache-2.0
using System.ComponentModel;
using System.Diagnostics;
using System.IO.Compression;

namespace Cosim.Waveforms;

/// <summary>A waveform file of a simulator, read as VCD while its converter, if it needs one, still writes.</summary>
/// <remarks>
/// <c>.vcd</c> is read as it is, <c>.gz</c> is unpacked, <c>.fst</c> goes through fst2vcd of GTKWave and <c>.ghw</c> through ghwdump of
/// GHDL, which are found in PATH. Memory does not grow with the file.
/// </remarks>
public sealed class WaveFile : IDisposable
{
    private const int ErrorCharacters = 2000;

    private readonly string path;
    private readonly Process? converter;
    private readonly Task<string>? errors;

    private WaveFile(string path, Stream vcd, Process? converter, Task<string>? errors)
    {
        this.path = path;
        this.converter = converter;
        this.errors = errors;
        Vcd = vcd;
    }

    /// <summary>The file as VCD.</summary>
    public Stream Vcd { get; }

    /// <summary>Opens a file by the ending of its name.</summary>
    /// <exception cref="WaveformException">Its converter is not there, or the ending is none of those known.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static WaveFile Open(string path)
    {
        FileStream file = new(path, new FileStreamOptions { BufferSize = 0, Options = FileOptions.SequentialScan });
        if (path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase))
        {
            return new WaveFile(path, new GZipStream(file, CompressionMode.Decompress), null, null);
        }

        string ending = Path.GetExtension(path).ToLowerInvariant();
        if (ending == ".vcd")
        {
            return new WaveFile(path, file, null, null);
        }

        file.Dispose();
        return ending switch
        {
            ".fst" => Convert(path, "gtkwave", stream => stream, "fst2vcd", Path.GetFullPath(path)),
            ".ghw" => Convert(path, "ghdl-tools or ghdl", stream => new GhwDump(stream), "ghwdump", "-H", "-s", Path.GetFullPath(path)),
            _ => throw new WaveformException(0, $"{path}: expected a file that ends with .vcd, .vcd.gz, .fst or .ghw."),
        };
    }

    /// <summary>Waits for the converter, if there is one, and gives its own words where it has failed; null: it has not.</summary>
    /// <remarks>What was not read is of no interest: a window may end before the file does.</remarks>
    public WaveformException? End()
    {
        if (converter is null)
        {
            return null;
        }

        Vcd.Dispose();
        converter.WaitForExit();
        string text = errors!.Result.Trim();
        return converter.ExitCode != 0 && text.Length > 0
            ? new WaveformException(0, $"{path}: {converter.StartInfo.FileName} ended with status {converter.ExitCode}: {text}") : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Vcd.Dispose();
        if (converter is { HasExited: false })
        {
            converter.Kill();
        }

        converter?.Dispose();
    }

    private static WaveFile Convert(string path, string package, Func<Stream, Stream> vcd, string program, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            Process process = Process.Start(start)!;
            return new WaveFile(path, vcd(process.StandardOutput.BaseStream), process, ErrorsOf(process.StandardError));
        }
        catch (Win32Exception)
        {
            throw new WaveformException(0, $"{path}: {program} is not in PATH; it comes with the package {package}.");
        }
    }

    private static async Task<string> ErrorsOf(StreamReader reader)
    {
        char[] text = new char[ErrorCharacters];
        int length = await reader.ReadBlockAsync(text);
        char[] rest = new char[ErrorCharacters];
        while (await reader.ReadBlockAsync(rest) > 0)
        {
        }

        return new string(text, 0, length);
    }
}
