// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Scheduling;

/// <summary>Neighbouring bytes of a device configuration space.</summary>
/// <param name="Offset">Of the first one.</param>
/// <param name="Bytes">All of them.</param>
internal readonly record struct ConfigurationBytes(int Offset, byte[] Bytes);

/// <summary>
/// A device configuration space as host 1 sees it: what the device says, and what the driver has written, of which the back end may not have
/// heard yet.
/// </summary>
internal sealed class DeviceConfiguration
{
    /// <summary>Bytes that the FPGA has for it.</summary>
    public const int MostBytes = 256;

    private readonly byte[] _bytes = new byte[MostBytes];
    private readonly bool[] _written = new bool[MostBytes];
    private readonly bool[] _untold = new bool[MostBytes];

    /// <summary>Bytes of the device's configuration space.</summary>
    public int Length { get; private set; }

    /// <summary>Every byte that the FPGA has, whole words of them behind <see cref="Length"/>.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>Takes what the first back end says.</summary>
    public void Describe(ReadOnlySpan<byte> bytes)
    {
        Length = bytes.Length;
        bytes.CopyTo(_bytes);
    }

    /// <summary>The driver has written.</summary>
    public void Write(int offset, ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_bytes.AsSpan(offset));
        _written.AsSpan(offset, bytes.Length).Fill(true);
        _untold.AsSpan(offset, bytes.Length).Fill(true);
    }

    /// <summary>What the driver has written since this was asked last, for the back end to hear.</summary>
    public List<ConfigurationBytes> TakeUntold()
    {
        List<ConfigurationBytes> untold = Find(_untold);
        Array.Clear(_untold);
        return untold;
    }

    /// <summary>What the driver has written since it reset the function, for a new back end to hear.</summary>
    public List<ConfigurationBytes> Written() => Find(_written);

    /// <summary>The back end has refused what the driver wrote: it is not for a new one.</summary>
    public void Refused(in ConfigurationBytes refused)
    {
        for (int i = refused.Offset; i < refused.Offset + refused.Bytes.Length; i++)
        {
            _written[i] &= _untold[i];
        }
    }

    /// <summary>The driver has reset the function: what it wrote is its device's own affair from now on.</summary>
    public void ForgetWritten() => Array.Clear(_written);

    /// <summary>Takes what the device says. What it has not heard of yet stays the driver's.</summary>
    /// <returns>Whether host 1 sees a change.</returns>
    public bool Update(ReadOnlySpan<byte> bytes)
    {
        bool changed = false;
        for (int i = 0; i < Math.Min(bytes.Length, Length); i++)
        {
            if (!_untold[i] && _bytes[i] != bytes[i])
            {
                _bytes[i] = bytes[i];
                changed = true;
            }
        }

        return changed;
    }

    private List<ConfigurationBytes> Find(bool[] marks)
    {
        List<ConfigurationBytes> found = [];
        int from = Array.IndexOf(marks, true);
        while (from >= 0)
        {
            int to = Array.IndexOf(marks, false, from);
            to = to < 0 ? marks.Length : to;
            found.Add(new ConfigurationBytes(from, _bytes[from..to]));
            from = to < marks.Length ? Array.IndexOf(marks, true, to) : -1;
        }

        return found;
    }
}
