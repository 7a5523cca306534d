// SPDX-License-Identifier: Apache-2.0
using System.Text;
using System.Text.Json;

namespace Cosim.VfioUser.Internal;

/// <summary>The JSON of a VERSION message: what the peer can take.</summary>
internal readonly record struct VersionData(int MaxDescriptors, long MaxDataTransfer, bool WriteMultiple, bool TwinSocket)
{
    /// <summary><c>twin_socket</c> of a client that asks for it.</summary>
    internal const string TwinRequest = "\"twin_socket\":{\"supported\":true}";

    /// <summary><c>twin_socket</c> of a server that passes it as the only descriptor of its reply.</summary>
    internal const string TwinReply = "\"twin_socket\":{\"supported\":true,\"fd_index\":0}";

    /// <summary>What holds for a peer that says nothing.</summary>
    internal static VersionData Default => new(1, Wire.DefaultMaxDataTransfer, false, false);

    /// <summary>Reads version data: nothing at all, or NUL-terminated JSON.</summary>
    /// <returns>False when it is not that, or when a capability has the wrong type or range.</returns>
    internal static bool TryParse(ReadOnlySpan<byte> data, out VersionData version)
    {
        version = Default;
        if (data.IsEmpty)
        {
            return true;
        }

        if (data[^1] != 0)
        {
            return false;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(data[..^1].ToArray());
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                return false;
            }

            return !document.RootElement.TryGetProperty("capabilities", out JsonElement capabilities)
                || TryParseCapabilities(capabilities, ref version);
        }
        catch (JsonException)
        {
            // Not JSON: the peer's mistake, which the caller answers.
            return false;
        }
    }

    /// <summary>Writes version data of at most <paramref name="room"/> bytes, its NUL included: as many capabilities as fit.</summary>
    internal static byte[] Compose(int maxDataTransfer, int maxDmaMaps, bool writeMultiple, int room, string twin = "")
    {
        const string Prefix = "{\"capabilities\":{";
        const string Suffix = "}}";
        if (room < Prefix.Length + Suffix.Length + 1)
        {
            return room >= 3 ? "{}\0"u8.ToArray() : [];
        }

        string[] capabilities =
        [
            twin,
            $"\"max_msg_fds\":{Wire.MaxDescriptors}",
            $"\"max_data_xfer_size\":{maxDataTransfer}",
            writeMultiple ? "\"write_multiple\":true" : string.Empty,
            $"\"max_dma_maps\":{maxDmaMaps}",
            $"\"pgsizes\":{GuestMemory.PageSize}",
        ];
        StringBuilder json = new(Prefix);
        foreach (string capability in capabilities)
        {
            int comma = json.Length == Prefix.Length ? 0 : 1;
            if (capability.Length != 0 && json.Length + comma + capability.Length + Suffix.Length + 1 <= room)
            {
                json.Append(comma == 0 ? string.Empty : ",").Append(capability);
            }
        }

        return Encoding.ASCII.GetBytes(json.Append(Suffix).Append('\0').ToString());
    }

    private static bool TryParseCapabilities(JsonElement capabilities, ref VersionData version)
    {
        if (capabilities.ValueKind != JsonValueKind.Object)
        {
            return false;
        }

        if (capabilities.TryGetProperty("max_msg_fds", out JsonElement element))
        {
            if (!TryGetNumber(element, out long descriptors) || descriptors > 253)
            {
                return false;
            }

            version = version with { MaxDescriptors = (int)descriptors };
        }

        if (capabilities.TryGetProperty("max_data_xfer_size", out element))
        {
            if (!TryGetNumber(element, out long bytes))
            {
                return false;
            }

            version = version with { MaxDataTransfer = bytes };
        }

        if (capabilities.TryGetProperty("write_multiple", out element))
        {
            if (element.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
            {
                return false;
            }

            version = version with { WriteMultiple = element.GetBoolean() };
        }

        if (capabilities.TryGetProperty("twin_socket", out element))
        {
            if (!TryParseTwin(element, out bool supported))
            {
                return false;
            }

            version = version with { TwinSocket = supported };
        }

        // Not used here, but a peer that garbles them is not to be trusted with the rest.
        return (!capabilities.TryGetProperty("max_dma_maps", out element) || TryGetNumber(element, out long _))
            && (!capabilities.TryGetProperty("pgsizes", out element) || TryGetNumber(element, out long _))
            && (!capabilities.TryGetProperty("migration", out element) || element.ValueKind == JsonValueKind.Object);
    }

    /// <summary>Reads <c>twin_socket</c>. In a reply that says it is supported, the descriptor must be the only one there is.</summary>
    private static bool TryParseTwin(JsonElement element, out bool supported)
    {
        supported = false;
        if (element.ValueKind != JsonValueKind.Object
            || (element.TryGetProperty("fd_index", out JsonElement index) && !TryGetNumber(index, out long _)))
        {
            return false;
        }

        if (!element.TryGetProperty("supported", out JsonElement flag))
        {
            return true;
        }

        supported = flag.ValueKind == JsonValueKind.True;
        return flag.ValueKind is JsonValueKind.True or JsonValueKind.False;
    }

    private static bool TryGetNumber(JsonElement element, out long value)
    {
        value = 0;
        return element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out value) && value >= 0;
    }
}
