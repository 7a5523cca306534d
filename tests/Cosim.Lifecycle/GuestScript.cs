// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Lifecycle;

/// <summary>Shell text for host 1.</summary>
internal static class GuestScript
{
    /// <summary>Waits for the disk. Its name may change when its driver is bound anew while somebody holds the old one open.</summary>
    internal const string WaitForDisk = Names + """
        until [ -b "$(disk)" ]; do usleep 5000; done
        """;

    internal const string SetUpNetwork = Names + """
        until [ -n "$(net)" ]; do usleep 5000; done
        ip address replace 10.51.0.1/24 dev $(net)
        ip link set $(net) up
        """;

    /// <summary>Reads the disk and talks to host 2 over and over, until <see cref="EndLoad"/>.</summary>
    internal const string BeginLoad = Names + """
        touch /run/cosim/load
        (while [ -e /run/cosim/load ]; do cat "$(disk)"; echo 3 >/proc/sys/vm/drop_caches; done) >/dev/null 2>&1 &
        [ -z "$(net)" ] || (while [ -e /run/cosim/load ]; do ping -c 50 -i 0.01 -W 1 -s 1400 10.51.0.2; done) >/dev/null 2>&1 &
        """;

    internal const string EndLoad = """
        rm -f /run/cosim/load
        killall ping cat 2>/dev/null
        true
        """;

    /// <summary>sha256 of the disk, past the guest's cache.</summary>
    internal const string Sha256OfDisk = Names + """
        set -o pipefail
        echo 3 >/proc/sys/vm/drop_caches
        sha256sum <"$(disk)" | cut -d ' ' -f 1
        """;

    private const string Names = """
        disk() { for b in /sys/bus/virtio/devices/*/block/*; do [ -e "$b" ] && echo /dev/${b##*/} && return; done; }
        net() { for n in /sys/bus/virtio/devices/*/net/*; do [ -e "$n" ] && echo ${n##*/} && return; done; }
        fill() { awk -v s=$1 'BEGIN { for (i = 0; i < 4096; i++) printf "%07x %07x\n", s, i }' | dd of="$(disk)" bs=64k iflag=fullblock count=1 seek=$2 conv=notrunc,fsync 2>/run/cosim/dd || { cat /run/cosim/dd; return 1; }; }

        """;

    /// <summary>Fills a region of the disk with what <see cref="DiskLoad.Content"/> says and waits until it is on the disk.</summary>
    internal static string Fill(int seed, int region) => Names + $"fill {seed} {region}\n";

    /// <summary>Takes both drivers from their devices and gives them back, under load; fills a region after each time.</summary>
    internal static string Rebind(int times, int seed) => Names + $$"""
        blk=$(ls -d /sys/bus/virtio/drivers/virtio_blk/virtio*); blk=${blk##*/}
        eth=$(ls -d /sys/bus/virtio/drivers/virtio_net/virtio* 2>/dev/null); eth=${eth##*/}
        i=0
        while [ $i -lt {{times}} ]; do
            cat "$(disk)" >/dev/null 2>&1 &
            echo $blk >/sys/bus/virtio/drivers/virtio_blk/unbind
            echo $blk >/sys/bus/virtio/drivers/virtio_blk/bind
            until [ -b "$(disk)" ]; do usleep 1000; done
            if [ -n "$eth" ]; then
                echo $eth >/sys/bus/virtio/drivers/virtio_net/unbind
                echo $eth >/sys/bus/virtio/drivers/virtio_net/bind
            fi
            wait
            fill $(({{seed}} + i)) $((i % {{DiskLoad.Regions}})) || exit 1
            i=$((i + 1))
        done
        """;

    /// <summary>Takes both drivers' modules out of the kernel and puts them in again; fills a region after each time.</summary>
    internal static string Reload(int times, int seed) => Names + $$"""
        eth=$(net)
        i=0
        while [ $i -lt {{times}} ]; do
            rmmod virtio_blk || exit 1
            [ -z "$eth" ] || rmmod virtio_net || exit 1
            insmod /lib/modules/virtio_blk.ko || exit 1
            [ -z "$eth" ] || insmod /lib/modules/virtio_net.ko || exit 1
            until [ -b "$(disk)" ]; do usleep 1000; done
            fill $(({{seed}} + i)) $((i % {{DiskLoad.Regions}})) || exit 1
            i=$((i + 1))
        done
        """;
}
