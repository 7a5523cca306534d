// SPDX-License-Identifier: Apache-2.0
using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Reflection.Internal;
using Microsoft.AspNetCore.Routing;

namespace Microsoft.AspNetCore.Builder
{
    /// <summary>Maps the reflection services.</summary>
    public static class GrpcReflectionEndpointRouteBuilderExtensions
    {
        /// <summary>Maps grpc.reflection.v1.ServerReflection and the same service as v1alpha; see AddGrpcReflection.</summary>
        public static GrpcServiceEndpointConventionBuilder MapGrpcReflectionService(this IEndpointRouteBuilder builder)
        {
            builder.MapGrpcService<ReflectionV1AlphaService>();
            return builder.MapGrpcService<ReflectionV1Service>();
        }
    }
}

namespace Microsoft.Extensions.DependencyInjection
{
    /// <summary>Adds the reflection services.</summary>
    public static class GrpcReflectionServiceExtensions
    {
        /// <summary>Adds what describes the mapped services.</summary>
        public static IServiceCollection AddGrpcReflection(this IServiceCollection services) => services.AddSingleton<ServiceDescriptors>();
    }
}
