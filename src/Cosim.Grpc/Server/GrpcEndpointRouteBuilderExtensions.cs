// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Internal;
using Grpc.Core;
using Microsoft.AspNetCore.Routing;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps gRPC services to end points.</summary>
public static class GrpcEndpointRouteBuilderExtensions
{
    /// <summary>Maps each method of <typeparamref name="TService"/>, which derives from a generated base class, to its end point.</summary>
    /// <remarks>The service is taken from the application's services where it is registered, otherwise made for each call.</remarks>
    public static GrpcServiceEndpointConventionBuilder MapGrpcService<TService>(this IEndpointRouteBuilder builder)
        where TService : class
    {
        (Type bindType, string bindMethod, Type baseType) = FindBinding(typeof(TService));
        MethodInfo bind = bindType.GetMethod(bindMethod, [typeof(ServiceBinderBase), baseType])
            ?? throw new InvalidOperationException($"{bindType} has no method {bindMethod}(ServiceBinderBase, {baseType.Name}).");
        ServiceRoutes<TService> routes = new(builder);
        bind.Invoke(null, [routes, null]);
        routes.MapUnimplemented();
        return new GrpcServiceEndpointConventionBuilder(routes.EndPoints);
    }

    /// <summary>Maps the methods of a service that is already bound to the object that serves it.</summary>
    public static GrpcServiceEndpointConventionBuilder MapGrpcService(this IEndpointRouteBuilder builder, ServerServiceDefinition serviceDefinition)
    {
        ServiceRoutes<ServerServiceDefinition> routes = new(builder, serviceDefinition);
        serviceDefinition.BindService(routes);
        routes.MapUnimplemented();
        return new GrpcServiceEndpointConventionBuilder(routes.EndPoints);
    }

    private static (Type BindType, string BindMethod, Type BaseType) FindBinding(Type serviceType)
    {
        for (Type? type = serviceType; type is not null; type = type.BaseType)
        {
            if (type.GetCustomAttribute<BindServiceMethodAttribute>(inherit: false) is { } attribute)
            {
                return (attribute.BindType, attribute.BindMethodName, type);
            }
        }

        throw new InvalidOperationException($"{serviceType} does not derive from a generated gRPC service base class.");
    }
}
