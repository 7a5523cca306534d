// SPDX-License-Identifier: Apache-2.0
using Cosim.Pcie;

namespace Cosim.Fpga.Tests.Driver;

/// <summary>One packet that left the FPGA, in the order of leaving.</summary>
internal sealed record Output(int Index, int Port, ulong Cycle, byte[] Bytes)
{
    public bool IsData => Port == 2 ? Bytes.Length > 32 : Bytes.Length > 16;

    public override string ToString() =>
        Port == 2 ? $"@{Cycle} p2 {Convert.ToHexString(Bytes.AsSpan(0, 32))}" : $"@{Cycle} p{Port} {TlpFormatter.Format(Bytes)}";
}

/// <summary>The answer to a root port's request.</summary>
internal sealed record Answer(Output Output, CompletionStatus Status, RoutingId Completer, int ByteCount, byte LowerAddress, byte[] Payload)
{
    public uint Dword => BitConverter.ToUInt32(Payload);
}

/// <summary>An event or answer of the management port.</summary>
internal sealed record ManagementPacket(Output Output, uint Opcode, int Status, int Tag, uint Length, uint Dw2, uint Dw3, uint Dw4, byte[] Payload)
{
    public int Port => (int)(Dw2 & 0xF);

    public int Function => (int)((Dw2 >> 8) & 0xFF);

    public (uint Opcode, int Port, int Function, uint Dw3, uint Dw4) Event => (Opcode, Port, Function, Dw3, Dw4);
}

/// <summary>An interrupt: a write into 0xFEExxxxx, or an INTx message.</summary>
internal sealed record InterruptSignal(Output Output, int Function, ulong Address, uint Data, MessageCode? Message);
