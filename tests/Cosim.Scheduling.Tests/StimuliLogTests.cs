// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;

namespace Cosim.Scheduling.Tests;

/// <summary>What is logged at the FPGA's boundary is enough to have the same run again.</summary>
[TestFixture(FpgaKind.Model)]
[TestFixture(FpgaKind.Verilator)]
[TestFixture(FpgaKind.Ghdl)]
public sealed class StimuliLogTests(FpgaKind kind) : BridgeFixture(kind), IStimuliLog
{
    private readonly List<(int Port, ulong Offered, byte[] Packet)> _inputs = [];
    private readonly List<(int Port, ulong Cycle, byte[] Packet)> _outputs = [];
    private readonly ulong[] _seen = new ulong[3];

    protected override IStimuliLog? Stimuli => this;

    public void Input(int port, ulong cycle, ulong notBefore, ReadOnlySpan<ulong> outputsSeen, ReadOnlySpan<byte> packet)
    {
        if (!outputsSeen.SequenceEqual(_seen))
        {
            throw new InvalidOperationException("the numbers of outputs seen are wrong");
        }

        _inputs.Add((port, Math.Max(cycle, notBefore), packet.ToArray()));
    }

    public void Output(int port, ulong cycle, ReadOnlySpan<byte> packet)
    {
        _seen[port]++;
        _outputs.Add((port, cycle, packet.ToArray()));
    }

    public void Reset(ulong cycle) => throw new InvalidOperationException("nobody resets the FPGA here");

    [Test]
    public async Task Log_OfABlockRequest_ReplayedGivesTheSameOutputsAtTheSameCycles()
    {
        await BackEnd.Start();
        await Driver.Enable(9);
        await Driver.Reset();
        await Driver.Negotiate(0);
        MockQueue queue = await Driver.AddQueue(0, 16, 0x1_0000);
        await Driver.DriverOk();
        for (ulong i = 0; i < 4; i++)
        {
            _ = await queue.Add(new MockBuffer(0x10_0000 + (i * 0x1000) + i, 3000, false), new MockBuffer(0x20_0000 + (i * 0x1003), 2999, true));
        }

        await queue.Publish();
        for (int i = 0; i < 4;)
        {
            Assert.That(await Driver.NextInterrupt(), Is.EqualTo(1));
            for (; await queue.TakeUsed() is not null; i++)
            {
            }
        }

        await BackEnd.DisposeAsync();
        Bridge.Dispose();
        using IFpga again = FpgaFactory.Create(Bridge.Options.Fpga);
        foreach ((int port, ulong offered, byte[] packet) in _inputs)
        {
            again.Send(port, packet, offered);
        }

        List<(int Port, ulong Cycle, byte[] Packet)> outputs = [];
        RunResult result;
        do
        {
            result = again.Run(1 << 20, 1 << 20);
            while (again.TryReceive(out FpgaPacket packet))
            {
                outputs.Add((packet.Port, packet.Cycle, packet.Bytes.ToArray()));
            }
        }
        while (result is RunResult.Output or RunResult.Limit);

        Assert.That(outputs, Has.Count.EqualTo(_outputs.Count));
        for (int i = 0; i < outputs.Count; i++)
        {
            Assert.That((outputs[i].Port, outputs[i].Cycle), Is.EqualTo((_outputs[i].Port, _outputs[i].Cycle)), $"output {i}");
            Assert.That(outputs[i].Packet, Is.EqualTo(_outputs[i].Packet), $"output {i}");
        }
    }
}
