// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Makes canonical waveforms of simulators' files.</summary>
public static class WaveImport
{
    /// <summary>Reads a file as a stream and writes its canonical form.</summary>
    /// <param name="path">Path of the file; see <see cref="WaveFile"/>.</param>
    /// <param name="query">What of it is wanted.</param>
    /// <param name="output">Where the canonical form goes; lines end with a line feed.</param>
    /// <returns>What was chosen.</returns>
    /// <exception cref="WaveformException">The file is malformed, or has not what is wanted, or its converter is missing or failed.</exception>
    public static SignalChoice Write(string path, SignalQuery query, TextWriter output)
        => Read(path, reader =>
        {
            SignalChoice choice = query.Resolve(reader);
            new WaveSampler(reader, choice.Selection, output).Run();
            return choice;
        });

    /// <summary>The same for signals that are listed one by one.</summary>
    public static void Write(string path, WaveSelection selection, TextWriter output)
        => Read(path, reader =>
        {
            new WaveSampler(reader, selection, output).Run();
            return selection;
        });

    private static T Read<T>(string path, Func<VcdReader, T> read)
    {
        using WaveFile file = WaveFile.Open(path);
        try
        {
            T result = read(new VcdReader(file.Vcd));
            return file.End() is { } failure ? throw failure : result;
        }
        catch (Exception exception) when (exception is WaveformException or InvalidDataException)
        {
            // A converter that fails leaves a file that ends too early; its own words say more.
            throw file.End() ?? new WaveformException(0, $"{path}: {exception.Message}");
        }
    }
}
