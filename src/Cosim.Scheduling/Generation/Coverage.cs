// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Reflection;

namespace Cosim.Scheduling.Generation;

/// <summary>How often each <see cref="CoveragePoint"/> was seen.</summary>
public sealed class Coverage
{
    private static readonly (CoveragePoint Point, SeenAttribute Seen)[] s_points =
        [.. Enum.GetValues<CoveragePoint>().Select(point => (point, typeof(CoveragePoint).GetField(point.ToString())!.GetCustomAttribute<SeenAttribute>()!))];

    private readonly long[] _counts = new long[s_points.Length];

    /// <summary>Number of points that were seen.</summary>
    public int Seen => _counts.Count(count => count != 0);

    /// <summary>Counts a point.</summary>
    internal void Hit(CoveragePoint point) => _counts[(int)point]++;

    /// <summary>Counts a point if a condition holds.</summary>
    internal void Hit(CoveragePoint point, bool condition)
    {
        if (condition)
        {
            _counts[(int)point]++;
        }
    }

    /// <summary>Adds what another one has counted.</summary>
    public void Add(Coverage other)
    {
        for (int i = 0; i < _counts.Length; i++)
        {
            _counts[i] += other._counts[i];
        }
    }

    /// <summary>Names of the points that were not seen.</summary>
    /// <param name="illegal">Those that only illegal stimuli reach belong to it.</param>
    public IReadOnlyList<string> Holes(bool illegal) =>
        [.. s_points.Where(p => _counts[(int)p.Point] == 0 && (illegal || !p.Seen.OnRequest)).Select(p => p.Point.ToString())];

    /// <summary>One line for each point: how often, name and meaning; what was not seen says <c>HOLE</c>.</summary>
    /// <param name="illegal">Those that only illegal stimuli reach belong to it.</param>
    public IEnumerable<string> Table(bool illegal)
    {
        foreach ((CoveragePoint point, SeenAttribute seen) in s_points)
        {
            if (illegal || !seen.OnRequest)
            {
                long count = _counts[(int)point];
                yield return string.Create(CultureInfo.InvariantCulture, $"{(count == 0 ? "HOLE" : count),9}  {point,-28} {seen.Description}");
            }
        }
    }
}
