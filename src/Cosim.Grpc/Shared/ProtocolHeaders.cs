// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using System.Text;
using Grpc.Core;

namespace Grpc.Shared;

/// <summary>Header names and values as "gRPC over HTTP/2" spells them. Pure functions.</summary>
internal static class ProtocolHeaders
{
    internal const string ContentType = "application/grpc";
    internal const string Status = "grpc-status";
    internal const string Message = "grpc-message";
    internal const string Timeout = "grpc-timeout";
    internal const string Encoding = "grpc-encoding";
    internal const string AcceptEncoding = "grpc-accept-encoding";
    internal const string Identity = "identity";

    /// <summary>Metadata key by which a caller chooses the encoding of its requests; it does not travel.</summary>
    internal const string RequestEncoding = "grpc-internal-encoding-request";

    private const int MaxTimeoutDigits = 8;
    private const long MaxTimeoutValue = 99_999_999;

    /// <summary>application/grpc, application/grpc+proto and either with parameters; not application/grpc-web.</summary>
    internal static bool IsGrpcContentType(string? value) =>
        value is not null
        && value.StartsWith(ContentType, StringComparison.OrdinalIgnoreCase)
        && (value.Length == ContentType.Length || value[ContentType.Length] is '+' or ';');

    /// <summary>Headers that belong to the protocol or to HTTP and are no metadata.</summary>
    internal static bool IsMetadata(string name) =>
        !name.StartsWith(':')
        && name.ToUpperInvariant() is not ("GRPC-STATUS" or "GRPC-MESSAGE" or "GRPC-TIMEOUT" or "GRPC-ENCODING" or "GRPC-ACCEPT-ENCODING"
            or "CONTENT-TYPE" or "CONTENT-LENGTH" or "TE" or "HOST");

    /// <summary>Adds a received header; a "-bin" header may hold several values with commas between them (base64 with or without padding).</summary>
    internal static void AddReceived(Metadata metadata, string name, string value)
    {
        if (!name.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.OrdinalIgnoreCase))
        {
            metadata.Add(name, value);
            return;
        }

        foreach (string part in value.Split(',', StringSplitOptions.TrimEntries))
        {
            if (!TryDecodeBinary(part, out byte[] bytes))
            {
                throw new RpcException(new Status(StatusCode.Internal, $"The header \"{name}\" is not base64."));
            }

            metadata.Add(name, bytes);
        }
    }

    /// <summary>The value of an entry as it travels. Text that a header cannot carry throws <see cref="RpcException"/>.</summary>
    internal static string ToWire(Metadata.Entry entry)
    {
        if (entry.IsBinary)
        {
            return Convert.ToBase64String(entry.ValueBytes).TrimEnd('=');
        }

        return entry.Value.All(c => c is >= ' ' and <= '~')
            ? entry.Value
            : throw new RpcException(new Status(
                StatusCode.Internal, $"The metadata \"{entry.Key}\" is not printable ASCII; a key in \"{Metadata.BinaryHeaderSuffix}\" carries any bytes."));
    }

    internal static bool TryDecodeBinary(string text, out byte[] bytes)
    {
        string padded = (text.Length % 4) switch
        {
            2 => text + "==",
            3 => text + "=",
            _ => text,
        };
        bytes = new byte[padded.Length / 4 * 3];
        if (!Convert.TryFromBase64String(padded, bytes, out int written))
        {
            return false;
        }

        Array.Resize(ref bytes, written);
        return true;
    }

    /// <summary>A status text in the percent encoding of grpc-message: UTF-8, printable ASCII but '%' as it is.</summary>
    internal static string EncodeMessage(string text)
    {
        StringBuilder encoded = new(text.Length);
        foreach (byte b in System.Text.Encoding.UTF8.GetBytes(text))
        {
            if (b is >= 0x20 and <= 0x7e and not (byte)'%')
            {
                encoded.Append((char)b);
            }
            else
            {
                encoded.Append(CultureInfo.InvariantCulture, $"%{b:X2}");
            }
        }

        return encoded.ToString();
    }

    /// <summary>The text of a grpc-message; what is no valid escape stays as it is.</summary>
    internal static string DecodeMessage(string text)
    {
        if (!text.Contains('%', StringComparison.Ordinal))
        {
            return text;
        }

        List<byte> bytes = new(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '%' && i + 2 < text.Length
                && byte.TryParse(text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte b))
            {
                bytes.Add(b);
                i += 2;
            }
            else
            {
                bytes.AddRange(System.Text.Encoding.UTF8.GetBytes(text, i, 1));
            }
        }

        return System.Text.Encoding.UTF8.GetString([.. bytes]);
    }

    /// <summary>A time as at most eight digits and a unit, rounded up; what is too long becomes the longest that can be said.</summary>
    internal static string FormatTimeout(TimeSpan timeout)
    {
        long ticks = Math.Max(timeout.Ticks, 1);
        (long TicksPerUnit, char Unit)[] units =
        [
            (TimeSpan.TicksPerMicrosecond, 'u'), (TimeSpan.TicksPerMillisecond, 'm'), (TimeSpan.TicksPerSecond, 'S'),
            (TimeSpan.TicksPerMinute, 'M'), (TimeSpan.TicksPerHour, 'H'),
        ];
        foreach ((long ticksPerUnit, char unit) in units)
        {
            long count = (ticks / ticksPerUnit) + (ticks % ticksPerUnit == 0 ? 0 : 1);
            if (count <= MaxTimeoutValue)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{count}{unit}");
            }
        }

        return string.Create(CultureInfo.InvariantCulture, $"{MaxTimeoutValue}H");
    }

    internal static bool TryParseTimeout(string? text, out TimeSpan timeout)
    {
        timeout = default;
        if (text is null || text.Length is < 2 or > MaxTimeoutDigits + 1
            || !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out long count))
        {
            return false;
        }

        long ticksPerUnit = text[^1] switch
        {
            'H' => TimeSpan.TicksPerHour,
            'M' => TimeSpan.TicksPerMinute,
            'S' => TimeSpan.TicksPerSecond,
            'm' => TimeSpan.TicksPerMillisecond,
            'u' => TimeSpan.TicksPerMicrosecond,
            'n' => 1,
            _ => 0,
        };
        if (ticksPerUnit == 0)
        {
            return false;
        }

        // A tick is 100 ns. Eight digits of hours are 3.6e18 ticks and fit.
        timeout = text[^1] == 'n' ? new TimeSpan((count + 99) / 100) : new TimeSpan(count * ticksPerUnit);
        return true;
    }
}
