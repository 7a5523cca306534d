// SPDX-License-Identifier: Apache-2.0
using NUnit.Framework;

namespace Cosim.Pcie.Tests;

/// <summary>Nothing is allocated per TLP once a root port is warm.</summary>
public class RootPortAllocationTests
{
    private const int Rounds = 2000;

    [Test]
    public void DataPath_Warm_AllocatesNothing()
    {
        Silent side = new();
        RootPort port = new(new RootPortOptions(), side, [side], side);
        side.Port = port;
        port.ConfigWrite(0, 0x10, [0, 0, 0, 0xFE], 0);
        side.Drain();
        port.ConfigWrite(0, 0x14, [0, 0, 0x10, 0xFE], 0);
        side.Drain();
        port.ConfigWrite(0, 0x04, [6, 0], 0);
        side.Drain();
        port.ArmVectors(0, 0, 2);
        side.Drain();
        byte[] data = new byte[256];
        byte[] write = new byte[Tlp.MaxBytes];
        byte[] read = new byte[Tlp.MaxBytes];
        byte[] interrupt = new byte[Tlp.MaxBytes];
        byte[] message = new byte[Tlp.MaxBytes];
        int writeLength = TlpWriter.MemoryWrite(write, RoutingId.Fpga(0), 0, 0x1003, data.AsSpan(0, 120));
        int readLength = TlpWriter.MemoryRead(read, RoutingId.Fpga(0), 1, 0x1003, 500);
        int interruptLength = TlpWriter.MemoryWrite(interrupt, RoutingId.Fpga(0), 0, 0xFEE0_0000, [1, 0, 0, 0]);
        int messageLength = TlpWriter.Message(message, RoutingId.Fpga(0), MessageCode.AssertIntA);

        void Round()
        {
            port.MemoryWrite(0, 0, 0x11, data.AsSpan(0, 24), 1);
            port.MemoryRead(0, 0, 0x11, 200, 2);
            port.MemoryRead(0, 0, 0x40, 8, 3);
            port.MemoryWrite(0, 0, 0x80, data.AsSpan(0, 4), 1);
            port.ConfigRead(0, 0x0E, 8, 4);
            port.ConfigWrite(0, 0x3C, data.AsSpan(0, 1), 5);
            port.MemoryWrite(0, 0, 0x80, data.AsSpan(0, 100), 6);
            port.Receive(write.AsSpan(0, writeLength), 100);
            port.Receive(read.AsSpan(0, readLength), 100);
            port.Receive(interrupt.AsSpan(0, interruptLength), 100);
            port.Receive(message.AsSpan(0, messageLength), 100);
            port.UnmaskIntx(0);
            port.Tick(side.Cycle);
            side.Drain();
        }

        for (int i = 0; i < 10; i++)
        {
            Round();
        }

        ulong before = port.Counters.TlpsSent + port.Counters.TlpsReceived;
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < Rounds; i++)
        {
            Round();
        }

        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        ulong tlps = port.Counters.TlpsSent + port.Counters.TlpsReceived - before;
        Assert.That(tlps, Is.GreaterThan(50 * Rounds));
        Assert.That(port.IsIdle, Is.True);
        Assert.That(side.Failures, Is.Zero);
        Assert.That(allocated, Is.Zero, $"bytes over {tlps} TLPs");
    }

    /// <summary>FPGA, host and caller at once; keeps TLPs in a ring of its own and allocates nothing.</summary>
    private sealed class Silent : ITlpLink, IPcieHost, IHostCompletion
    {
        private const int Slots = 256;

        private readonly byte[] _ring = new byte[Slots * 64];
        private readonly byte[] _answer = new byte[Tlp.MaxBytes];
        private readonly byte[] _space = new FakeFpga.Function().Space;
        private readonly byte[] _zeros = new byte[8];
        private int _head;
        private int _tail;

        public RootPort Port { get; set; } = null!;

        public ulong Cycle { get; private set; } = 1;

        public int Failures { get; private set; }

        public void Send(ReadOnlySpan<byte> tlp, ulong notBefore)
        {
            _ = Tlp.TryParse(tlp, out Tlp parsed, out _);
            if (parsed.IsNonPosted)
            {
                tlp.CopyTo(_ring.AsSpan(_tail++ % Slots * 64));
            }
        }

        public void Drain()
        {
            for (; _head < _tail; _head++)
            {
                Cycle++;
                ReadOnlySpan<byte> slot = _ring.AsSpan(_head % Slots * 64);
                bool hasData = (slot[3] & 0x40) != 0;
                _ = Tlp.TryParse(slot[..(hasData ? 20 : 16)], out Tlp tlp, out _);
                RoutingId completer = RoutingId.Fpga(0);
                int length = tlp.Type switch
                {
                    TlpType.CfgWr0 => TlpWriter.Completion(_answer, completer, CompletionStatus.SuccessfulCompletion, default, tlp.Tag),
                    TlpType.CfgRd0 => TlpWriter.CompletionData(_answer, completer, default, tlp.Tag, 4, 0, Register(tlp.ConfigRegister)),
                    _ => TlpWriter.CompletionData(
                        _answer, completer, default, tlp.Tag, tlp.RequestBytes, (byte)(tlp.ByteAddress & 0x7F), _zeros.AsSpan(0, tlp.RequestBytes)),
                };
                Port.Receive(_answer.AsSpan(0, length), Cycle);
            }
        }

        public DmaStatus Read(ulong address, Span<byte> data)
        {
            data.Clear();
            return DmaStatus.Ok;
        }

        public DmaStatus Write(ulong address, ReadOnlySpan<byte> data) => DmaStatus.Ok;

        public void Fence()
        {
        }

        public void MsixInterrupt(int vector)
        {
        }

        public void Intx(bool asserted)
        {
        }

        public void Completed(ulong token, HostStatus status, ReadOnlySpan<byte> data) => Failures += status == HostStatus.Ok ? 0 : 1;

        // What a BAR of 16 KiB reads while it is sized; here always.
        private static ReadOnlySpan<byte> SizedBar => [0x00, 0xC0, 0xFF, 0xFF];

        private ReadOnlySpan<byte> Register(int offset) => offset is 0x10 or 0x14 ? SizedBar : _space.AsSpan(offset, 4);
    }
}
