// SPDX-License-Identifier: Apache-2.0
using Grpc.Shared;
using NUnit.Framework;

namespace Cosim.Grpc.Tests.Shared;

public sealed class ProtocolHeadersTests
{
    [TestCase("1n", 1)]
    [TestCase("100n", 1)]
    [TestCase("101n", 2)]
    [TestCase("3u", 30)]
    [TestCase("3m", 30_000)]
    [TestCase("3S", 30_000_000)]
    [TestCase("3M", 1_800_000_000)]
    [TestCase("99999999H", 99_999_999 * TimeSpan.TicksPerHour)]
    public void TryParseTimeout_Valid_IsTicks(string text, long ticks)
    {
        Assert.That(ProtocolHeaders.TryParseTimeout(text, out TimeSpan timeout));
        Assert.That(timeout.Ticks, Is.EqualTo(ticks));
    }

    [TestCase(1, "1u")]
    [TestCase(25, "3u")]
    [TestCase(999_999_990, "99999999u")]
    [TestCase(999_999_991, "100000m")]
    [TestCase(long.MaxValue, "99999999H")]
    [TestCase(-5, "1u")]
    public void FormatTimeout_AnyTime_HasAtMostEightDigitsAndIsNotShorter(long ticks, string expected) =>
        Assert.That(ProtocolHeaders.FormatTimeout(new TimeSpan(ticks)), Is.EqualTo(expected));

    [TestCase("plain", "plain")]
    [TestCase("100 %", "100 %25")]
    [TestCase("ü\n", "%C3%BC%0A")]
    public void EncodeMessage_Text_RoundTrips(string text, string wire)
    {
        Assert.That(ProtocolHeaders.EncodeMessage(text), Is.EqualTo(wire));
        Assert.That(ProtocolHeaders.DecodeMessage(wire), Is.EqualTo(text));
    }

    [TestCase("50%", "50%")]
    [TestCase("%zz%4", "%zz%4")]
    [TestCase("%41%", "A%")]
    public void DecodeMessage_BadEscape_StaysAsItIs(string wire, string text) =>
        Assert.That(ProtocolHeaders.DecodeMessage(wire), Is.EqualTo(text));

    [TestCase("application/grpc", true)]
    [TestCase("application/grpc+proto", true)]
    [TestCase("application/grpc; charset=x", true)]
    [TestCase("application/grpc-web", false)]
    [TestCase("application/json", false)]
    [TestCase(null, false)]
    public void IsGrpcContentType_Value_IsAsTheSpecificationSays(string? value, bool expected) =>
        Assert.That(ProtocolHeaders.IsGrpcContentType(value), Is.EqualTo(expected));

    [TestCase("", true)]
    [TestCase("AAE", true)]
    [TestCase("AAE=", true)]
    [TestCase("A", false)]
    [TestCase("A===", false)]
    [TestCase("**", false)]
    public void TryDecodeBinary_Base64_NeedsNoPadding(string text, bool valid) =>
        Assert.That(ProtocolHeaders.TryDecodeBinary(text, out _), Is.EqualTo(valid));
}
