// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Cosim.Lifecycle;

/// <summary>
/// What host 1 has written to its disk and knows to be there. Each region holds the content that the newest acknowledged write gave it; one whose
/// write was not acknowledged may hold, sector by sector, the old or the new content.
/// </summary>
public sealed class DiskLoad
{
    public const int Regions = 128;
    public const int RegionBytes = 64 << 10;

    private const int SectorBytes = 512;

    // A write waits for as long as host 2 is away, and that one's way back has steps of its own.
    private static readonly TimeSpan s_patience = 4 * Rig.Deadline;

    private readonly Rig _rig;
    private readonly Random _random;
    private readonly byte[][] _known;
    private readonly Dictionary<int, byte[]> _uncertain = [];
    private int _seed;

    public DiskLoad(Rig rig, int seed)
    {
        _rig = rig;
        _random = new Random(seed);
        byte[] image = File.ReadAllBytes(rig.Image);
        _known = [.. Enumerable.Range(0, Regions).Select(r => image.AsSpan(r * RegionBytes, RegionBytes).ToArray())];
    }

    /// <summary>Writes that host 1 was told to be on the disk.</summary>
    public int Acknowledged { get; private set; }

    /// <summary>Bytes that were compared, in host 1 and in the image.</summary>
    public long Checked { get; private set; }

    /// <summary>The content of a region: lines of 16 bytes with the seed and the line's number.</summary>
    public static byte[] Content(int seed)
    {
        StringBuilder text = new(RegionBytes);
        for (int i = 0; i < RegionBytes / 16; i++)
        {
            _ = text.Append(CultureInfo.InvariantCulture, $"{seed:x7} {i:x7}\n");
        }

        return Encoding.ASCII.GetBytes(text.ToString());
    }

    /// <summary>Has host 1 write regions, one after the other, until it is cancelled or host 1 is gone.</summary>
    public async Task WriteAsync(CancellationToken cancellation)
    {
        try
        {
            while (!cancellation.IsCancellationRequested)
            {
                int region = _random.Next(Regions);
                int seed = ++_seed;
                _uncertain[region] = Content(seed);
                _ = await _rig.HostOne.Shell.RequireAsync(GuestScript.Fill(seed, region), s_patience, cancellation);
                Acknowledge(region);
            }
        }
        catch (OperationCanceledException)
        {
            // The write that was under way is not acknowledged.
        }
    }

    /// <summary>Takes note of writes that a script of the guest's own has made, from this seed on and from region 0 on.</summary>
    /// <returns>The first seed.</returns>
    public int BeginScript(int times)
    {
        int first = _seed + 1;
        _seed += times;
        return first;
    }

    /// <summary>All writes of the script are on the disk.</summary>
    public void EndScript(int first, int times)
    {
        for (int i = 0; i < times; i++)
        {
            _uncertain[i % Regions] = Content(first + i);
            Acknowledge(i % Regions);
        }
    }

    /// <summary>Holds every byte of the image against what was written, and what host 1 reads against the image.</summary>
    /// <exception cref="InvalidDataException">A byte is wrong.</exception>
    public async Task CheckAsync()
    {
        // What host 2 has in its cache is not in the image yet.
        _ = await _rig.HostOne.Shell.RequireAsync("sync", Rig.Deadline);
        await FlushAsync();
        byte[] image = await File.ReadAllBytesAsync(_rig.Image);
        for (int region = 0; region < Regions; region++)
        {
            CheckRegion(region, image.AsSpan(region * RegionBytes, RegionBytes));
        }

        string seen = await _rig.HostOne.Shell.RequireAsync(GuestScript.Sha256OfDisk, Rig.Deadline);
        string expected = Convert.ToHexStringLower(SHA256.HashData(image));
        if (seen != expected)
        {
            throw new InvalidDataException($"host 1 reads a disk with sha256 {seen}; the image's is {expected}");
        }

        Checked += 2L * image.Length;
    }

    // A write of its own, acknowledged, has all before it flushed.
    private async Task FlushAsync()
    {
        int seed = ++_seed;
        _uncertain[0] = Content(seed);
        _ = await _rig.HostOne.Shell.RequireAsync(GuestScript.Fill(seed, 0), Rig.Deadline);
        Acknowledge(0);
    }

    private void Acknowledge(int region)
    {
        _known[region] = _uncertain[region];
        _ = _uncertain.Remove(region);
        Acknowledged++;
    }

    private void CheckRegion(int region, ReadOnlySpan<byte> found)
    {
        _ = _uncertain.Remove(region, out byte[]? maybe);
        for (int at = 0; at < RegionBytes; at += SectorBytes)
        {
            ReadOnlySpan<byte> sector = found.Slice(at, SectorBytes);
            if (!sector.SequenceEqual(_known[region].AsSpan(at, SectorBytes)) && (maybe is null || !sector.SequenceEqual(maybe.AsSpan(at, SectorBytes))))
            {
                throw new InvalidDataException($"region {region}, byte {at}: the disk has \"{Encoding.Latin1.GetString(sector[..16])}\", expected \"{Encoding.Latin1.GetString(_known[region].AsSpan(at, 16))}\"");
            }
        }

        _known[region] = found.ToArray();
    }
}
