// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>What passed a root port since it was made. Any thread may read; only the root port's own thread counts.</summary>
public sealed class RootPortCounters
{
    private readonly ulong[] _sent = new ulong[Enum.GetValues<TlpType>().Length];
    private readonly ulong[] _received = new ulong[Enum.GetValues<TlpType>().Length];

    /// <summary>TLPs to the FPGA.</summary>
    public ulong TlpsSent { get; private set; }

    /// <summary>TLPs from the FPGA, malformed ones included.</summary>
    public ulong TlpsReceived { get; private set; }

    /// <summary>Payload bytes to the FPGA, padding of DWs included.</summary>
    public ulong BytesSent { get; private set; }

    /// <summary>Payload bytes from the FPGA, padding of DWs included.</summary>
    public ulong BytesReceived { get; private set; }

    /// <summary>MSI-X interrupts that reached the host.</summary>
    public ulong MsixInterrupts { get; internal set; }

    /// <summary>INTx triggers that reached the host.</summary>
    public ulong IntxInterrupts { get; internal set; }

    /// <summary>Malformed or poisoned TLPs from the FPGA, and completions that do not fit their request.</summary>
    public ulong Malformed { get; internal set; }

    /// <summary>Completions from the FPGA that no request waits for.</summary>
    public ulong UnexpectedCompletions { get; internal set; }

    /// <summary>Requests from the FPGA that were answered UR or dropped for what they are or whom they come from.</summary>
    public ulong Unsupported { get; internal set; }

    /// <summary>Accesses of the FPGA to memory that the host refused or that faulted.</summary>
    public ulong DmaErrors { get; internal set; }

    /// <summary>Requests to the FPGA that timed out.</summary>
    public ulong Timeouts { get; internal set; }

    /// <summary>Requests to the FPGA that were answered UR or CA.</summary>
    public ulong RequestErrors { get; internal set; }

    /// <summary>TLPs of one type to the FPGA.</summary>
    public ulong Sent(TlpType type) => _sent[(int)type];

    /// <summary>TLPs of one type from the FPGA.</summary>
    public ulong Received(TlpType type) => _received[(int)type];

    internal void CountSent(TlpType type, int bytes)
    {
        _sent[(int)type]++;
        TlpsSent++;
        BytesSent += (uint)(bytes - Tlp.HeaderBytes);
    }

    internal void CountReceived(in Tlp tlp)
    {
        _received[(int)tlp.Type]++;
        TlpsReceived++;
        BytesReceived += (uint)tlp.Payload.Length;
    }

    internal void CountMalformed()
    {
        TlpsReceived++;
        Malformed++;
    }
}
