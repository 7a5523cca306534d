// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;

namespace Cosim.Pcie.Tests;

/// <summary>
/// An FPGA of functions with configuration space and two BARs of plain memory. It answers a TLP when <see cref="Step"/> is
/// called, so that a test decides what happens in between; every TLP it is given is kept.
/// </summary>
internal sealed class FakeFpga : ITlpLink
{
    public const int BarBytes = 0x4000;
    public const int Pcie = 0x40;
    public const int Msix = 0x80;
    public const int Vectors = 4;

    private readonly byte[] _answer = new byte[Tlp.MaxBytes];
    private int _next;

    public FakeFpga(int functions)
    {
        Functions = new Function[functions];
        for (int i = 0; i < functions; i++)
        {
            Functions[i] = new Function();
        }
    }

    public Function[] Functions { get; }

    public RootPort Port { get; set; } = null!;

    public ulong Cycle { get; set; } = 1000;

    /// <summary>TLPs given, as people read them.</summary>
    public List<string> Log { get; } = [];

    public List<(byte[] Bytes, ulong NotBefore)> Sent { get; } = [];

    /// <summary>Memory reads are left for <see cref="AnswerRead"/>.</summary>
    public bool HoldReads { get; set; }

    /// <summary>Configuration requests are never answered.</summary>
    public bool Mute { get; set; }

    /// <summary>Configuration requests yet to be answered with CRS.</summary>
    public int Retries { get; set; }

    public List<byte[]> HeldReads { get; } = [];

    public void ForgetTaken() => _next = Sent.Count;

    public void Send(ReadOnlySpan<byte> tlp, ulong notBefore)
    {
        Sent.Add((tlp.ToArray(), notBefore));
        Log.Add(TlpFormatter.Format(tlp));
    }

    /// <summary>Takes all TLPs that wait, and those that come of them.</summary>
    public void Drain()
    {
        while (Step())
        {
        }
    }

    /// <summary>Takes one TLP.</summary>
    public bool Step()
    {
        if (_next == Sent.Count)
        {
            return false;
        }

        Cycle++;
        byte[] packet = Sent[_next++].Bytes;
        if (!Tlp.TryParse(packet, out Tlp tlp, out string? malformed))
        {
            throw new InvalidDataException(malformed);
        }

        switch (tlp.Type)
        {
            case TlpType.CfgRd0 or TlpType.CfgWr0:
                Configure(tlp);
                break;
            case TlpType.MRd when HoldReads:
                HeldReads.Add(packet);
                break;
            case TlpType.MRd:
                AnswerRead(packet);
                break;
            case TlpType.MWr:
                (Function? function, int bar, int offset) = Decode(tlp.Address);
                for (int i = 0; i < tlp.Payload.Length && function is not null; i++)
                {
                    int enables = i < 4 ? tlp.FirstByteEnables : tlp.LastByteEnables;
                    if ((enables >> (i & 3) & 1) != 0)
                    {
                        function.Bars[bar][offset + i] = tlp.Payload[i];
                    }
                }

                break;
            default:
                break;
        }

        return true;
    }

    public void AnswerRead(byte[] packet)
    {
        _ = Tlp.TryParse(packet, out Tlp tlp, out _);
        (Function? function, int bar, int offset) = Decode(tlp.Address);
        RoutingId completer = RoutingId.Fpga(function is null ? 0 : Array.IndexOf(Functions, function));
        int length = function is null
            ? TlpWriter.Completion(_answer, completer, CompletionStatus.UnsupportedRequest, tlp.RequesterId, tlp.Tag, tlp.RequestBytes)
            : TlpWriter.CompletionData(
                _answer,
                completer,
                tlp.RequesterId,
                tlp.Tag,
                tlp.RequestBytes,
                (byte)(tlp.ByteAddress & 0x7F),
                function.Bars[bar].AsSpan(offset + (int)(tlp.ByteAddress & 3), tlp.RequestBytes));
        Port.Receive(_answer.AsSpan(0, length), Cycle);
    }

