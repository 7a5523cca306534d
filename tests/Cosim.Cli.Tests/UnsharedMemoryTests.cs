// SPDX-License-Identifier: Apache-2.0
using Cosim.Fpga;
using NUnit.Framework;

namespace Cosim.Cli.Tests;

/// <summary>A stock QEMU that shares no memory: every descriptor, buffer and ring is moved by DMA_READ and DMA_WRITE messages.</summary>
public sealed class UnsharedMemoryTests
{
    [Test]
    public async Task HostOne_WithoutSharedMemory_HasItsDiskAlsoAfterAReset()
    {
        await using BridgedHost hosts = await BridgedHost.StartAsync(FpgaKind.Model, shareMemory: false);
        await hosts.CheckDiskAsync();

        // The firmware resets the function, and takes its memory back, while the guest's reads are under way.
        await hosts.KeepReadingAsync();
        await hosts.ResetHostAsync();
        await hosts.CheckDiskAsync();
    }
}
