// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie.Internal;

/// <summary>One step of the root port's own dealings with a function.</summary>
/// <param name="Type">CfgRd0, CfgWr0 or MWr (of one DW).</param>
/// <param name="Address">Configuration register or bus address of a DW.</param>
/// <param name="ByteEnables">1st DW BE.</param>
/// <param name="Value">What is written.</param>
internal readonly record struct Step(TlpType Type, ulong Address, byte ByteEnables, uint Value)
{
    public static Step Read(int register) => new(TlpType.CfgRd0, (uint)register, 0xF, 0);

    public static Step Write(int register, byte byteEnables, uint value) => new(TlpType.CfgWr0, (uint)register, byteEnables, value);

    public static Step Memory(ulong address, uint value) => new(TlpType.MWr, address, 0xF, value);
}

/// <summary>State of one function as its root port knows it.</summary>
internal sealed class PcieFunction(int index, IPcieHost host)
{
    public int Index { get; } = index;

    public RoutingId Id { get; } = RoutingId.Fpga(index);

    public IPcieHost Host { get; } = host;

    public ConfigShadow Shadow { get; } = new();

    public VectorTable Vectors { get; } = new();

    /// <summary>Addresses of its BARs in the root port's own window.</summary>
    public ulong[] WindowAddresses { get; } = new ulong[FunctionLayout.BarCount];

    /// <summary>Null until its configuration space was walked.</summary>
    public FunctionLayout? Layout { get; set; }

    // Transactions that have not been sent completely, in order.
    public HostOperation? Head { get; private set; }

    private HostOperation? _tail;

    /// <summary>Waiting transactions that posted writes must not overtake.</summary>
    public int Barriers { get; private set; }

    /// <summary>Requests that wait for a completion.</summary>
    public int Outstanding { get; set; }

    /// <summary>Configuration writes among them: nothing is sent before they are done.</summary>
    public int ConfigWritesOutstanding { get; set; }

    public bool WaitsForTag { get; set; }

    public bool Pumping { get; set; }

    /// <summary>The root port's own dealings under way; the host's transactions wait.</summary>
    public IEnumerator<Step>? Sequence { get; set; }

    /// <summary>The transaction that ends with the sequence: the head of the queue.</summary>
    public HostOperation? SequenceOperation { get; set; }

    public bool StepTaken { get; set; }

    public bool StepInFlight { get; set; }

    public HostStatus StepStatus { get; set; }

    public uint StepData { get; set; }

    public uint StepDataOr(uint whenFailed) => StepStatus == HostStatus.Ok ? StepData : whenFailed;

    /// <summary>Memory Space is forced on, and BARs without an address stand in the window.</summary>
    public bool WindowOpen { get; set; }

    /// <summary>The FPGA was reset: what the host believes is to be written again.</summary>
    public bool RestorePending { get; set; }

    /// <summary>INTA to INTD as the messages left them; one bit each.</summary>
    public int IntxLevel { get; set; }

    public bool IntxMasked { get; set; }

    /// <summary>Max_Payload_Size in bytes.</summary>
    public int MaxPayload { get; private set; } = 128;

    // A limit that is lowered holds from the completion of the write on: until then TLPs come that were sent before it.

    /// <summary>Bytes a MWr may carry.</summary>
    public int MaxPayloadReceived { get; private set; } = 128;

    /// <summary>Bytes a MRd may ask for.</summary>
    public int MaxReadRequestReceived { get; private set; } = 512;

    /// <summary>Whether memory requests may come.</summary>
    public bool BusMasterReceived { get; private set; }

    /// <summary>The address the host gave to each memory BAR; 0: none that the FPGA can use.</summary>
    public ulong[] BarAddresses { get; } = new ulong[FunctionLayout.BarCount];

    public void Enqueue(HostOperation operation)
    {
        if (_tail is null)
        {
            Head = operation;
        }
        else
        {
            _tail.Next = operation;
        }

        _tail = operation;
        Barriers += operation.IsBarrier ? 1 : 0;
    }

    public HostOperation Dequeue()
    {
        HostOperation operation = Head!;
        Head = operation.Next;
        if (Head is null)
        {
            _tail = null;
        }

        operation.Next = null;
        Barriers -= operation.IsBarrier ? 1 : 0;
        return operation;
    }

    /// <summary>The first memory write, if only reads stand before it.</summary>
    public HostOperation? FirstWrite()
    {
        HostOperation? operation = Head;
        while (operation is { IsRead: true })
        {
            operation = operation.Next;
        }

        return operation is { Kind: OperationKind.MemoryWrite } ? operation : null;
    }

    /// <summary>Takes out a memory write that a read stands before.</summary>
    public void Remove(HostOperation write)
    {
        HostOperation before = Head!;
        while (before.Next != write)
        {
            before = before.Next!;
        }

        before.Next = write.Next;
        if (write.Next is null)
        {
            _tail = before;
        }

        write.Next = null;
    }

    /// <summary>The host has written, or a write of its is sent.</summary>
    public void UpdateLimits()
    {
        int supported = Layout?.MaxPayloadSupported ?? 128;
        MaxPayload = Math.Min(EncodedSize(5), supported);
        MaxPayloadReceived = Math.Max(MaxPayloadReceived, MaxPayload);
        MaxReadRequestReceived = Math.Max(MaxReadRequestReceived, MaxReadRequest);
        BusMasterReceived |= Shadow.BusMasterEnabled;
    }

    /// <summary>What the host has written holds in the FPGA.</summary>
    public void SettleLimits()
    {
        MaxPayloadReceived = MaxPayload;
        MaxReadRequestReceived = MaxReadRequest;
        BusMasterReceived = Shadow.BusMasterEnabled;
    }

    /// <summary>Whether the FPGA decodes the BAR at the address the host gave it, and nothing else there.</summary>
    public bool IsReachable(int bar) => Shadow.MemoryEnabled && BarAddresses[bar] != 0;

    /// <summary>Where the FPGA decodes the BAR, in the window or without.</summary>
    public ulong BusAddress(int bar) => BarAddresses[bar] != 0 ? BarAddresses[bar] : WindowAddresses[bar];

    // Without a PCI Express capability nothing but the protocol limits it.
    private int MaxReadRequest => Layout is { PcieCapability: 0 } ? Tlp.MaxPayloadBytes : EncodedSize(12);

    // 7.5.3.4: 128 bytes times a power of two; reserved encodings count as the greatest.
    private int EncodedSize(int position) => 128 << Math.Min((int)(Shadow.DeviceControl >> position) & 7, 5);
}
