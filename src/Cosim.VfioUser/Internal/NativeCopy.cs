// SPDX-License-Identifier: Apache-2.0
using System.Runtime.InteropServices;

namespace Cosim.VfioUser.Internal;

/// <summary>The copies of native/guest_memory.c, which survive SIGBUS on the guest side. Loading the library installs its handler.</summary>
internal static unsafe partial class NativeCopy
{
    private const string Library = "libcosim_memory.so";

    /// <summary>Guest to local; 0, or 1 after a fault.</summary>
    [LibraryImport(Library, EntryPoint = "cosim_memory_read")]
    internal static partial int Read(byte* local, byte* guest, nuint length);

    /// <summary>Local to guest; 0, or 1 after a fault.</summary>
    [LibraryImport(Library, EntryPoint = "cosim_memory_write")]
    internal static partial int Write(byte* local, byte* guest, nuint length);
}
