// SPDX-License-Identifier: Apache-2.0
using Grpc.AspNetCore.HealthChecks.Internal;
using Grpc.AspNetCore.Server;
using Microsoft.AspNetCore.Routing;

namespace Microsoft.AspNetCore.Builder
{
    /// <summary>Maps the health service.</summary>
    public static class GrpcHealthChecksEndpointRouteBuilderExtensions
    {
        /// <summary>Maps grpc.health.v1.Health; see AddGrpcHealthChecks.</summary>
        public static GrpcServiceEndpointConventionBuilder MapGrpcHealthChecksService(this IEndpointRouteBuilder endpoints) =>
            endpoints.MapGrpcService<HealthChecksService>();
    }
}

namespace Microsoft.Extensions.DependencyInjection
{
    /// <summary>Adds the health service.</summary>
    public static class GrpcHealthChecksServiceExtensions
    {
        /// <summary>Adds grpc.health.v1.Health over the application's health checks. The server as a whole ("") is healthy when all of them are.</summary>
        public static IHealthChecksBuilder AddGrpcHealthChecks(this IServiceCollection services)
        {
            services.AddSingleton<HealthChecksService>();
            return services.AddHealthChecks();
        }
    }
}
