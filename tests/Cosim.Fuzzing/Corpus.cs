// SPDX-License-Identifier: Apache-2.0
using System.Security.Cryptography;

namespace Cosim.Fuzzing;

/// <summary>The inputs of a target that are kept: files in a folder, each called by its contents or by what it shows.</summary>
public static class Corpus
{
    /// <summary>All inputs, in the order of their names.</summary>
    public static IReadOnlyList<(string Name, byte[] Bytes)> Load(string folder) => Directory.Exists(folder)
        ? [.. Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).Select(file => (Path.GetFileName(file), File.ReadAllBytes(file)))]
        : [];

    /// <summary>A name made of an input's contents.</summary>
    public static string NameOf(ReadOnlySpan<byte> input) => Convert.ToHexStringLower(SHA256.HashData(input).AsSpan(0, 6));

    internal static string NameOfArray(byte[] input) => NameOf(input);

    /// <summary>Keeps an input; the path of its file.</summary>
    public static string Save(string folder, string name, ReadOnlySpan<byte> input)
    {
        _ = Directory.CreateDirectory(folder);
        string file = Path.Combine(folder, name);
        File.WriteAllBytes(file, input.ToArray());
        return file;
    }
}
