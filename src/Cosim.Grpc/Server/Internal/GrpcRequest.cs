// SPDX-License-Identifier: Apache-2.0
using Grpc.Core;
using Grpc.Shared;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>Tells gRPC requests from others and frees them from limits that are meant for files.</summary>
internal static class GrpcRequest
{
    /// <summary>False when the request is no gRPC call; then it is answered in terms of HTTP.</summary>
    internal static bool Accept(HttpContext context)
    {
        if (!HttpProtocol.IsHttp2(context.Request.Protocol) && !HttpProtocol.IsHttp3(context.Request.Protocol))
        {
            context.Response.StatusCode = StatusCodes.Status426UpgradeRequired;
            context.Response.Headers.Upgrade = "HTTP/2";
            return false;
        }

        if (!ProtocolHeaders.IsGrpcContentType(context.Request.ContentType))
        {
            context.Response.StatusCode = StatusCodes.Status415UnsupportedMediaType;
            return false;
        }

        // A quiet client stream is no slow upload: the server would abort it after some seconds.
        if (context.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } dataRate)
        {
            dataRate.MinDataRate = null;
        }

        // Messages have their own limit; a stream of them has none.
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } bodySize)
        {
            bodySize.MaxRequestBodySize = null;
        }

        context.Response.ContentType = ProtocolHeaders.ContentType;
        return true;
    }
}

/// <summary>Answers calls of what is not there.</summary>
internal static class UnimplementedCall
{
    internal static Task AnswerAsync(HttpContext context, string detail)
    {
        if (GrpcRequest.Accept(context))
        {
            context.Response.Headers[ProtocolHeaders.Status] = ((int)StatusCode.Unimplemented).ToString(System.Globalization.CultureInfo.InvariantCulture);
            context.Response.Headers[ProtocolHeaders.Message] = ProtocolHeaders.EncodeMessage(detail);
        }

        return Task.CompletedTask;
    }
}
