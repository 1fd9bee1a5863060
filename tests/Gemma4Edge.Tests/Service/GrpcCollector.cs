using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Gemma4Edge.Tests.Service;

/// <summary>Answers every gRPC call with an empty message and a status of choice.</summary>
internal sealed class GrpcCollector : IHttpApplication<IFeatureCollection>, IDisposable
{
    public const string Message = "come back later";
    private readonly KestrelServer _server;

    public GrpcCollector(int port)
    {
        var kestrel = new KestrelServerOptions();
        kestrel.ListenLocalhost(port, listen => listen.Protocols = HttpProtocols.Http2);
        _server = new KestrelServer(Options.Create(kestrel), new SocketTransportFactory(Options.Create(new SocketTransportOptions()), NullLoggerFactory.Instance), NullLoggerFactory.Instance);
    }

    public string Status { get; set; } = "0";

    public string? Path { get; private set; }

    public Task StartAsync(CancellationToken cancellation) => _server.StartAsync(this, cancellation);

    public void Dispose() => _server.Dispose();

    public IFeatureCollection CreateContext(IFeatureCollection contextFeatures) => contextFeatures;

    public void DisposeContext(IFeatureCollection context, Exception? exception)
    {
        // it is the server's
    }

    public async Task ProcessRequestAsync(IFeatureCollection context)
    {
        IHttpRequestFeature request = context.GetRequiredFeature<IHttpRequestFeature>();
        Path = request.Path;
        await request.Body.CopyToAsync(Stream.Null);
        context.GetRequiredFeature<IHttpResponseFeature>().Headers.ContentType = "application/grpc";
        IHttpResponseTrailersFeature trailers = context.GetRequiredFeature<IHttpResponseTrailersFeature>();
        await context.GetRequiredFeature<IHttpResponseBodyFeature>().Writer.WriteAsync(new byte[5]); // not compressed, no bytes
        trailers.Trailers["grpc-status"] = Status;
        trailers.Trailers["grpc-message"] = Message;
    }
}
