// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;
using System.Text;

namespace Cosim.Fpga.Native;

/// <summary>Folders of finished builds, named by a hash of everything they were made from.</summary>
/// <remarks>A build appears by one rename. Of several processes that want the same one, one builds and the others wait for it.</remarks>
internal sealed class BuildCache
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    private const string Partial = ".partial";
    private const int WouldBlock = 11; // EWOULDBLOCK of a file that another holds

    public BuildCache(string root)
    {
        Root = Path.GetFullPath(root);
    }

    /// <summary>Folder of all builds.</summary>
    public string Root { get; }

    /// <summary>Where a folder that is being filled will end up.</summary>
    public static string FinalFolder(string partial) => partial[..^Partial.Length];

    /// <summary>Gives the folder of a build, which is made first where it is not there.</summary>
    /// <param name="kind">What is built; part of the folder's name.</param>
    /// <param name="key">Everything the build depends on, as text.</param>
    /// <param name="build">Fills the folder it is given.</param>
    public string Get(string kind, string key, Action<string> build)
    {
        string name = $"{kind}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)))[..20]}";
        string folder = Path.Combine(Root, name);
        if (Directory.Exists(folder))
        {
            return folder;
        }

        Directory.CreateDirectory(Root);
        using FileStream held = Lock(Path.Combine(Root, name + ".lock"));
        if (Directory.Exists(folder))
        {
            return folder;
        }

        // What an interrupted build of the same name left behind is nobody's: the lock is ours.
        string partial = folder + Partial;
        if (Directory.Exists(partial))
        {
            Directory.Delete(partial, recursive: true);
        }

        Directory.CreateDirectory(partial);
        try
        {
            build(partial);
            Directory.Move(partial, folder);
        }
        catch
        {
            Directory.Delete(partial, recursive: true);
            throw;
        }

        return folder;
    }

    /// <summary>Text of source files for a key: their names and contents.</summary>
    public static string Contents(IEnumerable<string> files)
    {
        StringBuilder text = new();
        foreach (string file in files)
        {
            text.Append(Path.GetFileName(file)).Append(' ').AppendLine(Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file))));
        }

        return text.ToString();
    }

    private static FileStream Lock(string path)
    {
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException exception) when (exception.HResult == WouldBlock)
            {
                Thread.Sleep(Poll); // another process or thread is building it
            }
        }
    }
}
