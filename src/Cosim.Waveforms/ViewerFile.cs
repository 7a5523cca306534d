// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Waveforms;

/// <summary>Files that show a choice of signals in a waveform viewer.</summary>
public static class ViewerFile
{
    private const string HexadecimalFlags = "@22";
    private const string BinaryFlags = "@28";
    private const string CommentFlags = "@200";

    /// <summary>Writes a save file of GTKWave: <c>gtkwave FILE</c>; it says nothing of the zoom, which begins at the unit of time.</summary>
    /// <param name="waveFile">Path of the waveform file.</param>
    /// <param name="variables">Signals in the order they are shown in; a heading stands before those of a scope.</param>
    /// <param name="output">Where the save file goes.</param>
    public static void WriteGtkwave(string waveFile, IEnumerable<VcdVariable> variables, TextWriter output)
    {
        output.Write($"[*] Signals chosen by cosim\n[dumpfile] \"{Path.GetFullPath(waveFile)}\"\n[timestart] 0\n");
        string? scope = null;
        foreach (VcdVariable variable in variables)
        {
            if (Scope(variable) != scope)
            {
                scope = Scope(variable);
                output.Write($"{CommentFlags}\n-{scope}\n");
            }

            // GTKWave gives a vector that is declared without a range the one from its width.
            string range = variable.Width > 1 && !HasRange(variable.Written) ? string.Create(CultureInfo.InvariantCulture, $"[{variable.Width - 1}:0]") : "";
            output.Write($"{(variable.Width > 1 ? HexadecimalFlags : BinaryFlags)}\n{variable.Written}{range}\n");
        }
    }

    /// <summary>Writes a command file of Surfer: <c>surfer --command-file FILE</c>.</summary>
    /// <param name="waveFile">Path of the waveform file.</param>
    /// <param name="variables">Signals in the order they are shown in; a divider stands before those of a scope.</param>
    /// <param name="output">Where the command file goes.</param>
    public static void WriteSurfer(string waveFile, IEnumerable<VcdVariable> variables, TextWriter output)
    {
        output.Write($"load_file {Path.GetFullPath(waveFile)}\n");
        string? scope = null;
        foreach (VcdVariable variable in variables)
        {
            if (Scope(variable) != scope)
            {
                scope = Scope(variable);
                output.Write($"divider_add {scope}\n");
            }

            // In Surfer the range is no part of the name.
            string name = HasRange(variable.Written) ? variable.Written[..variable.Written.LastIndexOf('[')] : variable.Written;
            output.Write($"variable_add {name}\n");
        }

        output.Write("zoom_fit\n");
    }

    private static string Scope(VcdVariable variable) => variable.Written[..Math.Max(0, variable.Written.LastIndexOf('.'))];

    private static bool HasRange(string name) => name.EndsWith(']') && name.LastIndexOf('[') is > 0 and var open && name.AsSpan(open).Contains(':');
}
