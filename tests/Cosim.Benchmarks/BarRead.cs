// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;
using System.Globalization;

namespace Cosim.Benchmarks;

/// <summary>
/// One client reads a register of a bridge with the reference model and of a C responder that does nothing else, in turns, all on one
/// core.
/// </summary>
internal static class BarRead
{
    private const int Rounds = 15;
    private const int Reads = 2000;
    private const double Limit = 1.25;

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        string program = Path.Combine(surroundings.Folder, "bar_read");
        _ = await Surroundings.Run("gcc", "-O2", "-o", program, Path.Combine(AppContext.BaseDirectory, "bar_read.c"));
        string core = (Environment.ProcessorCount - 1).ToString(CultureInfo.InvariantCulture);
        string responderSocket = Path.Combine(surroundings.Folder, "responder.sock");
        using Process responder = Surroundings.Start(program, "pin", core, program, "serve", responderSocket, BridgeProcess.Descriptors.ToString(CultureInfo.InvariantCulture));
        using Process bridge = Surroundings.Start(program, "pin", core, Environment.ProcessPath!, "exec", Environment.GetCommandLineArgs()[0], "--bridge", "model", surroundings.Folder);
        try
        {
            await Surroundings.WaitUntilReady(responder);
            await Surroundings.WaitUntilReady(bridge);
            string output = await Surroundings.Run(
                program, "pin", core, program, "measure",
                BridgeProcess.Region.ToString(CultureInfo.InvariantCulture),
                Rounds.ToString(CultureInfo.InvariantCulture),
                Reads.ToString(CultureInfo.InvariantCulture),
                responderSocket,
                BridgeProcess.EndpointSocket(surroundings.Folder));
            double[][] rounds = [.. output.Trim().Split('\n').Select(line => line.Split(' ').Select(word => double.Parse(word, CultureInfo.InvariantCulture)).ToArray())];
            double ratio = Row.Median(rounds.Select(round => round[1] / round[0]));
            string times = string.Create(CultureInfo.InvariantCulture, $" ({Row.Median(rounds.Select(r => r[1])) / 1000:0.0} us against {Row.Median(rounds.Select(r => r[0])) / 1000:0.0} us)");
            return [Row.AtMost($"BAR read, model, to C responder, median of {rounds.Length} rounds", ratio, Limit, "x", times)];
        }
        finally
        {
            await Surroundings.End(bridge);
            if (!responder.HasExited)
            {
                responder.Kill();
            }

            await responder.WaitForExitAsync();
        }
    }
}
