// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Fpga;
using Cosim.Scheduling;
using Cosim.Scheduling.Tests;
using Cosim.Virtio;

namespace Cosim.Waveforms.Tests.Scenarios;

/// <summary>What the scheduler makes of the FPGA: sessions, block requests and network frames (BACKEND.md; virtio 1.3, 5.1 and 5.2).</summary>
internal static class BridgeWaves
{
    private const ulong Rings = 0x1_0000;
    private const ulong Data = 0x10_0000;
    private const int SectorBytes = 512;

    /// <summary>The driver's negotiation on a bridge, and what the back end is told of it through the mailboxes.</summary>
    public static void Negotiation(Scenario s)
    {
        s.Show("functions_inst.state", "backend_inst.f2h_length", "backend_inst.h2f_length");
        MockDriver? driver = null;
        s.Play(
            async backEnd =>
            {
                await backEnd.Start();
                driver = new MockDriver(backEnd.Bridge, 0);
                await driver.Enable(9);
                await driver.Reset();
            },
            backEnd => driver!.Negotiate(VirtioFeatures.RingEventIdx));
    }

    /// <summary>The driver writes the device's configuration: the back end is told by a message and answers it.</summary>
    public static void ConfigurationWrite(Scenario s)
    {
        s.Show("functions_inst.config_mark", "backend_inst.f2h_length", "backend_inst.h2f_length");
        DiskQueue? queue = null;
        s.Play(
            async backEnd =>
            {
                await backEnd.Start();
                queue = await StartQueue(backEnd, function: 0, queue: 0);
            },
            async backEnd => _ = await queue!.Bridge.WriteMemory(0, 0, 0, RegisterMap.Bar.VirtioDevice + 0x20, [0xA5]));
    }

    /// <summary>Block read of two sectors.</summary>
    public static void BlockRead(Scenario s)
    {
        s.Show("dma_inst.issue_inst.state_q", "dma_inst.drain_inst.state_q");
        Play(s, async queue =>
        {
            await Block(queue, type: 0, sector: 3, new MockBuffer(Data + 0x1003, 2 * SectorBytes, true));
            Assert.That(await Read(queue, Data + 0x1003, 2 * SectorBytes), Is.EqualTo(Disk()[(3 * SectorBytes)..(5 * SectorBytes)]));
        });
    }

    /// <summary>Block write of a sector.</summary>
    public static void BlockWrite(Scenario s)
    {
        s.Show("dma_inst.issue_inst.state_q", "dma_inst.drain_inst.state_q");
        Play(s, async queue =>
        {
            await queue.Bridge.WriteHostMemory(0, Data + 0x1001, Disk().AsMemory(0, SectorBytes));
            await Block(queue, type: 1, sector: 5, new MockBuffer(Data + 0x1001, SectorBytes, false));
            Assert.That(queue.Disk[(5 * SectorBytes)..(6 * SectorBytes)], Is.EqualTo(Disk()[..SectorBytes]));
        });
    }

    /// <summary>Flush, GET_ID, and a type that the device does not know.</summary>
    public static void BlockFlushAndGetId(Scenario s)
    {
        s.Show("functions_inst.notify_mark", "backend_inst.bell_mark", "p0_irq_valid", "p1_irq_valid");
        Play(s, async queue =>
        {
            await Block(queue, type: 4, sector: 0);
            await Block(queue, type: 8, sector: 0, new MockBuffer(Data + 0x1000, 20, true));
            Assert.That(await Read(queue, Data + 0x1000, 20), Is.EqualTo("golden wave device..."u8[..20].ToArray()));
            await Block(queue, type: 99, sector: 0);
        });
    }

    /// <summary>Flushes around a ring of two descriptors: available and used ring wrap.</summary>
    public static void RingWrap(Scenario s)
    {
        s.Show("p0_irq_valid", "p1_irq_valid");
        Play(
            s,
            async queue =>
            {
                for (int i = 0; i < 3; i++)
                {
                    await Block(queue, type: 4, sector: 0);
                }
            },
            size: 2);
    }

    /// <summary>A network frame is sent: function 1, transmit queue.</summary>
    public static void NetSend(Scenario s)
    {
        s.Show("functions_inst.notify_mark", "dma_inst.drain_inst.state_q");
        byte[] frame = Frame(74);
        byte[]? sent = null;
        DiskQueue? queue = null;
        s.Play(
            async backEnd =>
            {
                backEnd.Serve = request =>
                {
                    sent = request.Readable;
                    return [];
                };
                await backEnd.Start();
                queue = await StartQueue(backEnd, function: 1, queue: 1);
            },
            async backEnd =>
            {
                await queue!.Bridge.WriteHostMemory(0, Data, new byte[12]);
                await queue.Bridge.WriteHostMemory(0, Data + 100, frame);
                _ = await queue.Queue.Add(new MockBuffer(Data, 12, false), new MockBuffer(Data + 100, (uint)frame.Length, false));
                await queue.Queue.Publish();
                Assert.That((await queue.Driver.NextUsed(queue.Queue)).Length, Is.Zero);
                Assert.That(sent![12..], Is.EqualTo(frame));
            });
    }

