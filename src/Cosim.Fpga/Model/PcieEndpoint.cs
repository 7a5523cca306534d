// SPDX-License-Identifier: Apache-2.0
using System.Buffers.Binary;
using Cosim.Pcie;

namespace Cosim.Fpga.Model;

/// <summary>The FPGA's side of one PCIe link: routes TLPs to its functions and answers them (CONTRACT.md, 2).</summary>
internal sealed class PcieEndpoint
{
    private const int RegisterAccessDwords = 2;

    private readonly ModelClock clock;
    private readonly ModelPort port;
    private readonly PciFunction[] functions;

    public PcieEndpoint(ModelClock clock, ModelPort port, int functionCount)
    {
        this.clock = clock;
        this.port = port;
        functions = new PciFunction[functionCount];
    }

    /// <summary>Number of functions.</summary>
    public int FunctionCount => functions.Length;

    /// <summary>Bus and device number as the last CfgWr0 gave them; function 0.</summary>
    public RoutingId BusDevice { get; private set; } = RoutingId.Fpga(0);

    /// <summary>Takes the completions of the FPGA's own reads.</summary>
    public DmaEngine? Requester { get; set; }

    /// <summary>The port's streams.</summary>
    public ModelPort Port => port;

    /// <summary>A function of this endpoint.</summary>
    public PciFunction this[int function]
    {
        get => functions[function];
        set => functions[function] = value;
    }

    /// <summary>Queues an output after the latency of a register access.</summary>
    public Span<byte> Emit(int length) => port.Emit(length, clock.Now + ModelClock.ProcessingCycles, out _);

    /// <summary>Takes one TLP.</summary>
    /// <param name="number">The port's number.</param>
    /// <param name="packet">Header and payload.</param>
    public void Receive(int number, ReadOnlySpan<byte> packet)
    {
        // A malformed TLP is dropped; a link would report it (2.3).
        if (!Tlp.TryParse(packet, out Tlp tlp, out _))
        {
            return;
        }

        switch (tlp.Type)
        {
            case TlpType.MRd:
                Read(tlp);
                break;
            case TlpType.MWr:
                Write(tlp);
                break;
            case TlpType.CfgRd0:
            case TlpType.CfgWr0:
                Configure(tlp);
                break;
            case TlpType.Cpl:
            case TlpType.CplD:
                Requester?.Complete(number, tlp);
                break;
            case TlpType.Msg:
            case TlpType.MsgD:
            case TlpType.CplLk:
            case TlpType.CplDLk:
                break;
            default:
                Refuse(tlp, BusDevice, CompletionStatus.UnsupportedRequest, 4, 0);
                break;
        }
    }

    /// <summary>Returns everything to its state after <c>rst_i</c>.</summary>
    public void PowerOn()
    {
        BusDevice = RoutingId.Fpga(0);
        foreach (PciFunction function in functions)
        {
            function.PowerOn();
        }
    }

    private void Read(in Tlp tlp)
    {
        int byteCount = tlp.RequestBytes;
        byte lowerAddress = ByteEnables.LowerAddress(tlp.Address, tlp.FirstByteEnables);
        if (Find(tlp.Address, out int bar, out uint offset) is not { } function)
        {
            Refuse(tlp, BusDevice, CompletionStatus.UnsupportedRequest, byteCount, lowerAddress);
            return;
        }

        if (tlp.LengthDwords > RegisterAccessDwords)
        {
            Refuse(tlp, function.Id, CompletionStatus.CompleterAbort, byteCount, lowerAddress);
            return;
        }

        Span<byte> data = stackalloc byte[RegisterAccessDwords * 4];
        data = data[..(tlp.LengthDwords * 4)];
        for (int dw = 0; dw < tlp.LengthDwords; dw++)
        {
            byte enables = dw == 0 ? tlp.FirstByteEnables : tlp.LastByteEnables;
            BinaryPrimitives.WriteUInt32LittleEndian(data[(dw * 4)..], function.ReadBar(bar, offset + (uint)(dw * 4), enables));
        }

        // Whole DWs go back, whatever bytes of them were asked for.
        int skip = ByteEnables.Offset(tlp.FirstByteEnables);
        Span<byte> packet = Emit(Tlp.HeaderBytes + data.Length);
        TlpWriter.CompletionData(packet, function.Id, tlp.RequesterId, tlp.Tag, byteCount, lowerAddress, data.Length - skip, out _);
        data.CopyTo(packet[Tlp.HeaderBytes..]);
    }

    private void Write(in Tlp tlp)
    {
        if (Find(tlp.Address, out int bar, out uint offset) is not { } function || tlp.LengthDwords > RegisterAccessDwords)
        {
            return;
        }

        for (int dw = 0; dw < tlp.LengthDwords; dw++)
        {
            byte enables = dw == 0 ? tlp.FirstByteEnables : tlp.LastByteEnables;
            function.WriteBar(bar, offset + (uint)(dw * 4), BinaryPrimitives.ReadUInt32LittleEndian(tlp.Payload[(dw * 4)..]), enables);
        }
    }

    private void Configure(in Tlp tlp)
    {
        int number = tlp.TargetId.Function;
        if (number >= functions.Length)
        {
            Refuse(tlp, tlp.TargetId, CompletionStatus.UnsupportedRequest, 4, 0);
            return;
        }

        PciFunction function = functions[number];
        if (tlp.Type == TlpType.CfgWr0)
        {
            BusDevice = new RoutingId((ushort)(tlp.TargetId.Value & 0xFFF8));
            function.WriteConfig(tlp.ConfigRegister, BinaryPrimitives.ReadUInt32LittleEndian(tlp.Payload), tlp.FirstByteEnables);
            TlpWriter.Completion(Emit(Tlp.HeaderBytes), function.Id, CompletionStatus.SuccessfulCompletion, tlp.RequesterId, tlp.Tag);
            return;
        }

        uint value = function.ReadConfig(tlp.ConfigRegister, tlp.FirstByteEnables);
        TlpWriter.CompletionData(Emit(Tlp.HeaderBytes + 4), function.Id, tlp.RequesterId, tlp.Tag, 4, 0, 4, out Span<byte> payload);
        BinaryPrimitives.WriteUInt32LittleEndian(payload, value);
    }

    private void Refuse(in Tlp tlp, RoutingId completer, CompletionStatus status, int byteCount, byte lowerAddress) =>
        TlpWriter.Completion(Emit(Tlp.HeaderBytes), completer, status, tlp.RequesterId, tlp.Tag, byteCount, lowerAddress);

    private PciFunction? Find(ulong address, out int bar, out uint offset)
    {
        foreach (PciFunction function in functions)
        {
            if (function.TryDecode(address, out bar, out offset))
            {
                return function;
            }
        }

        bar = 0;
        offset = 0;
        return null;
    }
}
