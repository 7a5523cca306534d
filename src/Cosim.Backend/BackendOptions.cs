// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Net.NetworkInformation;
using Cosim.Backend.Internal;
using Cosim.VfioUser;

namespace Cosim.Backend;

/// <summary>The command line of cosim-backend.</summary>
public sealed class BackendOptions
{
    /// <summary>How it is used.</summary>
    public const string Usage = """
        cosim-backend (--pci VVVV:DDDD | --socket PATH) [--pool MIB] [--commands PIPE] DEVICE...

        The endpoint: a PCI function that vfio-pci holds (vendor and device, hexadecimal; COSIM_ENDPOINT may name its
        address), or the bridge's socket for port 1. The pool lent to the FPGA has 32 MiB unless told otherwise.

        The devices, in the order of the FPGA's functions:
          --blk FILE[,ro][,serial=TEXT][,queues=N][,block=BYTES][,physical=BYTES][,optimal=BYTES][,discard=off][,cache=through]
                                                                image file or block device
          --console [NAME=][console:]KIND:PATH,...[,window=COLUMNSxROWS]
                                                                ports; KIND is socket, pty, pipe (PATH.in, PATH.out) or file
          --rng unlimited|rate=BYTES                            random numbers, bytes a second
          --net tap=NAME[,mac=XX:XX:XX:XX:XX:XX][,mtu=N][,ip=A.B.C.D/N][,pairs=N][,speed=MBPS][,offloads=off][,merge=off]
                                                                TAP interface; pairs of queues, checksum and segmentation offloads, frames
                                                                received into several buffers. Where there is none of that name, one is made;
                                                                its own MAC address is the card's with FE for the first byte

        The pipe takes commands, one a line: the device's number, then
          capacity                                              a disk looks how large its image is now
          add PORT, remove PORT, window PORT COLUMNSxROWS       a console's port, by its name or number
        """;

    private const int DefaultPoolMiB = 32;

    private readonly List<Func<ulong, Action<string>, IDeviceBackend>> _devices = [];
    private int _nets;
    private long _poolSize = (long)DefaultPoolMiB << 20;
    private string? _socket;
    private string? _commands;
    private (ushort Vendor, ushort Device)? _function;

    /// <summary>Where the FPGA sees the pool: below 4 GiB, for shorter TLPs, and far from the range of MSI writes.</summary>
    private const ulong PoolIova = 0x4000_0000;

    /// <summary>Number of devices.</summary>
    public int DeviceCount => _devices.Count;

    /// <summary>Reads a command line.</summary>
    /// <exception cref="BackendException">Something is missing, unknown or malformed.</exception>
    public static BackendOptions Parse(IReadOnlyList<string> arguments)
    {
        BackendOptions options = new();
        for (int index = 0; index < arguments.Count; index += 2)
        {
            string name = arguments[index];
            string value = index + 1 < arguments.Count
                ? arguments[index + 1]
                : throw new BackendException($"{name} is unknown or needs a value.\n\n{Usage}");
            switch (name)
            {
                case "--pci":
                    options._function = ParseFunction(value);
                    break;
                case "--socket":
                    options._socket = value;
                    break;
                case "--pool":
                    options._poolSize = (long)ParseNumber(name, value, 2, 2048) << 20;
                    break;
                case "--commands":
                    options._commands = value;
                    break;
                case "--console":
                    options.AddConsole(value);
                    break;
                case "--rng":
                    options.AddRng(value);
                    break;
                case "--blk":
                    options.AddBlock(value);
                    break;
                case "--net":
                    options.AddNet(value);
                    break;
                default:
                    throw new BackendException($"{name} is unknown.\n\n{Usage}");
            }
        }

        if (options._socket is null == options._function is null)
        {
            throw new BackendException($"One of --pci and --socket has to be given.\n\n{Usage}");
        }

        return options._devices.Count > 0
            ? options
            : throw new BackendException($"No device is given.\n\n{Usage}");
    }

    /// <summary>Opens the endpoint.</summary>
    public IEndpoint OpenEndpoint() => _function is (ushort vendor, ushort device)
        ? new VfioPciEndpoint(vendor, device, _poolSize, PoolIova)
        : new SocketEndpoint(_socket!, _poolSize, PoolIova);

    /// <summary>Makes the pipe that takes commands for the devices, if one was asked for.</summary>
    /// <exception cref="BackendException">It cannot be made.</exception>
    public IDisposable? OpenCommands(EventLoop loop, IReadOnlyList<IDeviceBackend> devices, Action<string> report) =>
        _commands is null ? null : new CommandPipe(_commands, loop, devices, report);

    /// <summary>Opens the devices; those opened are closed again when one cannot be.</summary>
    public IReadOnlyList<IDeviceBackend> OpenDevices(Action<string> report)
    {
        List<IDeviceBackend> devices = [];
        try
        {
            devices.AddRange(_devices.Select(open => open((ulong)_poolSize, report)));
            return devices;
        }
        catch
        {
            devices.ForEach(device => device.Dispose());
            throw;
        }
    }

