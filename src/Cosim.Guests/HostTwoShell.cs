// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Guests;

/// <summary>What is done in host 2, the one that serves the devices.</summary>
public sealed class HostTwoShell : HostShell
{
    /// <summary>Commands are run there; it stays the caller's.</summary>
    public HostTwoShell(GuestConsole console)
        : base(console)
    {
    }

    /// <summary>Mounts a disk read only and hashes the block job's file on it.</summary>
    /// <returns>The file's sha256, 64 hexadecimal digits.</returns>
    public Task<string> BlockJobSha256Async(string device, TimeSpan deadline, CancellationToken cancellation = default) =>
        Console.RequireAsync($"/lib/cosim/block check {device}", deadline, cancellation);

    /// <summary>PCI address of the back-end endpoint that vfio-pci holds; null when there is none.</summary>
    public async Task<string?> EndpointAsync(CancellationToken cancellation = default)
    {
        string output = await Console.RequireAsync("[ ! -e /run/cosim/endpoint ] || cat /run/cosim/endpoint", Short, cancellation);
        return output.Length == 0 ? null : output.Split('\n')[0];
    }

    /// <summary>Bytes of the hugepages that are set aside and not in use.</summary>
    public async Task<long> FreeHugepageBytesAsync(CancellationToken cancellation = default)
    {
        const string pages = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
        return long.Parse(await Console.RequireAsync($"cat {pages}", Short, cancellation), System.Globalization.CultureInfo.InvariantCulture) << 21;
    }

    /// <summary>Whether the back end is running.</summary>
    public async Task<bool> IsBackEndRunningAsync(CancellationToken cancellation = default) =>
        (await Console.RunAsync("kill -0 $(cat /run/cosim/backend.pid)", Short, cancellation)).ExitStatus == 0;

    /// <summary>Kills the back end, if it runs, and waits until it is gone.</summary>
    public Task KillBackEndAsync(CancellationToken cancellation = default) =>
        Console.RequireAsync("pid=$(cat /run/cosim/backend.pid) && kill -KILL $pid; while kill -0 $pid; do usleep 10000; done; true", Short, cancellation);

    /// <summary>Starts the back end anew after it has ended.</summary>
    public Task StartBackEndAsync(CancellationToken cancellation = default) =>
        Console.RequireAsync("setsid /lib/cosim/backend </dev/null >/dev/null 2>&1 &", Short, cancellation);
}
