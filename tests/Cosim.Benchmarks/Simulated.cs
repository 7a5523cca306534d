// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using System.Globalization;
using Cosim.Fpga;
using Cosim.Scheduling.Tests;
using Cosim.Virtio;

namespace Cosim.Benchmarks;

/// <summary>What the simulated hardware does in its own time: 250 MHz, 250 cycles (1 us) to a completion, payloads of at most 256 bytes.</summary>
internal static class Simulated
{
    private const double ClockHz = 250e6;
    private const uint Latency = 250;
    private const uint CopyBytes = 64 << 10;
    private const uint BlockBytes = 4096;

    public static async Task<IReadOnlyList<Row>> Run(Surroundings surroundings)
    {
        List<Row> rows = [];
        foreach ((FpgaKind kind, string name) in new[] { (FpgaKind.Verilator, "Verilator"), (FpgaKind.Model, "model") })
        {
            FpgaOptions options = surroundings.Fpga(kind);
            rows.Add(await Copy(options, name));
            rows.AddRange(await BlockRead(options, name));
        }

        return rows;
    }

    private static async Task<Row> Copy(FpgaOptions options, string name)
    {
        List<Passage> passages = await LastRequest(options, _ => [], new MockBuffer(VirtioHosts.Data, CopyBytes, false));
        Passage command = passages.First(p => IsDma(p) && Word(p, 1) == CopyBytes);
        Passage done = passages.First(p => IsManagement(p, false, RegisterMap.Opcode.DmaDone) && p.Cycle > command.Cycle && Word(p, 0) >> 16 == Word(command, 0) >> 16);
        ulong cycles = done.Cycle - command.Cycle;
        return Row.AtLeast($"{name}: 64 KiB from host 1 to host 2, command to done", CopyBytes * 8 / (cycles / ClockHz) / 1e9, 40, " Gb/s", $" ({cycles} cycles)");
    }

    // As Linux does it: one indirect table with the request's header, the data and the status byte.
    private static async Task<IReadOnlyList<Row>> BlockRead(FpgaOptions options, string name)
    {
        List<Passage> passages = await LastRequest(
            options,
            request => new byte[request.WritableLength],
            new MockBuffer(VirtioHosts.Data, 16, false),
            new MockBuffer(VirtioHosts.Data + 0x1000, BlockBytes, true),
            new MockBuffer(VirtioHosts.Data + 0x8000, 1, true));
        int notify = passages.FindIndex(p => IsManagement(p, false, RegisterMap.Opcode.Notify));
        int doorbell = passages.FindLastIndex(notify, p => p.Into && p.Port == 0);
        int kick = passages.FindIndex(notify, p => IsInterrupt(p, 1));
        int called = passages.FindIndex(kick, p => IsManagement(p, false, RegisterMap.Opcode.Doorbell));
        int call = passages.FindLastIndex(called, p => p.Into && p.Port == 1);
        int interrupt = passages.FindIndex(called, p => IsInterrupt(p, 0));
        ulong begin = passages[doorbell].Cycle;
        ulong forward = passages[kick].Cycle - begin;
        ulong back = passages[interrupt].Cycle - passages[call].Cycle;
        List<Row> rows =
        [
            new($"{name}: 4 KiB block read, doorbell to used-ring interrupt, without the back end's own time", string.Create(CultureInfo.InvariantCulture, $"{forward + back} cycles ({(forward + back) / ClockHz * 1e6:0.0} us)")),
            Step("doorbell (MWr of host 1) to NOTIFY event", begin, passages[notify].Cycle),
        ];
        ulong copied = Copies(rows, passages, notify, kick);
        rows.Add(Step("kick (MSI-X to host 2)", copied, passages[kick].Cycle));
        rows.Add(Step("doorbell (MWr of host 2) to DOORBELL event", passages[call].Cycle, passages[called].Cycle));
        copied = Copies(rows, passages, called, interrupt);
        rows.Add(Step("interrupt (MSI-X to host 1)", copied, passages[interrupt].Cycle));
        return rows;
    }

    // One row for each group of copies that overlap, from the end of what came before it: the latency from an event to the command that
    // it causes counts. Gives the end of the last one.
    private static ulong Copies(List<Row> rows, List<Passage> passages, int from, int to)
    {
        HashSet<uint> commands = [];
        ulong before = passages[from].Cycle;
        List<string> step = [];
        for (int i = from; i < to; i++)
        {
            Passage p = passages[i];
            if (IsDma(p))
            {
                _ = commands.Add(Word(p, 0) >> 16);
                step.Add($"{Space(Word(p, 2) & 0xF)} to {Space((Word(p, 2) >> 4) & 0xF)} {Word(p, 1)} B");
            }
            else if (IsManagement(p, false, RegisterMap.Opcode.DmaDone) && commands.Remove(Word(p, 0) >> 16) && commands.Count == 0)
            {
                rows.Add(Step("copy " + string.Join(", ", step), before, p.Cycle));
                before = p.Cycle;
                step.Clear();
            }
        }

        return before;
    }

    private static Row Step(string name, ulong from, ulong to) => new("    " + name, $"{to - from} cycles");

    private static string Space(uint space) => space switch { 0 => "host 1", 1 => "host 2", _ => "scratch" };

    // What passes from the driver's last doorbell on, for the last of a few equal requests.
    private static async Task<List<Passage>> LastRequest(FpgaOptions options, Func<MockRequest, byte[]?> serve, params MockBuffer[] buffers)
    {
        Recording record = new(4 << 20);
        await using VirtioHosts hosts = await VirtioHosts.Start(options, Latency, VirtioFeatures.RingEventIdx | VirtioFeatures.RingIndirectDesc, serve, record);
        int begin = 0;
        for (int i = 0; i < 4; i++)
        {
            begin = await hosts.Bridge.Invoke(() => record.Passages.Count);
            hosts.Queue.IndirectTables = 0x8_0000;
            _ = await hosts.Queue.Add(buffers);
            await hosts.Queue.Publish();
            _ = await hosts.Driver.NextUsed(hosts.Queue);

            // A read of a register comes after all that the request has caused.
            _ = await hosts.Driver.ReadStatus();
        }

        return await hosts.Bridge.Invoke(() => record.Passages.Skip(begin).ToList());
    }

    private static bool IsDma(Passage p) => IsManagement(p, true, RegisterMap.Opcode.Dma);

    private static bool IsManagement(Passage p, bool into, uint opcode) => p.Port == 2 && p.Into == into && p.Bytes.Span[0] == opcode;

    private static bool IsInterrupt(Passage p, int port) => p.Port == port && !p.Into && Word(p, 0) >> 24 == 0x40 && Word(p, 2) >> 20 == 0xFEE;

    private static uint Word(in Passage p, int index) => BinaryPrimitives.ReadUInt32LittleEndian(p.Bytes.Span[(4 * index)..]);
}
