// SPDX-License-Identifier: Apache-2.0
namespace Cosim.VfioUser;

/// <summary>UNIX error numbers, as Linux numbers them, that a reply's Error field can carry.</summary>
public enum Errno
{
    /// <summary>No error.</summary>
    None = 0,

    /// <summary>Not permitted.</summary>
    EPERM = 1,

    /// <summary>No such entry.</summary>
    ENOENT = 2,

    /// <summary>Input/output error: the device did not carry the access out.</summary>
    EIO = 5,

    /// <summary>Try again.</summary>
    EAGAIN = 11,

    /// <summary>Out of memory.</summary>
    ENOMEM = 12,

    /// <summary>Access not allowed.</summary>
    EACCES = 13,

    /// <summary>Bad address: the memory cannot be reached.</summary>
    EFAULT = 14,

    /// <summary>The range is already mapped.</summary>
    EEXIST = 17,

    /// <summary>No device: nothing is at that address.</summary>
    ENODEV = 19,

    /// <summary>Malformed request.</summary>
    EINVAL = 22,

    /// <summary>No room for another mapping.</summary>
    ENOSPC = 28,

    /// <summary>Peer gone while sending.</summary>
    EPIPE = 32,

    /// <summary>Well formed, but not offered here.</summary>
    ENOTSUP = 95,

    /// <summary>Address in use.</summary>
    EADDRINUSE = 98,

    /// <summary>Connection reset by peer.</summary>
    ECONNRESET = 104,

    /// <summary>Not connected.</summary>
    ENOTCONN = 107,

    /// <summary>No answer in time.</summary>
    ETIMEDOUT = 110,

    /// <summary>Nobody listens.</summary>
    ECONNREFUSED = 111,
}
