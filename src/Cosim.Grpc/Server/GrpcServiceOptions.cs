// SPDX-License-Identifier: Apache-2.0
using System.IO.Compression;
using Grpc.Net.Compression;

namespace Grpc.AspNetCore.Server;

/// <summary>Options of all services.</summary>
public class GrpcServiceOptions
{
    /// <summary>Longest message that is received, in bytes, after decompression; null for no limit. Default 4 MiB.</summary>
    public int? MaxReceiveMessageSize { get; set; } = 4 * 1024 * 1024;

    /// <summary>Longest message that is sent, in bytes, before compression; null for no limit, the default.</summary>
    public int? MaxSendMessageSize { get; set; }

    /// <summary>Tells the client the text of an unexpected exception.</summary>
    public bool? EnableDetailedErrors { get; set; }

    /// <summary>Encoding of the responses, used with clients that accept it; null for none.</summary>
    public string? ResponseCompressionAlgorithm { get; set; }

    /// <summary>Level of <see cref="ResponseCompressionAlgorithm"/>.</summary>
    public CompressionLevel? ResponseCompressionLevel { get; set; }

    /// <summary>Encodings that are understood besides identity.</summary>
    public IList<ICompressionProvider> CompressionProviders { get; set; } = [new GzipCompressionProvider(CompressionLevel.Fastest)];

    /// <summary>Leaves calls of unknown services to other end points instead of answering <see cref="Core.StatusCode.Unimplemented"/>.</summary>
    public bool? IgnoreUnknownServices { get; set; }
}

/// <summary>Stands with the end point of each method.</summary>
public sealed class GrpcMethodMetadata(Type serviceType, Core.IMethod method)
{
    /// <summary>The class that serves the method.</summary>
    public Type ServiceType { get; } = serviceType;

    /// <summary>The method.</summary>
    public Core.IMethod Method { get; } = method;
}

/// <summary>Adds to the services of a gRPC server.</summary>
public interface IGrpcServerBuilder
{
    /// <summary>The services.</summary>
    Microsoft.Extensions.DependencyInjection.IServiceCollection Services { get; }
}