    /// <summary>A network frame comes in: function 1, receive queue; the buffer was there before.</summary>
    public static void NetReceive(Scenario s)
    {
        s.Show("backend_inst.bell_mark", "dma_inst.drain_inst.state_q", "p0_irq_valid");
        byte[] frame = Frame(86);
        MockRequest? waiting = null;
        DiskQueue? queue = null;
        s.Play(
            async backEnd =>
            {
                backEnd.Serve = request =>
                {
                    waiting = request;
                    return null;
                };
                await backEnd.Start();
                queue = await StartQueue(backEnd, function: 1, queue: 0);
                _ = await queue.Queue.Add(new MockBuffer(Data + 2, 1526, true));
                await queue.Queue.Publish();
            },
            async backEnd =>
            {
                await queue!.Bridge.WriteHostMemory(1, waiting!.Writable, frame);
                await backEnd.PushUsed(1, 0, waiting.Head, (uint)frame.Length);
                Assert.That((await queue.Driver.NextUsed(queue.Queue)).Length, Is.EqualTo(frame.Length));
                Assert.That(await Read(queue, Data + 2, frame.Length), Is.EqualTo(frame));
            });
    }

    /// <summary>The driver resets the device while a request is with the back end.</summary>
    public static void ResetWithRequestInFlight(Scenario s)
    {
        s.Show("functions_inst.state", "functions_inst.reset_pending", "backend_inst.f2h_length");
        DiskQueue? queue = null;
        s.Play(
            async backEnd =>
            {
                backEnd.Serve = _ => null;
                await backEnd.Start();
                queue = await StartQueue(backEnd, function: 0, queue: 0);
                _ = await queue.Queue.Add(new MockBuffer(Data, 16, false), new MockBuffer(Data + 64, 1, true));
                await queue.Queue.Publish();
            },
            async backEnd =>
            {
                await queue!.Driver.Reset();
                await queue.Driver.WriteStatus(VirtioStatus.Acknowledge);
                Assert.That(await queue.Driver.ReadStatus(), Is.EqualTo(1));
            });
    }

    private static byte[] Disk() => [.. Enumerable.Range(0, 8 * SectorBytes).Select(i => (byte)((i * 7) ^ (i >> 8)))];

    private static byte[] Frame(int length) => [.. Enumerable.Range(0, length).Select(i => (byte)(i * 3))];

    private static async Task<byte[]> Read(DiskQueue queue, ulong address, int length) => await queue.Bridge.ReadHostMemory(0, address, length);

    private static void Play(Scenario s, Func<DiskQueue, Task> script, ushort size = 16)
    {
        DiskQueue? queue = null;
        s.Play(
            async backEnd =>
            {
                await backEnd.Start();
                queue = await StartQueue(backEnd, function: 0, queue: 0, size);
                backEnd.Serve = queue.Serve;
            },
            _ => script(queue!));
    }

    private static async Task<DiskQueue> StartQueue(MockBackEnd backEnd, int function, ushort queue, ushort size = 16)
    {
        MockDriver driver = new(backEnd.Bridge, function);
        await driver.Enable(9);
        await driver.Reset();
        await driver.Negotiate(VirtioFeatures.RingEventIdx);
        MockQueue ring = await driver.AddQueue(queue, size, Rings);
        await driver.DriverOk();
        return new DiskQueue(backEnd.Bridge, driver, ring);
    }

    /// <summary>One request of virtio block: header, data, status; 0 unless the type is unknown.</summary>
    private static async Task Block(DiskQueue queue, uint type, ulong sector, params MockBuffer[] data)
    {
        const ulong Status = Data + 0x800;
        byte[] header = new byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(header, type);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(8), sector);
        await queue.Bridge.WriteHostMemory(0, Data, header);
        await queue.Bridge.WriteHostMemory(0, Status, new byte[] { 0xFF });
        _ = await queue.Queue.Add([new MockBuffer(Data, 16, false), .. data, new MockBuffer(Status, 1, true)]);
        await queue.Queue.Publish();
        _ = await queue.Driver.NextUsed(queue.Queue);
        Assert.That((await Read(queue, Status, 1))[0], Is.EqualTo(type == 99 ? 2 : 0));
    }

    /// <summary>A queue, its driver, and a disk of eight sectors behind it.</summary>
    private sealed record DiskQueue(Bridge Bridge, MockDriver Driver, MockQueue Queue)
    {
        public byte[] Disk { get; } = BridgeWaves.Disk();

        public byte[]? Serve(MockRequest request)
        {
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(request.Readable);
            int at = (int)BinaryPrimitives.ReadUInt64LittleEndian(request.Readable.AsSpan(8)) * SectorBytes;
            switch (type)
            {
                case 0:
                    return [.. Disk.AsSpan(at, (int)request.WritableLength - 1), 0];
                case 1:
                    request.Readable.AsSpan(16).CopyTo(Disk.AsSpan(at));
                    return [0];
                case 4:
                    return [0];
                case 8:
                    return [.. "golden wave device..."u8[..20], 0];
                default:
                    return [2];
            }
        }
    }
}
