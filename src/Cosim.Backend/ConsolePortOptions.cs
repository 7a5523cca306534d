// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend;

/// <summary>What a port of a virtio-console device is connected to in host 2.</summary>
public enum ConsolePortKind
{
    /// <summary>A UNIX socket on which one client at a time is served; the port is open to host 1 while there is one.</summary>
    Socket,

    /// <summary>A pseudo-terminal; the path becomes a link to it.</summary>
    Pty,

    /// <summary>Two named pipes, with <c>.in</c> and <c>.out</c> after the path: what goes to host 1, and what comes from it.</summary>
    Pipe,

    /// <summary>A file that what host 1 writes is added to; nothing comes from it.</summary>
    File,
}

/// <summary>One port of a virtio-console device (virtio 1.3, 5.3).</summary>
/// <param name="Name">What host 1 calls it, <c>/dev/virtio-ports/NAME</c>; none when empty. At most 64 bytes of UTF-8.</param>
/// <param name="Kind">What it is connected to.</param>
/// <param name="Path">Where that is.</param>
/// <param name="IsConsole">A terminal of host 1's, <c>/dev/hvcN</c>. What nobody takes from it is dropped after a second, since a console's driver waits.</param>
public sealed record ConsolePortOptions(string Name, ConsolePortKind Kind, string Path, bool IsConsole = false);
