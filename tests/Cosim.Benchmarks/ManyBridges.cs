// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Cosim.Fpga;
using Cosim.Scheduling.Tests;
using Cosim.Virtio;

namespace Cosim.Benchmarks;

/// <summary>What a block request costs where one process has several bridges that all work: processor time of the process, its hosts included.</summary>
internal static class ManyBridges
{
    private const int Bytes = 4096;
    private const int Requests = 3200;
    private const int Rounds = 9;
    private const double Limit = 1.1;

    private static readonly int[] s_counts = [1, 4, 16];
    private static readonly byte[] s_answer = new byte[Bytes];

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        List<VirtioHosts> bridges = [];
        try
        {
            while (bridges.Count < s_counts[^1])
            {
                bridges.Add(await VirtioHosts.Start(surroundings.Fpga(FpgaKind.Model), 16, VirtioFeatures.RingEventIdx, _ => s_answer));
            }

            _ = await Cost(bridges); // compiled by now
            Dictionary<int, List<double>> costs = s_counts.ToDictionary(count => count, _ => new List<double>());
            for (int round = 0; round < Rounds; round++)
            {
                foreach (int count in s_counts)
                {
                    costs[count].Add(await Cost(bridges[..count]));
                }
            }

            double one = Row.Median(costs[1]);
            return [.. s_counts[1..].Select(count =>
            {
                // In turns, so that what else the machine does meets all of them.
                double ratio = Row.Median(costs[count].Zip(costs[1], (many, alone) => many / alone));
                string detail = string.Create(CultureInfo.InvariantCulture, $" ({Row.Median(costs[count]):0.0} us against {one:0.0} us)");
                return Row.AtMost($"model: processor time of a 4 KiB request with {count} bridges, to that with 1, median of {Rounds} rounds", ratio, Limit, "x", detail);
            })];
        }
        finally
        {
            foreach (VirtioHosts hosts in bridges)
            {
                await hosts.DisposeAsync();
            }
        }
    }

    // Microseconds of processor time a request.
    private static async Task<double> Cost(List<VirtioHosts> bridges)
    {
        TimeSpan before = Environment.CpuUsage.TotalTime;
        await Task.WhenAll(bridges.Select(hosts => Task.Run(() => Exchange(hosts, Requests / bridges.Count))));
        return (Environment.CpuUsage.TotalTime - before).TotalMicroseconds / Requests;
    }

    private static async Task Exchange(VirtioHosts hosts, int requests)
    {
        for (int i = 0; i < requests; i++)
        {
            _ = await hosts.Queue.Add(new MockBuffer(VirtioHosts.Data, 16, false), new MockBuffer(VirtioHosts.Data + Bytes, Bytes, true));
            await hosts.Queue.Publish();
            _ = await hosts.Driver.NextUsed(hosts.Queue);
        }
    }
}
