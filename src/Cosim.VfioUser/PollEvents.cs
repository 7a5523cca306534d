// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>Conditions of a descriptor, with the values of poll(2).</summary>
[Flags]
public enum PollEvents : short
{
    /// <summary>Nothing; also what a handler called by <see cref="EventRegistration.Pend"/> sees.</summary>
    None = 0,

    /// <summary>POLLIN: there is something to read.</summary>
    In = 0x1,

    /// <summary>POLLOUT: writing would not block.</summary>
    Out = 0x4,

    /// <summary>POLLERR; always reported.</summary>
    Error = 0x8,

    /// <summary>POLLHUP: the peer is gone; always reported.</summary>
    HangUp = 0x10,

    /// <summary>POLLNVAL: the descriptor is not open; always reported.</summary>
    Invalid = 0x20,
}
