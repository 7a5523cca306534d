// SPDX-License-Identifier: Apache-2.0
namespace Cosim.Backend.Tests;

/// <summary>Little-endian fields in a row.</summary>
internal static class Bytes
{
    internal static byte[] U16(params ushort[] values) => [.. values.SelectMany(BitConverter.GetBytes)];

    internal static byte[] U32(params uint[] values) => [.. values.SelectMany(BitConverter.GetBytes)];

    internal static byte[] U64(params ulong[] values) => [.. values.SelectMany(BitConverter.GetBytes)];
}
