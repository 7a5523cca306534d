// SPDX-License-Identifier: Apache-2.0
using System.Globalization;

namespace Cosim.Benchmarks;

/// <summary>One line of the table.</summary>
/// <param name="Name">What was measured.</param>
/// <param name="Measured">What came out, with its unit.</param>
/// <param name="Target">What it is to be; empty where nothing is asked.</param>
/// <param name="Ok">Whether it is; null where nothing is asked.</param>
internal sealed record Row(string Name, string Measured, string Target = "", bool? Ok = null)
{
    /// <summary>A value that may not be greater than a limit.</summary>
    public static Row AtMost(string name, double value, double limit, string unit, string detail = "") =>
        new(name, Text(value, unit) + detail, $"<= {Text(limit, unit)}", value <= limit);

    /// <summary>A value that may not be less than a limit.</summary>
    public static Row AtLeast(string name, double value, double limit, string unit, string detail = "") =>
        new(name, Text(value, unit) + detail, $">= {Text(limit, unit)}", value >= limit);

    /// <summary>The middle one of some values.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private static string Text(double value, string unit) => string.Create(CultureInfo.InvariantCulture, $"{value:0.##}{unit}");
}
