// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling;

namespace Cosim.Benchmarks;

/// <summary>A bridge in a process of its own, until its standard input ends.</summary>
internal static class BridgeProcess
{
    /// <summary>Descriptors that its loop waits on with one client: the wake-up event, three listening sockets, the client.</summary>
    public const int Descriptors = 5;

    /// <summary>BAR0 of the back-end endpoint, whose first register is its identification.</summary>
    public const int Region = 0;

    public static string EndpointSocket(string folder) => Path.Combine(folder, "p1f0.sock");

    public static async Task<int> Run(FpgaKind kind, string folder)
    {
        using Bridge bridge = new(new BridgeOptions
        {
            Name = "bench",
            Fpga = new Surroundings(folder).Fpga(kind),
            Hosts =
            [
                new SocketHostOptions { Functions = 2, Sockets = [Path.Combine(folder, "p0f0.sock"), Path.Combine(folder, "p0f1.sock")] },
                new SocketHostOptions { Functions = 1, Sockets = [EndpointSocket(folder)] },
            ],
            Log = Console.Error.WriteLine,
        });
        await bridge.Started;
        Console.WriteLine("ready");
        using Stream input = Console.OpenStandardInput();
        byte[] nothing = new byte[1];
        while (await input.ReadAsync(nothing) != 0)
        {
        }

        return 0;
    }
}
