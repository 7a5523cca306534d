// SPDX-License-Identifier: Apache-2.0
namespace Cosim;

/// <summary>Lets so many reports through in an interval and counts the others: a hostile guest cannot fill a disk with them.</summary>
internal sealed class ReportLimiter(Action<string>? log, TimeProvider time)
{
    private const int Burst = 20;
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(10);

    private long _start = time.GetTimestamp();
    private int _count;

    public void Report(string message)
    {
        if (log is null)
        {
            return;
        }

        if (time.GetElapsedTime(_start) >= s_interval)
        {
            if (_count > Burst)
            {
                log($"{_count - Burst} further reports were left out");
            }

            _start = time.GetTimestamp();
            _count = 0;
        }

        if (++_count <= Burst)
        {
            log(message);
        }
    }
}
