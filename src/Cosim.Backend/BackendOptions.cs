// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Net.NetworkInformation;

namespace Cosim.Backend;

/// <summary>The command line of cosim-backend.</summary>
public sealed class BackendOptions
{
    /// <summary>How it is used.</summary>
    public const string Usage = """
        cosim-backend (--pci VVVV:DDDD | --socket PATH) [--pool MIB] DEVICE...

        The endpoint: a PCI function that vfio-pci holds (vendor and device, hexadecimal; COSIM_ENDPOINT may name its
        address), or the bridge's socket for port 1. The pool lent to the FPGA has 32 MiB unless told otherwise.

        The devices, in the order of the FPGA's functions:
          --blk FILE[,ro][,serial=TEXT]                         image file or block device
          --net tap=NAME[,mac=XX:XX:XX:XX:XX:XX][,mtu=N][,ip=A.B.C.D/N][,pairs=N][,speed=MBPS][,offloads=off][,merge=off]
                                                                TAP interface; pairs of queues, checksum and segmentation offloads, frames
                                                                received into several buffers
        """;

    private const int DefaultPoolMiB = 32;

    private readonly List<Func<ulong, Action<string>, IDeviceBackend>> _devices = [];
    private int _nets;
    private long _poolSize = (long)DefaultPoolMiB << 20;
    private string? _socket;
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
        bool readOnly = false;
        string serial = "cosim";
        foreach (string part in parts.Skip(1))
        {
            if (part == "ro")
            {
                readOnly = true;
            }
            else if (part.StartsWith("serial=", StringComparison.Ordinal))
            {
                serial = part["serial=".Length..];
            }
            else
            {
                throw new BackendException($"--blk {value}: {part} is unknown, expected ro or serial=TEXT.");
            }
        }

        _devices.Add((pool, report) => new BlockBackend(parts[0], readOnly, serial, pool, report));
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
