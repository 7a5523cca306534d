// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie.Internal;

namespace Cosim.Pcie;

/// <content>Programming of the FPGA's MSI-X tables.</content>
public sealed partial class RootPort
{
    private const uint MsixEnable = 0x8000_0000;

    /// <summary>Brings the FPGA's MSI-X table and MSI-X Enable to what the host has armed.</summary>
    private IEnumerator<Step> ProgramVectors(PcieFunction function)
    {
        FunctionLayout layout = function.Layout!;
        VectorTable vectors = function.Vectors;
        if (vectors.End > layout.MsixVectors && IsArmedFrom(vectors, layout.MsixVectors))
        {
            Report($"function {function.Index}: vectors armed beyond its {layout.MsixVectors}");
        }

        int end = Math.Min(vectors.End, layout.MsixVectors);
        if (end == 0)
        {
            yield break;
        }

        bool opens = !function.IsReachable(layout.MsixTableBar) && NeedsProgramming(vectors, end);
        if (opens)
        {
            for (IEnumerator<Step> open = OpenWindow(function); open.MoveNext();)
            {
                yield return open.Current;
            }
        }

        ulong table = function.BusAddress(layout.MsixTableBar) + layout.MsixTableOffset;
        bool anyArmed = false;
        for (int vector = 0; vector < end; vector++)
        {
            ulong entry = table + (16ul * (uint)vector);
            bool armed = vectors[vector].Armed;
            anyArmed |= armed;
            if (armed && !vectors[vector].Programmed)
            {
                vectors[vector].Programmed = true;
                yield return Step.Memory(entry, (uint)InterruptBase);
                yield return Step.Memory(entry + 4, 0);
                yield return Step.Memory(entry + 8, (uint)vector);
            }

            if (armed != vectors[vector].Unmasked)
            {
                vectors[vector].Unmasked = armed;
                yield return Step.Memory(entry + 12, armed ? 0u : 1u);
            }
        }

        if (opens)
        {
            for (IEnumerator<Step> close = CloseWindow(function); close.MoveNext();)
            {
                yield return close.Current;
            }
        }

        if (anyArmed != vectors.Enabled)
        {
            vectors.Enabled = anyArmed;
            yield return Step.Write(layout.MsixCapability, 0x8, anyArmed ? MsixEnable : 0);
        }
    }

    private static bool NeedsProgramming(VectorTable vectors, int end)
    {
        for (int vector = 0; vector < end; vector++)
        {
            if (vectors[vector].Armed != vectors[vector].Unmasked)
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsArmedFrom(VectorTable vectors, int first)
    {
        for (int vector = first; vector < vectors.End; vector++)
        {
            if (vectors[vector].Armed)
            {
                return true;
            }
        }

        return false;
    }
}
