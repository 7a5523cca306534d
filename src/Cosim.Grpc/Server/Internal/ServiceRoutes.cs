// SPDX-License-Identifier: Apache-2.0
using System.Reflection;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>Turns the methods of <typeparamref name="TService"/> into end points.</summary>
/// <remarks>A method that comes with its handler is served by that, the others by an object of <typeparamref name="TService"/> for each call.</remarks>
internal sealed class ServiceRoutes<TService>(IEndpointRouteBuilder builder, TService? shared = null) : ServiceBinderBase
    where TService : class
{
    private readonly GrpcServiceOptions _options = builder.ServiceProvider.GetRequiredService<IOptions<GrpcServiceOptions>>().Value;
    private readonly ILogger _logger = builder.ServiceProvider.GetRequiredService<ILoggerFactory>().CreateLogger<TService>();
    private readonly List<IEndpointConventionBuilder> _endPoints = [];
    private readonly HashSet<string> _serviceNames = [];

    private delegate Task<TResponse> Unary<TRequest, TResponse>(TService service, TRequest request, ServerCallContext context);

    private delegate Task<TResponse> ClientStreaming<TRequest, TResponse>(TService service, IAsyncStreamReader<TRequest> requests, ServerCallContext context);

    private delegate Task ServerStreaming<TRequest, TResponse>(
        TService service, TRequest request, IServerStreamWriter<TResponse> responses, ServerCallContext context);

    private delegate Task DuplexStreaming<TRequest, TResponse>(
        TService service, IAsyncStreamReader<TRequest> requests, IServerStreamWriter<TResponse> responses, ServerCallContext context);

    internal IReadOnlyList<IEndpointConventionBuilder> EndPoints => _endPoints;

    public override void AddMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler)
    {
        Unary<TRequest, TResponse> invoke = handler is null
            ? Bind<Unary<TRequest, TResponse>>(method, typeof(TRequest), typeof(ServerCallContext))
            : (_, request, context) => handler(request, context);
        Map(method, async (service, call) => await call.WriteSingleAsync(await invoke(service, await call.ReadSingleAsync(), call)));
    }

    public override void AddMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, ClientStreamingServerMethod<TRequest, TResponse>? handler)
    {
        ClientStreaming<TRequest, TResponse> invoke = handler is null
            ? Bind<ClientStreaming<TRequest, TResponse>>(method, typeof(IAsyncStreamReader<TRequest>), typeof(ServerCallContext))
            : (_, requests, context) => handler(requests, context);
        Map(method, async (service, call) => await call.WriteSingleAsync(await invoke(service, call.Requests, call)));
    }

    public override void AddMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler)
    {
        ServerStreaming<TRequest, TResponse> invoke = handler is null
            ? Bind<ServerStreaming<TRequest, TResponse>>(method, typeof(TRequest), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext))
            : (_, request, responses, context) => handler(request, responses, context);
        Map(method, async (service, call) => await invoke(service, await call.ReadSingleAsync(), call.Responses, call));
    }

    public override void AddMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TRequest, TResponse>? handler)
    {
        DuplexStreaming<TRequest, TResponse> invoke = handler is null
            ? Bind<DuplexStreaming<TRequest, TResponse>>(method, typeof(IAsyncStreamReader<TRequest>), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext))
            : (_, requests, responses, context) => handler(requests, responses, context);
        Map(method, (service, call) => invoke(service, call.Requests, call.Responses, call));
    }

    /// <summary>Answers what no other end point of this server does: other methods of the mapped services, and unknown services.</summary>
    internal void MapUnimplemented()
    {
        foreach (string name in _serviceNames)
        {
            MapUnimplemented($"/{name}/{{method}}", context => $"The service {name} has no method \"{context.Request.RouteValues["method"]}\".");
        }

        if (_options.IgnoreUnknownServices != true && builder.ServiceProvider.GetRequiredService<UnknownServiceRoute>().Claim())
        {
            MapUnimplemented("/{service}/{method}", context => $"There is no service \"{context.Request.RouteValues["service"]}\".");
        }
    }

    private void MapUnimplemented(string pattern, Func<HttpContext, string> detail) =>
        builder.MapPost(pattern, (RequestDelegate)(context => UnimplementedCall.AnswerAsync(context, detail(context))))
            .WithOrder(int.MaxValue)
            .WithDisplayName($"gRPC - unimplemented {pattern}");

    private static TDelegate Bind<TDelegate>(IMethod method, params Type[] parameters)
        where TDelegate : Delegate
    {
        MethodInfo info = typeof(TService).GetMethod(method.Name, BindingFlags.Instance | BindingFlags.Public, parameters)
            ?? throw new InvalidOperationException($"{typeof(TService)} has no public method {method.Name} with the parameters of {method.FullName}.");
        return info.CreateDelegate<TDelegate>();
    }

    private void Map<TRequest, TResponse>(Method<TRequest, TResponse> method, Func<TService, ServerCall<TRequest, TResponse>, Task> serve)
        where TRequest : class
        where TResponse : class
    {
        Lazy<ObjectFactory<TService>> create = new(() => ActivatorUtilities.CreateFactory<TService>([]));
        _serviceNames.Add(method.ServiceName);
        _endPoints.Add(builder.MapPost(method.FullName, (RequestDelegate)(context => HandleAsync(context, method, create, serve)))
            .WithDisplayName($"gRPC - {method.FullName}")
            .WithMetadata(new GrpcMethodMetadata(typeof(TService), method)));
    }

    private async Task HandleAsync<TRequest, TResponse>(
        HttpContext context, Method<TRequest, TResponse> method, Lazy<ObjectFactory<TService>> create, Func<TService, ServerCall<TRequest, TResponse>, Task> serve)
        where TRequest : class
        where TResponse : class
    {
        if (!GrpcRequest.Accept(context))
        {
            return;
        }

        await using ServerCall<TRequest, TResponse> call = new(context, method, _options, _logger);
        TService? made = null;
        try
        {
            call.Start();
            TService service = shared ?? context.RequestServices.GetService<TService>() ?? (made = create.Value(context.RequestServices, []));
            await serve(service, call);
            await call.EndAsync();
        }
        catch (Exception e)
        {
            await call.EndAsync(e);
        }
        finally
        {
            await DisposeAsync(made);
        }
    }

    private static async ValueTask DisposeAsync(TService? made)
    {
        if (made is IAsyncDisposable asyncDisposable)
        {
            await asyncDisposable.DisposeAsync();
        }
        else
        {
            (made as IDisposable)?.Dispose();
        }
    }
}

/// <summary>One end point for all unknown services of an application, however many services it maps.</summary>
internal sealed class UnknownServiceRoute
{
    private int _claimed;

    internal bool Claim() => Interlocked.Exchange(ref _claimed, 1) == 0;
}