    private (Function? Function, int Bar, int Offset) Decode(ulong address)
    {
        foreach (Function function in Functions)
        {
            for (int bar = 0; bar < 2 && (function.Register(4) & 2) != 0; bar++)
            {
                ulong start = function.Register(0x10 + (4 * bar));
                if (address >= start && address < start + BarBytes)
                {
                    return (function, bar, (int)(address - start));
                }
            }
        }

        return default;
    }

    private void Configure(in Tlp tlp)
    {
        if (Mute)
        {
            return;
        }

        int index = tlp.TargetId.Function;
        int length;
        if (index >= Functions.Length)
        {
            length = TlpWriter.Completion(_answer, tlp.TargetId, CompletionStatus.UnsupportedRequest, tlp.RequesterId, tlp.Tag);
        }
        else if (Retries > 0)
        {
            Retries--;
            length = TlpWriter.Completion(_answer, tlp.TargetId, CompletionStatus.ConfigurationRequestRetry, tlp.RequesterId, tlp.Tag);
        }
        else if (tlp.Type == TlpType.CfgRd0)
        {
            length = TlpWriter.CompletionData(
                _answer, tlp.TargetId, tlp.RequesterId, tlp.Tag, 4, 0, Functions[index].Space.AsSpan(tlp.ConfigRegister, 4));
        }
        else
        {
            Functions[index].Write(tlp.ConfigRegister, tlp.FirstByteEnables, BinaryPrimitives.ReadUInt32LittleEndian(tlp.Payload));
            length = TlpWriter.Completion(_answer, tlp.TargetId, CompletionStatus.SuccessfulCompletion, tlp.RequesterId, tlp.Tag);
        }

        Port.Receive(_answer.AsSpan(0, length), Cycle);
    }

    internal sealed class Function
    {
        private readonly uint[] _writable = new uint[1024];

        public Function() => Reset();

        public byte[] Space { get; } = new byte[4096];

        public byte[][] Bars { get; } = [new byte[BarBytes], new byte[BarBytes]];

        public int Resets { get; private set; }

        public uint Register(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(Space.AsSpan(offset));

        public void Set(int offset, uint value, uint writable = 0)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(Space.AsSpan(offset), value);
            _writable[offset / 4] = writable;
        }

        public void Write(int offset, byte byteEnables, uint value)
        {
            uint mask = _writable[offset / 4];
            for (int lane = 0; lane < 4; lane++)
            {
                mask &= (byteEnables >> lane & 1) != 0 ? uint.MaxValue : ~(0xFFu << (8 * lane));
            }

            if (offset == Pcie + 8 && (byteEnables & 2) != 0 && (value & 0x8000) != 0)
            {
                Resets++;
                Reset();
                return;
            }

            BinaryPrimitives.WriteUInt32LittleEndian(Space.AsSpan(offset), (Register(offset) & ~mask) | (value & mask));
        }

        public void Reset()
        {
            Array.Clear(Bars[1]);
            Set(0x00, 0x5101_0C05);
            Set(0x04, 0x0010_0000, 0x0000_0407);
            Set(0x08, 0xFF00_0001);
            Set(0x0C, 0, 0xFF);
            Set(0x10, 0, ~(uint)(BarBytes - 1));
            Set(0x14, 0, ~(uint)(BarBytes - 1));
            Set(0x34, Pcie);
            Set(0x3C, 0x100, 0xFF);
            Set(Pcie, 0x0002_0010 | (Msix << 8));
            Set(Pcie + 4, 0x1000_8001);
            Set(Pcie + 8, 0x2810, 0x7FFF);
            Set(Msix, 0x0000_0011 | ((Vectors - 1) << 16), 0xC000_0000);
            Set(Msix + 4, 1);
            Set(Msix + 8, 0x2001);
            for (int vector = 0; vector < Vectors; vector++)
            {
                Bars[1][(16 * vector) + 12] = 1;
            }
        }

        public uint TableEntry(int vector, int dword) =>
            BinaryPrimitives.ReadUInt32LittleEndian(Bars[1].AsSpan((16 * vector) + (4 * dword)));
    }
}
