// SPDX-License-Identifier: Apache-2.0
using System.Text.Json.Nodes;

namespace Cosim.Guests.Internal;

/// <summary>QEMU's arguments for a host.</summary>
internal static class QemuCommandLine
{
    public static List<string> Build(QemuOptions options, IReadOnlyList<string> serialSockets, string monitorSocket, string consoleLog, bool kvm)
    {
        string machine = (options.Machine == QemuMachine.Pc ? "pc" : "q35") + ",memory-backend=ram,sata=off,smbus=off,usb=off,hpet=off,vmport=off,i8042=off";
        if (kvm && options.Iommu)
        {
            machine += ",kernel-irqchip=split"; // An interrupt remapper cannot stand behind the kernel's own chip.
        }

        // A guest that is interpreted need not measure its clock, nor test its ciphers before it is up; and when it has
        // to wait for its turn on a busy machine, it is not to blame the clock.
        string clock = TimestampCounter.Kilohertz is { } rate ? $" tsc_early_khz={rate} tsc=reliable" : "";
        string kernelArguments = options.Image.CommandLine
            + (kvm ? "" : " cryptomgr.notests noreplace-smp no_timer_check" + clock)
            + (options.KernelArguments.Length == 0 ? "" : " " + options.KernelArguments);
        List<string> arguments =
        [
            "-name", options.Name.Replace(",", ",,", StringComparison.Ordinal),
            "-no-user-config", "-nodefaults", "-display", "none",
            "-accel", kvm ? "kvm" : "tcg",
            "-cpu", kvm ? "host" : "max,la57=off",
            "-smp", $"{options.Processors}",
            "-m", $"{options.MemoryMiB}M",

            // Shared, so that a vfio-user server can map it: QEMU passes a descriptor of no other memory.
            "-object", options.ShareMemory
                ? Json("qom-type", "memory-backend-memfd", ("id", "ram"), ("size", (long)options.MemoryMiB << 20), ("share", true))
                : Json("qom-type", "memory-backend-ram", ("id", "ram"), ("size", (long)options.MemoryMiB << 20)),
            "-machine", machine,
            "-kernel", options.Image.Kernel,
            "-initrd", options.Image.Initramfs,
            "-append", kernelArguments,
            "-chardev", $"socket,id=monitor,path={Escape(monitorSocket)}",
            "-mon", "chardev=monitor,mode=control",
        ];
        for (int i = 0; i < serialSockets.Count; i++)
        {
            string log = i == 0 ? $",logfile={Escape(consoleLog)}" : "";
            arguments.AddRange(["-chardev", $"socket,id=serial{i},path={Escape(serialSockets[i])}{log}", "-serial", $"chardev:serial{i}"]);
        }

        if (options.Iommu)
        {
            // Before the devices that it stands in front of. Caching mode makes the guest announce each mapping.
            arguments.AddRange(["-device", "intel-iommu,caching-mode=on"]);
        }

        for (int i = 0; i < options.Disks.Count; i++)
        {
            QemuDisk disk = options.Disks[i];
            arguments.AddRange(
            [
                "-blockdev",
                Json(
                    "driver",
                    "raw",
                    ("node-name", $"disk{i}"),
                    ("read-only", disk.ReadOnly),
                    ("discard", "unmap"),
                    ("file", new JsonObject { ["driver"] = "file", ["filename"] = disk.Path, ["discard"] = "unmap" })),
                "-device", Json("driver", "virtio-blk-pci", ("id", $"vd{i}"), ("drive", $"disk{i}"), ("disable-legacy", "on")),
            ]);
        }

        for (int i = 0; i < options.VfioUserSockets.Count; i++)
        {
            if (!options.OnRootBus)
            {
                // The root bus of a q35 takes no device while it runs; a root port does.
                arguments.AddRange(["-device", Json("driver", "pcie-root-port", ("id", $"port{i}"), ("chassis", i + 1), ("slot", i + 1))]);
            }

            if (!options.AttachLater)
            {
                arguments.AddRange(["-device", Function(options, i).ToJsonString()]);
            }
        }

        arguments.AddRange(options.Arguments);
        return arguments;
    }

    public static string FunctionId(int index) => $"function{index}";

    public static JsonObject Function(QemuOptions options, int index) => new()
    {
        ["driver"] = "vfio-user-pci",
        ["id"] = FunctionId(index),
        ["bus"] = !options.OnRootBus ? $"port{index}" : options.Machine == QemuMachine.Pc ? "pci.0" : "pcie.0",
        ["rombar"] = 0,
        ["x-msg-timeout"] = (long)options.MessageTimeout.TotalMilliseconds,
        ["socket"] = new JsonObject { ["type"] = "unix", ["path"] = options.VfioUserSockets[index] },
    };

    // In QEMU's own option syntax a comma in a value is written twice.
    private static string Escape(string value) => value.Replace(",", ",,", StringComparison.Ordinal);

    private static string Json(string kind, string name, params ReadOnlySpan<(string Name, JsonNode Value)> members)
    {
        var json = new JsonObject { [kind] = name };
        foreach ((string member, JsonNode value) in members)
        {
            json[member] = value;
        }

        return json.ToJsonString();
    }
}
