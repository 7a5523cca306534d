// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Waveforms;

/// <summary>Brings a waveform into the form that is kept and compared: text, by clock cycle, the same whichever simulator wrote it.</summary>
/// <remarks>
/// A cycle's values are those just before the rising edge of the clock that ends it. Only changes are listed, in the order of
/// the selection, streams first; the cycle's number stands before the first of them. A signal is called by as much of the end
/// of its path as tells it from the others. 32 bits of a value make a group; zero groups on the left are left out. A digit
/// with a bit that is neither 0 nor 1 is <c>x</c>. A signal of an enumeration has its literals for values.
/// A stream is <c>closed</c> (neither valid nor ready), <c>idle</c> (ready only), <c>wait</c> with the beat that is offered but
/// not taken, or the beat that moves: its DWs that <c>keep</c> says, lowest first, and <c>last</c>; a keep that is not contiguous
/// from bit 0 stands behind them (<c>keep 5</c>). Every beat that moves is listed. What follows <c>#</c> says which packet ends
/// with the beat; it follows from the values and is not compared. The form holds neither times nor identifier codes nor anything
/// of the file's order.
/// <code>
/// cosim waveform 2
/// stream p0_rx p0_rx_data_i p0_rx_keep_i p0_rx_last_i p0_rx_valid_i p0_rx_ready_o
/// signal busy_o 1
/// signal fpga_inst.port0_inst.completer_inst.state S_IDLE S_ACCESS S_COMPLETE S_DONE
/// 12 p0_rx 04000001 0000000f 01000000 last # CfgRd0 01:00.0 0x000 be f tag 0
/// 13 p0_rx idle
///  busy_o 1
/// end 14
/// </code>
/// </remarks>
public static class CanonicalWave
{
    internal const string Title = "cosim waveform 2";

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

    /// <summary>Names for the lines of changes: as much of the end of each path as no other path ends with.</summary>
    internal static string[] ShortNames(IReadOnlyList<string> paths)
    {
        Dictionary<string, int> uses = new(StringComparer.Ordinal);
        foreach (string path in paths)
        {
            foreach (string end in Ends(path))
            {
                uses[end] = uses.GetValueOrDefault(end) + 1;
            }
        }

        return [.. paths.Select(p => Ends(p).FirstOrDefault(e => uses[e] == 1) ?? p)];
    }

    /// <summary>The ends of a path, the shortest first; a state says little without what it belongs to.</summary>
    private static IEnumerable<string> Ends(string path)
    {
        for (int dot = path.LastIndexOf('.'); dot > 0; dot = path.LastIndexOf('.', dot - 1))
        {
            string end = path[(dot + 1)..];
            if (!end.StartsWith("state", StringComparison.Ordinal))
            {
                yield return end;
            }
        }

        yield return path;
    }
}
