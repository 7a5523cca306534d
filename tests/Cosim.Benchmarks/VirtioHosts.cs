// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Scheduling.Tests;

namespace Cosim.Benchmarks;

/// <summary>A bridge whose two hosts are played by this program: a virtio driver on port 0, a back end on port 1.</summary>
internal sealed class VirtioHosts : IAsyncDisposable
{
    private const ulong RingMemory = 0x1_0000;

    private VirtioHosts(Bridge bridge)
    {
        Bridge = bridge;
        BackEnd = new MockBackEnd(bridge);
        Driver = new MockDriver(bridge, 0);
    }

    /// <summary>Where buffers may begin in host 1's memory, which has 16 MiB.</summary>
    public static ulong Data => 0x10_0000;

    public Bridge Bridge { get; }

    public MockBackEnd BackEnd { get; }

    public MockDriver Driver { get; }

    public MockRing Queue { get; private set; } = null!;

    /// <summary>Starts the bridge and a queue, with a maximum payload of 256 bytes and reads of at most 512 bytes.</summary>
    public static async Task<VirtioHosts> Start(FpgaOptions fpga, uint latency, ulong features, Func<MockRequest, byte[]?> serve, Recording? recording = null, Func<IFpga, IFpga>? wrap = null, string? file = null)
    {
        VirtioHosts hosts = new(new Bridge(new BridgeOptions
        {
            Name = "bench",
            Fpga = fpga,
            MakeFpga = options => wrap is null ? FpgaFactory.Create(options) : wrap(FpgaFactory.Create(options)),
            Stimuli = recording,
            RecordingFile = file,
            CompletionLatencyCycles = latency,
            Hosts = [new ProgramHostOptions { Functions = 2 }, new ProgramHostOptions { Functions = 1 }],
            Log = Console.Error.WriteLine,
        }));
        try
        {
            await hosts.Bridge.Started;
            hosts.BackEnd.Serve = serve;
            await hosts.BackEnd.Start();

            // Device Control of the function and of the endpoint: Max_Payload_Size 1 (256), Max_Read_Request_Size 2 (512), the rest as after reset.
            byte[] deviceControl = [0x30, 0x28];
            _ = await hosts.Bridge.WriteConfig(0, 0, 0x48, deviceControl);
            _ = await hosts.Bridge.WriteConfig(1, 0, 0x48, deviceControl);
            await hosts.Driver.Enable(9);
            await hosts.Driver.Reset();
            await hosts.Driver.Negotiate(features);
            hosts.Queue = await hosts.Driver.AddRing(0, 64, RingMemory);
            await hosts.Driver.DriverOk();
            return hosts;
        }
        catch
        {
            await hosts.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await BackEnd.DisposeAsync();
        Bridge.Dispose();
    }
}
