// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using Cosim.Fpga.Tests.Driver;
using Cosim.Scheduling;
using Cosim.Scheduling.Tests;

namespace Cosim.Waveforms.Tests;

/// <summary>What a scenario of the golden waveforms plays on: a fresh FPGA with everything around it, and what of it is to be seen.</summary>
internal sealed class Scenario(FpgaOptions options) : IDisposable
{
    /// <summary>Bar0 and Bar1 of the back-end endpoint once <see cref="EnableBackEnd"/> has placed them.</summary>
    public const uint BackEndBar0 = 0xD000_0000;
    public const uint BackEndBar1 = 0xD010_0000;

    private readonly List<string> shown = [];
    private IFpga? fpga;
    private PortDriver? ports;
    private ulong from;

    /// <summary>Pauses on the streams; to be set before the FPGA is used.</summary>
    public LinkPauses Pauses { get; set; }

    public IFpga Fpga => fpga ??= FpgaFactory.Create(options with { Pauses = Pauses });

    public PortDriver Ports => ports ??= new PortDriver(Fpga);

    /// <summary>What of the waveform is kept.</summary>
    public WaveSelection Selection => FpgaWaves.Pins([.. shown.Select(p => $"fpga_inst.{p}")]) with { From = from };

    /// <summary>Shows signals inside, by their names below <c>cosim_top.fpga_inst</c>.</summary>
    public void Show(params ReadOnlySpan<string> paths) => shown.AddRange(paths);

    /// <summary>Here the waveform begins; what was before is preparation that other scenarios show.</summary>
    public void Begin()
    {
        Ports.Settle();
        Ports.Events.Clear();
        Ports.Interrupts.Clear();
        from = Fpga.Cycle;
    }

    /// <summary>
    /// Plays on a whole bridge instead of the bare FPGA: the scheduler, a driver and a back end whose session is up. The waveform begins
    /// where <paramref name="begin"/> ends; null: with the FPGA.
    /// </summary>
    public void Play(Func<MockBackEnd, Task>? begin, Func<MockBackEnd, Task> script)
    {
        using SteppedBridge stepped = new(new BridgeOptions
        {
            Name = "golden",
            Fpga = options with { Pauses = Pauses },
            Hosts = [new ProgramHostOptions { Functions = 2, MemoryBytes = 4 << 20 }, new ProgramHostOptions { Functions = 1, MemoryBytes = 8 << 20 }],
        });
        MockBackEnd backEnd = new(stepped.Bridge);
        if (begin is not null)
        {
            stepped.Complete(() => begin(backEnd));
            stepped.RunUntilIdle();
            from = stepped.Cycle;
        }

        stepped.Complete(() => script(backEnd));
        stepped.RunUntilIdle();
        backEnd.DisposeAsync().AsTask().GetAwaiter().GetResult();
    }

    /// <summary>Lets the FPGA finish what it has begun.</summary>
    public void Settle() => ports?.Settle();

    /// <summary>Places the back-end endpoint's BARs and switches it on.</summary>
    public void EnableBackEnd()
    {
        Ports.ConfigWrite(1, 0, 0x10, BackEndBar0);
        Ports.ConfigWrite(1, 0, 0x14, BackEndBar1);
        Ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
    }

    /// <summary>Switches on what DMA needs: Bus Master of both virtio functions and of the back-end endpoint.</summary>
    public void EnableDma()
    {
        Ports.ConfigWrite(0, 0, 0x04, 0x0006, 0b0011);
        Ports.ConfigWrite(0, 1, 0x04, 0x0006, 0b0011);
        Ports.ConfigWrite(1, 0, 0x04, 0x0006, 0b0011);
    }

    /// <summary>Writes a register of a virtio function from the management port.</summary>
    public void SetFunction(int function, uint offset, uint value) => Ports.WriteRegister(PortDriver.FunctionRegister(function, offset), value);

    /// <summary>Reads a register of a virtio function from the management port.</summary>
    public uint GetFunction(int function, uint offset) => Ports.ReadRegister(PortDriver.FunctionRegister(function, offset));

    /// <summary>Closes the waveform.</summary>
    public void Dispose() => fpga?.Dispose();
}
