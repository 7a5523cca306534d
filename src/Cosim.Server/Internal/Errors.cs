// SPDX-License-Identifier: Apache-2.0
using Cosim.Server.Scenarios;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;

namespace Cosim.Server.Internal;

/// <summary>Tells faults in terms of gRPC.</summary>
internal static class Errors
{
    internal const string DetailsKey = "grpc-status-details-bin";

    // Errors travel in HTTP/2 headers: a caller's own text may be megabytes long.
    private const int MostViolations = 20;
    private const int MostCharacters = 200;
    private const int MostMessage = 4096;

    /// <summary>INVALID_ARGUMENT, with one violation a field in its details.</summary>
    internal static RpcException BadRequest(string what, IReadOnlyList<ScenarioViolation> violations)
    {
        violations = [.. violations.Take(MostViolations).Select(v => new ScenarioViolation(Shorten(v.Field), Shorten(v.Description)))];
        string detail = $"{char.ToUpperInvariant(what[0])}{what[1..]} cannot be used: {string.Join("; ", violations.Select(v => $"{v.Field} {v.Description}"))}.";
        BadRequest details = new();
        foreach (ScenarioViolation violation in violations)
        {
            details.FieldViolations.Add(new BadRequest.Types.FieldViolation { Field = violation.Field, Description = violation.Description });
        }

        Google.Rpc.Status status = new() { Code = (int)StatusCode.InvalidArgument, Message = detail, Details = { Any.Pack(details) } };
        return new RpcException(new Grpc.Core.Status(StatusCode.InvalidArgument, detail), new Metadata { { DetailsKey, status.ToByteArray() } });
    }

    /// <summary>Text with what a caller has sent in it, cut where it is too long for an error.</summary>
    internal static string Shorten(string text) => text.Length <= MostCharacters ? text : $"{text[..(MostCharacters / 2)]}…{text[^(MostCharacters / 2)..]}";

    /// <summary>INVALID_ARGUMENT for one field.</summary>
    internal static RpcException BadRequest(string field, string description) =>
        BadRequest("the request", [new ScenarioViolation(field, description)]);

    /// <summary>Runs what asks something of a bridge.</summary>
    internal static async Task<T> TranslateAsync<T>(Func<Task<T>> action)
    {
        try
        {
            return await action();
        }
        catch (BridgeException e)
        {
            throw new RpcException(new Grpc.Core.Status(StatusCode.FailedPrecondition, e.Message.Length <= MostMessage ? e.Message : e.Message[..MostMessage], e));
        }
        catch (ArgumentOutOfRangeException e)
        {
            throw new RpcException(new Grpc.Core.Status(StatusCode.OutOfRange, e.Message, e));
        }
        catch (ObjectDisposedException e)
        {
            throw new RpcException(new Grpc.Core.Status(StatusCode.Aborted, "The bridge has ended.", e));
        }
    }
}
