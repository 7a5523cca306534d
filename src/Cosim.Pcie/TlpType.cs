// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Pcie;

/// <summary>Kinds of TLPs, by their Fmt and Type fields (PCI Express Base Specification, 2.2.1, table of Fmt and Type encodings).</summary>
public enum TlpType : byte
{
    /// <summary>Memory read request.</summary>
    MRd,

    /// <summary>Memory write request (posted).</summary>
    MWr,

    /// <summary>Type 0 configuration read request.</summary>
    CfgRd0,

    /// <summary>Type 0 configuration write request (non-posted).</summary>
    CfgWr0,

    /// <summary>Completion without data.</summary>
    Cpl,

    /// <summary>Completion with data.</summary>
    CplD,

    /// <summary>Message without data (posted).</summary>
    Msg,

    /// <summary>Message with data (posted).</summary>
    MsgD,

    /// <summary>Locked memory read request; not used here.</summary>
    MRdLk,

    /// <summary>I/O read request; not used here.</summary>
    IORd,

    /// <summary>I/O write request (non-posted); not used here.</summary>
    IOWr,

    /// <summary>Type 1 configuration read request; not used here.</summary>
    CfgRd1,

    /// <summary>Type 1 configuration write request (non-posted); not used here.</summary>
    CfgWr1,

    /// <summary>Completion of a locked read without data; not used here.</summary>
    CplLk,

    /// <summary>Completion of a locked read with data; not used here.</summary>
    CplDLk,

    /// <summary>AtomicOp request FetchAdd, Swap or CAS (non-posted); not used here.</summary>
    AtomicOp,
}

/// <summary>Completion status (PCI Express Base Specification, 2.2.9.1).</summary>
public enum CompletionStatus : byte
{
    /// <summary>SC.</summary>
    SuccessfulCompletion = 0,

    /// <summary>UR.</summary>
    UnsupportedRequest = 1,

    /// <summary>CRS (RRS in later revisions): not ready for configuration requests yet.</summary>
    ConfigurationRequestRetry = 2,

    /// <summary>CA.</summary>
    CompleterAbort = 4,
}

/// <summary>Message codes of the INTx messages (PCI Express Base Specification, 2.2.8.1).</summary>
public enum MessageCode : byte
{
    /// <summary>Assert_INTA.</summary>
    AssertIntA = 0x20,

    /// <summary>Assert_INTB.</summary>
    AssertIntB = 0x21,

    /// <summary>Assert_INTC.</summary>
    AssertIntC = 0x22,

    /// <summary>Assert_INTD.</summary>
    AssertIntD = 0x23,

    /// <summary>Deassert_INTA.</summary>
    DeassertIntA = 0x24,

    /// <summary>Deassert_INTB.</summary>
    DeassertIntB = 0x25,

    /// <summary>Deassert_INTC.</summary>
    DeassertIntC = 0x26,

    /// <summary>Deassert_INTD.</summary>
    DeassertIntD = 0x27,
}
