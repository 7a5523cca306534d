// SPDX-License-Identifier: Apache-2.0
using System.Diagnostics;

namespace Cosim.Guests;

/// <summary>The block job: an ext4 file system and one file of random data on it.</summary>
/// <param name="Device">The disk, such as <c>/dev/vda</c>.</param>
/// <param name="FileBytes">Size of the file; at most half of the guest's memory, where it is made.</param>
/// <param name="Journal">The file system has a journal.</param>
/// <param name="Deadline">How long each step may take.</param>
public sealed record BlockJob(string Device, long FileBytes, bool Journal, TimeSpan Deadline);

/// <summary>What the block job came to.</summary>
/// <param name="WrittenSha256">Of the data as it was written, 64 hexadecimal digits.</param>
/// <param name="ReadSha256">Of the file as it was read after the disk was mounted anew.</param>
/// <param name="Format">Time that mkfs.ext4 took.</param>
/// <param name="Write">Time that mounting, writing, syncing and unmounting took.</param>
/// <param name="Read">Time that mounting anew and reading took.</param>
public sealed record BlockJobResult(string WrittenSha256, string ReadSha256, TimeSpan Format, TimeSpan Write, TimeSpan Read);

/// <summary>What is done in host 1, the one that uses the devices.</summary>
public sealed class HostOneShell : HostShell
{
    /// <summary>Commands are run there; it stays the caller's.</summary>
    public HostOneShell(GuestConsole console)
        : base(console)
    {
    }

    /// <summary>Makes a file system, writes a file, unmounts, mounts again and reads the file.</summary>
    /// <param name="job">Where and how much.</param>
    /// <param name="progress">Told each step as it begins.</param>
    /// <param name="cancellation">Ends the wait.</param>
    /// <exception cref="GuestException">A step fails, an I/O error of the disk included, or takes too long.</exception>
    public async Task<BlockJobResult> RunBlockJobAsync(BlockJob job, IProgress<string>? progress = null, CancellationToken cancellation = default)
    {
        progress?.Report($"mkfs.ext4 {job.Device}");
        long begin = Stopwatch.GetTimestamp();
        string options = job.Journal ? "" : " -O ^has_journal";
        await Console.RequireAsync($"/lib/cosim/block format {job.Device}{options}", job.Deadline, cancellation);
        long formatted = Stopwatch.GetTimestamp();
        progress?.Report($"writing {job.FileBytes} bytes to {job.Device}");
        string written = await Console.RequireAsync($"/lib/cosim/block write {job.Device} {job.FileBytes}", job.Deadline, cancellation);
        long done = Stopwatch.GetTimestamp();
        progress?.Report($"reading {job.FileBytes} bytes from {job.Device}");
        string read = await Console.RequireAsync($"/lib/cosim/block check {job.Device}", job.Deadline, cancellation);
        return new BlockJobResult(
            written,
            read,
            Stopwatch.GetElapsedTime(begin, formatted),
            Stopwatch.GetElapsedTime(formatted, done),
            Stopwatch.GetElapsedTime(done));
    }
}
