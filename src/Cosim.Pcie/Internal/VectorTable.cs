// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie.Internal;

/// <summary>MSI-X vectors of a function: what the host has armed, what the FPGA's table holds, and what came in between.</summary>
internal sealed class VectorTable
{
    /// <summary>Greatest MSI-X table (PCI Express Base Specification, 7.7.2.2).</summary>
    public const int MaxVectors = 2048;

    private readonly Vector[] _vectors = new Vector[MaxVectors];

    /// <summary>Vectors from here on have never been armed or programmed.</summary>
    public int End { get; private set; }

    /// <summary>Whether MSI-X Enable is set in the FPGA.</summary>
    public bool Enabled { get; set; }

    public bool AnyArmed
    {
        get
        {
            foreach (ref readonly Vector vector in _vectors.AsSpan(0, End))
            {
                if (vector.Armed)
                {
                    return true;
                }
            }

            return false;
        }
    }

    public ref Vector this[int vector] => ref _vectors[vector];

    public void Arm(int start, int count, bool armed)
    {
        foreach (ref Vector vector in _vectors.AsSpan(start, count))
        {
            vector.Armed = armed;
        }

        End = Math.Max(End, start + count);
    }

    /// <summary>The FPGA has lost its table.</summary>
    public void Unprogram()
    {
        foreach (ref Vector vector in _vectors.AsSpan(0, End))
        {
            vector.Programmed = false;
            vector.Unmasked = false;
        }

        Enabled = false;
    }

    /// <summary>The host is gone: it wants no vector, nor what was raised for it.</summary>
    public void Disarm()
    {
        Arm(0, End, armed: false);
        ForgetHeld();
    }

    /// <summary>Nobody gets what was raised so far.</summary>
    public void ForgetHeld()
    {
        foreach (ref Vector vector in _vectors.AsSpan(0, End))
        {
            vector.Held = false;
        }
    }

    /// <summary>The host has lost its interrupts too.</summary>
    public void Forget()
    {
        Array.Clear(_vectors, 0, End);
        End = 0;
        Enabled = false;
    }

    internal struct Vector
    {
        /// <summary>The host wants it.</summary>
        public bool Armed;

        /// <summary>Address and data stand in the FPGA's table.</summary>
        public bool Programmed;

        /// <summary>The mask bit in the FPGA's table is 0.</summary>
        public bool Unmasked;

        /// <summary>It was raised while the host did not want it; given when it does.</summary>
        public bool Held;
    }
}