    private static (ushort Vendor, ushort Device) ParseFunction(string value)
    {
        string[] parts = value.Split(':');
        return parts.Length == 2
            && ushort.TryParse(parts[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort vendor)
            && ushort.TryParse(parts[1], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort device)
            ? (vendor, device)
            : throw new BackendException($"--pci {value}: expected vendor and device as VVVV:DDDD, hexadecimal.");
    }

    private static int ParseNumber(string name, string value, int least, int greatest) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= least && number <= greatest
            ? number
            : throw new BackendException($"{name} {value}: expected a number from {least} to {greatest}.");

    private void AddBlock(string value)
    {
        string[] parts = value.Split(',');
        BlockOptions block = new() { Path = parts[0] };
        foreach (string part in parts.Skip(1))
        {
            string text = part[(part.IndexOf('=', StringComparison.Ordinal) + 1)..];
            block = part[..^text.Length] switch
            {
                "" when text == "ro" => block with { ReadOnly = true },
                "serial=" => block with { Serial = text },
                "queues=" => block with { Queues = ParseNumber("--blk queues", text, 1, 64) },
                "block=" => block with { LogicalBlockSize = ParseNumber("--blk block", text, 512, 65536) },
                "physical=" => block with { PhysicalBlockSize = ParseNumber("--blk physical", text, 512, 1 << 20) },
                "optimal=" => block with { OptimalSize = ParseNumber("--blk optimal", text, 0, 1 << 30) },
                "discard=" when text is "on" or "off" => block with { Discard = text == "on" },
                "cache=" when text is "back" or "through" => block with { WriteThrough = text == "through" },
                _ => throw new BackendException(
                    $"--blk {value}: {part} is unknown, expected ro, serial=TEXT, queues=N, block=BYTES, physical=BYTES, optimal=BYTES, discard=on|off or cache=back|through."),
            };
        }

        _devices.Add((pool, report) => new BlockBackend(block, pool, report));
    }

    private void AddConsole(string value)
    {
        const ushort columns = 80;
        const ushort rows = 24;
        (ushort Columns, ushort Rows) window = (columns, rows);
        List<ConsolePortOptions> ports = [];
        foreach (string part in value.Split(','))
        {
            int equals = part.IndexOf('=', StringComparison.Ordinal);
            string name = part[..Math.Max(equals, 0)];
            string end = part[(equals + 1)..];
            if (name == "window" && ConsoleBackend.TryParseWindow(end, out window.Columns, out window.Rows))
            {
                continue;
            }

            const string console = "console:";
            bool isConsole = end.StartsWith(console, StringComparison.Ordinal);
            end = isConsole ? end[console.Length..] : end;
            int colon = end.IndexOf(':', StringComparison.Ordinal);
            ConsolePortKind? kind = end[..Math.Max(colon, 0)] switch
            {
                "socket" => ConsolePortKind.Socket,
                "pty" => ConsolePortKind.Pty,
                "pipe" => ConsolePortKind.Pipe,
                "file" => ConsolePortKind.File,
                _ => null,
            };
            if (kind is null || colon + 1 == end.Length)
            {
                throw new BackendException(
                    $"--console {value}: {part} is malformed, expected [NAME=][console:]KIND:PATH, where KIND is socket, pty, pipe or file, or window=COLUMNSxROWS.");
            }

            ports.Add(new ConsolePortOptions(name, kind.Value, end[(colon + 1)..], isConsole));
        }

        _devices.Add((_, report) => new ConsoleBackend(ports, window.Columns, window.Rows, report));
    }

    private void AddRng(string value)
    {
        const string rate = "rate=";
        long bytes = value == "unlimited" ? 0
            : value.StartsWith(rate, StringComparison.Ordinal) ? ParseNumber("--rng rate", value[rate.Length..], 1, int.MaxValue)
            : throw new BackendException($"--rng {value}: expected unlimited or rate=BYTES.");
        _devices.Add((_, report) => new RngBackend(bytes, report));
    }

    private void AddNet(string value)
    {
        NetOptions net = new() { Tap = string.Empty };
        foreach (string part in value.Split(','))
        {
            int equals = part.IndexOf('=', StringComparison.Ordinal);
            string name = equals < 0 ? part : part[..equals];
            string text = part[(equals + 1)..];
            net = name switch
            {
                "tap" => net with { Tap = text },
                "ip" => net with { Address = text },
                "mtu" => net with { Mtu = ParseNumber("--net mtu", text, NetOptions.MinMtu, NetOptions.MaxMtu) },
                "pairs" => net with { QueuePairs = ParseNumber("--net pairs", text, 1, NetOptions.MaxQueuePairs) },
                "speed" => net with { SpeedMbps = ParseNumber("--net speed", text, 0, NetOptions.MaxSpeedMbps) },
                "offloads" when text is "on" or "off" => net with { Offloads = text == "on" },
                "merge" when text is "on" or "off" => net with { MergedBuffers = text == "on" },
                "mac" when PhysicalAddress.TryParse(text, out PhysicalAddress? parsed) => net with { Mac = parsed },
                _ => throw new BackendException(
                    $"--net {value}: {part} is unknown or malformed, expected tap=, mac=, mtu=, ip=, pairs=, speed=, offloads=on|off or merge=on|off."),
            };
        }

        if (net.Tap.Length == 0)
        {
            throw new BackendException($"--net {value}: tap=NAME is missing.");
        }

        _nets++;
        _devices.Add((pool, report) => new NetBackend(net, pool / (ulong)_nets, report));
    }
}
