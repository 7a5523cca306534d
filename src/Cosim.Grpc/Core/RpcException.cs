// SPDX-License-Identifier: Apache-2.0
namespace Grpc.Core;

/// <summary>A call that did not end with <see cref="StatusCode.OK"/>. Thrown by a service it becomes the call's status.</summary>
public class RpcException : Exception
{
    /// <summary>An error without trailers.</summary>
    public RpcException(Status status)
        : this(status, [])
    {
    }

    /// <summary>An error without trailers; <paramref name="message"/> is the local text.</summary>
    public RpcException(Status status, string message)
        : this(status, [], message)
    {
    }

    /// <summary>An error with trailers.</summary>
    public RpcException(Status status, Metadata trailers)
        : this(status, trailers, status.ToString())
    {
    }

    /// <summary>An error with trailers; <paramref name="message"/> is the local text.</summary>
    public RpcException(Status status, Metadata trailers, string message)
        : base(message, status.DebugException)
    {
        Status = status;
        Trailers = trailers;
    }

    /// <summary>The status that travels.</summary>
    public Status Status { get; }

    /// <summary>Code of <see cref="Status"/>.</summary>
    public StatusCode StatusCode => Status.StatusCode;

    /// <summary>The trailers that travel with the status.</summary>
    public Metadata Trailers { get; }
}
