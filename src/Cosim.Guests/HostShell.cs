// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text.RegularExpressions;

namespace Cosim.Guests;

/// <summary>What 'ping' counted.</summary>
/// <param name="Sent">Echo requests sent.</param>
/// <param name="Received">Replies that came.</param>
/// <param name="AverageMilliseconds">Mean round-trip time; 0 when no reply came.</param>
public readonly record struct PingResult(int Sent, int Received, double AverageMilliseconds);

/// <summary>What a network interface has counted, as its host sees it.</summary>
/// <param name="ReceivedPackets">Packets received; one that is yet to be segmented counts as one.</param>
/// <param name="ReceivedBytes">Their bytes.</param>
/// <param name="SentPackets">Packets sent.</param>
/// <param name="SentBytes">Their bytes.</param>
public readonly record struct InterfaceCounts(long ReceivedPackets, long ReceivedBytes, long SentPackets, long SentBytes);

/// <summary>What is done in either host, with results as values. All calls throw <see cref="GuestException"/> where the guest's command fails or takes too long.</summary>
public abstract partial class HostShell
{
    /// <summary>Long enough for a command that moves no data, on a slow simulator.</summary>
    protected static readonly TimeSpan Short = TimeSpan.FromSeconds(60);

    /// <summary>Commands are run there; it stays the caller's.</summary>
    protected HostShell(GuestConsole console) => Console = console;

    /// <summary>Where commands are run.</summary>
    public GuestConsole Console { get; }

    /// <summary>All PCI functions, by address.</summary>
    public async Task<IReadOnlyList<PciFunction>> ListPciFunctionsAsync(CancellationToken cancellation = default)
    {
        string output = await Console.RequireAsync("/lib/cosim/pci-devices", Short, cancellation);
        return [.. output.Split('\n').Select(Parse)];
    }

    /// <summary>Gives a network interface its address and brings it up.</summary>
    /// <param name="name">The interface.</param>
    /// <param name="address">IPv4 address and prefix length, such as <c>10.0.0.1/24</c>.</param>
    /// <param name="cancellation">Ends the wait.</param>
    public Task ConfigureInterfaceAsync(string name, string address, CancellationToken cancellation = default) =>
        Console.RequireAsync($"ip address replace {address} dev {name} && ip link set {name} up", Short, cancellation);

    /// <summary>Sends echo requests, each once the one before is answered or 10 s old, and counts the replies.</summary>
    public async Task<PingResult> PingAsync(string address, int count, TimeSpan deadline, CancellationToken cancellation = default)
    {
        // One 'ping' for all of them would wait for the last ones for two of its longest round trips only, and at least a second: on a busy
        // machine they come later, and would count as lost.
        string output = await Console.RequireAsync(
            $$"""
            i=0
            while [ $i -lt {{count}} ]; do ping -q -c 1 -W 10 {{address}} 2>&1; i=$((i + 1)); done | awk '
                / transmitted/ { sent += $1; received += $4; next }
                /^round-trip/ { split($4, times, "/"); total += times[2]; next }
                !/^$|^PING|^---/ { complaint = $0 }
                END { print sent + 0, received + 0, received ? total / received : 0, complaint }'
            """,
            deadline,
            cancellation);
        Match counts = PingCounts().Match(output);
        return counts.Success && counts.Groups[4].Length == 0
            ? new PingResult(Number(counts.Groups[1]), Number(counts.Groups[2]), double.Parse(counts.Groups[3].ValueSpan, CultureInfo.InvariantCulture))
            : throw new GuestException($"ping of {address}: {output.Trim()}");

        static int Number(Group digits) => int.Parse(digits.ValueSpan, CultureInfo.InvariantCulture);
    }

    /// <summary>What a network interface has counted since it is there.</summary>
    public async Task<InterfaceCounts> InterfaceCountsAsync(string name, CancellationToken cancellation = default)
    {
        string output = await Console.RequireAsync($"cd /sys/class/net/{name}/statistics && cat rx_packets rx_bytes tx_packets tx_bytes", Short, cancellation);
        long[] counts = [.. output.Split('\n').Select(line => long.Parse(line, CultureInfo.InvariantCulture))];
        return new InterfaceCounts(counts[0], counts[1], counts[2], counts[3]);
    }

    /// <summary>How many pairs of queues a network interface uses.</summary>
    public async Task<int> QueuePairsAsync(string name, CancellationToken cancellation = default) =>
        int.Parse(await Console.RequireAsync($"ls -d /sys/class/net/{name}/queues/rx-* | wc -l", Short, cancellation), CultureInfo.InvariantCulture);

    /// <summary>Switches a network interface on or off.</summary>
    public Task SwitchInterfaceAsync(string name, bool on, CancellationToken cancellation = default) =>
        Console.RequireAsync($"ip link set {name} {(on ? "up" : "down")}", Short, cancellation);

    /// <summary>Waits until a network interface has or lacks its carrier.</summary>
    public Task WaitForCarrierAsync(string name, bool carrier, TimeSpan deadline, CancellationToken cancellation = default) =>
        Console.RequireAsync($"until [ \"$(cat /sys/class/net/{name}/carrier)\" = {(carrier ? 1 : 0)} ]; do usleep 10000; done", deadline, cancellation);

    /// <summary>Opens a TCP port for one connection; <see cref="ReceivedSha256Async"/> tells what came.</summary>
    public Task ListenAsync(int port, CancellationToken cancellation = default) =>
        Console.RequireAsync($"/lib/cosim/transfer listen {port}", Short, cancellation);

    /// <summary>Sends random data to an open port.</summary>
    /// <returns>The data's sha256, 64 hexadecimal digits.</returns>
    public Task<string> SendAsync(string address, int port, long bytes, TimeSpan deadline, CancellationToken cancellation = default) =>
        Console.RequireAsync($"/lib/cosim/transfer send {address} {port} {bytes}", deadline, cancellation);

    /// <summary>Waits for the end of the connection to the port last opened.</summary>
    /// <returns>The sha256 of what came, 64 hexadecimal digits.</returns>
    public Task<string> ReceivedSha256Async(TimeSpan deadline, CancellationToken cancellation = default) =>
        Console.RequireAsync($"/lib/cosim/transfer received {(int)deadline.TotalSeconds}", deadline + Short, cancellation);

    internal static PciFunction Parse(string line)
    {
        string[] words = line.Trim().Split(' ');
        if (words.Length != 9)
        {
            throw new GuestException($"The guest's list of PCI functions has the line \"{line}\", which does not have 9 words.");
        }

        static string? Name(string word) => word == "-" ? null : word;
        static uint Number(string word) => uint.Parse(word.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return new PciFunction(
            words[0],
            (ushort)Number(words[1]),
            (ushort)Number(words[2]),
            Number(words[3]),
            Name(words[4]),
            Name(words[5]),
            Name(words[6]),
            int.Parse(words[7], CultureInfo.InvariantCulture),
            long.Parse(words[8], CultureInfo.InvariantCulture));
    }

    [GeneratedRegex(@"^(\d+) (\d+) ([\d.e+-]+) ?(.*)$")]
    private static partial Regex PingCounts();
}
