// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Brings a waveform into the form that is kept and compared: text, by clock cycle, the same whichever simulator wrote it.</summary>
/// <remarks>
/// A cycle's values are those just before the rising edge of the clock that ends it. Only changes are listed, in the order of
/// the selection, and 32 bits of a value make a group; zero groups on the left are left out. A digit with a bit that is
/// neither 0 nor 1 is <c>x</c>. Lines that begin with <c>#</c> say which packet's last beat moves in the cycle; they follow
/// from the values and are not compared. The form holds neither times nor identifier codes nor anything of the file's order.
/// <code>
/// cosim waveform 1
/// signal p0_rx_valid_i 1
/// signal p0_rx_data_i 256 when p0_rx_valid_i
/// cycle 12
///   p0_rx_valid_i 1
///   p0_rx_data_i 01000000_0000000f_04000001
///   # p0_rx CfgRd0 01:00.0 0x000 be f tag 0
/// end 14
/// </code>
/// </remarks>
public static class CanonicalWave
{
    internal const string Title = "cosim waveform 1";

    /// <summary>Reads a VCD file and writes its canonical form.</summary>
    /// <param name="vcd">The file.</param>
    /// <param name="selection">What of it is wanted.</param>
    /// <param name="output">Where the canonical form goes; lines end with a line feed.</param>
    /// <exception cref="WaveformException">The file is malformed, or has not the signals that are wanted.</exception>
    public static void Write(Stream vcd, WaveSelection selection, TextWriter output) => new WaveSampler(new VcdReader(vcd), selection, output).Run();

    /// <summary>The canonical form of a VCD file as a string.</summary>
    /// <param name="vcdFile">Path of the file.</param>
    /// <param name="selection">What of it is wanted.</param>
    /// <exception cref="WaveformException">The file is malformed, or has not the signals that are wanted.</exception>
    public static string Of(string vcdFile, WaveSelection selection)
    {
        using FileStream stream = File.OpenRead(vcdFile);
        using StringWriter output = new();
        try
        {
            Write(stream, selection, output);
        }
        catch (WaveformException exception)
        {
            throw new WaveformException(0, $"{vcdFile}: {exception.Message}");
        }

        return output.ToString();
    }
}
