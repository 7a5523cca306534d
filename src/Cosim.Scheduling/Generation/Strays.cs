// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;

namespace Cosim.Scheduling.Generation;

/// <summary>TLPs sent behind the root port's back, with tags that it does not use.</summary>
internal sealed class Strays(SteppedBridge bridge, IReadOnlyList<PortWatch> watches, Coverage coverage)
{
    /// <summary>The first of the tags.</summary>
    public const byte FirstTag = 64;

    private const uint MsixControl = 0x80;
    private const uint NothingThere = 0xB000_0000;

    private readonly byte[] _packet = new byte[Tlp.HeaderBytes + 16];
    private byte _tag = FirstTag;

    /// <summary>Address of BAR 0.</summary>
    public static uint Bar0(int port, int function) => port == 0 ? 0xE000_0000 + ((uint)function << 20) : 0xD000_0000;

    /// <summary>Sets or clears MSI-X Function Mask, which the root port keeps to itself.</summary>
    public void MaskFunction(int function, bool masked)
    {
        watches[0].Expect(_tag, "a configuration write", CompletionStatus.SuccessfulCompletion);
        int length = TlpWriter.ConfigWrite0(_packet, RoutingId.RootPort, _tag, RoutingId.Fpga(function), (int)MsixControl, 8, masked ? 0xC000_0000 : 0x8000_0000);
        Send(0, length);
    }

    /// <summary>Sends what no host should send.</summary>
    /// <param name="port">Port.</param>
    /// <param name="function">Function of port 0 whose BAR is meant.</param>
    /// <param name="kind">What.</param>
    public void Send(int port, int function, Stray kind)
    {
        uint bar = Bar0(port, function);
        switch (kind)
        {
            case Stray.UnmappedRead:
                Request(port, 0x0000_0001, 0x0F, NothingThere, 0, CompletionStatus.UnsupportedRequest, kind);
                break;
            case Stray.LongRead:
                Request(port, 0x0000_0004, 0xFF, bar, 0, CompletionStatus.CompleterAbort, kind);
                break;
            case Stray.IoRead:
                Request(port, 0x0200_0001, 0x0F, 0x100, 0, CompletionStatus.UnsupportedRequest, kind);
                break;
            case Stray.LockedRead:
                Request(port, 0x0100_0001, 0x0F, bar, 0, CompletionStatus.UnsupportedRequest, kind);
                break;
            case Stray.AtomicOperation:
                Request(port, 0x4C00_0001, 0x0F, bar, 4, CompletionStatus.UnsupportedRequest, kind);
                break;
            case Stray.OtherFunction:
                Request(port, 0x0400_0001, 0x0F, 0x0105_0000, 0, CompletionStatus.UnsupportedRequest, kind);
                break;
            case Stray.LongWrite:
                Posted(port, 0x4000_0004, 0xFF, bar + 0x10, 16);
                break;
            case Stray.UnmappedWrite:
                Posted(port, 0x4000_0001, 0x0F, NothingThere, 4);
                break;
            case Stray.VendorMessage:
                Posted(port, 0x3400_0000, 0x7F, 0, 0);
                break;
            case Stray.UnexpectedCompletion:
                Posted(port, 0x0A00_0000, 4, 0x0100_0000 | ((uint)_tag << 8), 0);
                break;
            case Stray.UnexpectedCompletionWithData:
                Posted(port, 0x4A00_0001, 4, 0x0100_0000 | ((uint)_tag << 8), 4);
                break;
            default:
                // Length says 2 DW, one follows.
                Header(0x4000_0002, 0xFF, bar + 0x14);
                Send(port, Tlp.HeaderBytes + 4);
                coverage.Hit(CoveragePoint.MalformedDropped);
                break;
        }
    }

    private void Request(int port, uint dw0, uint enables, uint dw2, int payload, CompletionStatus status, Stray kind)
    {
        watches[port].Expect(_tag, kind.ToString(), status);
        Header(dw0, ((uint)_tag << 8) | enables, dw2);
        Send(port, Tlp.HeaderBytes + payload);
    }

    private void Posted(int port, uint dw0, uint dw1, uint dw2, int payload)
    {
        Header(dw0, dw1, dw2);
        Send(port, Tlp.HeaderBytes + payload);
        coverage.Hit(CoveragePoint.PostedDropped);
    }

    private void Header(uint dw0, uint dw1, uint dw2)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_packet, dw0);
        BinaryPrimitives.WriteUInt32LittleEndian(_packet.AsSpan(4), dw1);
        BinaryPrimitives.WriteUInt32LittleEndian(_packet.AsSpan(8), dw2);
        _packet.AsSpan(12).Clear();
    }

    private void Send(int port, int length)
    {
        bridge.Inject(port, _packet.AsSpan(0, length));
        _tag = _tag == byte.MaxValue ? FirstTag : (byte)(_tag + 1);
    }
}
