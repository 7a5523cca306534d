// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;

namespace Cosim.Guests;

/// <summary>
/// Collects files, folders, symbolic links and device nodes, and writes them as an initial RAM file system: a cpio
/// archive of format "newc". The same content gives the same bytes, whatever the order in which it was added and
/// whoever owns the originals: entries are sorted, times are 0, and everything belongs to root.
/// </summary>
/// <remarks>Linux, Documentation/driver-api/early-userspace/buffer-format.rst.</remarks>
public sealed class InitramfsBuilder
{
    private const uint DirectoryType = 0x4000;      // S_IFDIR
    private const uint CharacterDeviceType = 0x2000; // S_IFCHR
    private const uint FileType = 0x8000;           // S_IFREG
    private const uint SymlinkType = 0xA000;        // S_IFLNK
    private const UnixFileMode DirectoryMode = (UnixFileMode)0x1ED; // 0755

    private readonly SortedDictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <summary>Adds a folder. One that is there already keeps what it holds and takes the new mode.</summary>
    public InitramfsBuilder AddDirectory(string path, UnixFileMode mode = DirectoryMode) =>
        Add(path, new Entry(DirectoryType | (uint)mode, 0, 0, default, null));

    /// <summary>Adds a file with this content.</summary>
    public InitramfsBuilder AddFile(string path, ReadOnlyMemory<byte> content, UnixFileMode mode) =>
        Add(path, new Entry(FileType | (uint)mode, 0, 0, content, null));

    /// <summary>Adds a file of text, encoded in UTF-8.</summary>
    public InitramfsBuilder AddText(string path, string content, UnixFileMode mode) =>
        AddFile(path, Encoding.UTF8.GetBytes(content), mode);

    /// <summary>Adds a copy of a file of this machine with its mode. It is read when the archive is written.</summary>
    /// <exception cref="GuestException">The file does not exist.</exception>
    public InitramfsBuilder AddCopy(string path, string source)
    {
        if (!File.Exists(source))
        {
            throw new GuestException($"{source}, meant to be {path} in a guest, does not exist.");
        }

        return Add(path, new Entry(FileType | (uint)File.GetUnixFileMode(source), 0, 0, default, source));
    }

    /// <summary>Adds a symbolic link at <paramref name="path"/> that leads to <paramref name="target"/>.</summary>
    public InitramfsBuilder AddSymlink(string path, string target) =>
        Add(path, new Entry(SymlinkType | 0x1FF, 0, 0, Encoding.UTF8.GetBytes(target), null));

    /// <summary>Adds a character device.</summary>
    public InitramfsBuilder AddCharacterDevice(string path, uint major, uint minor, UnixFileMode mode) =>
        Add(path, new Entry(CharacterDeviceType | (uint)mode, major, minor, default, null));

    /// <summary>Adds what a folder of this machine holds: files, folders and symbolic links, with their modes.</summary>
    /// <param name="source">The folder.</param>
    /// <param name="path">Where its content goes; the root when empty.</param>
    /// <exception cref="GuestException">The folder does not exist.</exception>
    public InitramfsBuilder AddTree(string source, string path = "")
    {
        var root = new DirectoryInfo(source);
        if (!root.Exists)
        {
            throw new GuestException($"The folder {source}, meant to be /{path} in a guest, does not exist.");
        }

        foreach (FileSystemInfo item in root.EnumerateFileSystemInfos())
        {
            string target = path.Length == 0 ? item.Name : path + "/" + item.Name;
            if (item.LinkTarget is { } link)
            {
                AddSymlink(target, link);
            }
            else if (item is DirectoryInfo)
            {
                AddDirectory(target, item.UnixFileMode);
                AddTree(item.FullName, target);
            }
            else
            {
                AddCopy(target, item.FullName);
            }
        }

        return this;
    }

    /// <summary>Writes the archive.</summary>
    /// <exception cref="GuestException">A file to be copied could not be read or is larger than the format allows.</exception>
    public void WriteTo(Stream output)
    {
        uint inode = 0;
        foreach ((string path, Entry entry) in _entries)
        {
            inode++;
            ReadOnlyMemory<byte> content = entry.Content;
            if (entry.Source is not null)
            {
                try
                {
                    content = File.ReadAllBytes(entry.Source);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    throw new GuestException($"{entry.Source}, meant to be /{path} in a guest, cannot be read: {e.Message}", e);
                }
            }

            WriteEntry(output, path, inode, entry, content.Span);
        }

        WriteEntry(output, "TRAILER!!!", 0, new Entry(0, 0, 0, default, null), default);
    }

    private static void WriteEntry(Stream output, string path, uint inode, Entry entry, ReadOnlySpan<byte> content)
    {
        byte[] name = Encoding.UTF8.GetBytes(path + "\0");
        uint links = (entry.Mode & 0xF000) == DirectoryType ? 2u : 1u;

        // Magic, then thirteen fields of eight hexadecimal digits: inode, mode, uid, gid, links, mtime, size, the
        // device's major and minor, the node's major and minor, length of the name with its NUL, checksum (unused).
        string header = string.Create(
            CultureInfo.InvariantCulture,
            $"070701{inode:x8}{entry.Mode:x8}{0:x8}{0:x8}{links:x8}{0:x8}{content.Length:x8}{0:x8}{0:x8}{entry.Major:x8}{entry.Minor:x8}{name.Length:x8}{0:x8}");
        output.Write(Encoding.ASCII.GetBytes(header));
        output.Write(name);
        Pad(output, header.Length + name.Length);
        output.Write(content);
        Pad(output, content.Length);
    }

    private static void Pad(Stream output, int written)
    {
        ReadOnlySpan<byte> zeros = [0, 0, 0];
        output.Write(zeros[..(-written & 3)]);
    }

    private InitramfsBuilder Add(string path, Entry entry)
    {
        string[] parts = path.Trim('/').Split('/');
        if (parts.Any(part => part is "" or "." or ".."))
        {
            throw new ArgumentException($"\"{path}\" is no path inside a guest's root.", nameof(path));
        }

        // The kernel unpacks in order and makes no folders of its own accord.
        string parent = "";
        foreach (string part in parts[..^1])
        {
            parent = parent.Length == 0 ? part : parent + "/" + part;
            _entries.TryAdd(parent, new Entry(DirectoryType | (uint)DirectoryMode, 0, 0, default, null));
        }

        _entries[string.Join('/', parts)] = entry;
        return this;
    }

    private readonly record struct Entry(uint Mode, uint Major, uint Minor, ReadOnlyMemory<byte> Content, string? Source);
}
