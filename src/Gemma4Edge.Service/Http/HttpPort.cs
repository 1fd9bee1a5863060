using System.Net;
using System.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Telemetry;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Gemma4Edge.Service.Http;

/// <summary>The node's HTTP port: <c>/metrics</c> for Prometheus, <c>/healthz</c> and <c>/readyz</c> for whoever watches over the process. It reads, nothing else.</summary>
/// <remarks>Kestrel alone, without ASP.NET's host, routing and middleware: three fixed paths need none, and the binary stays small.</remarks>
internal sealed class HttpPort : IHostedService, IHttpApplication<IFeatureCollection>, IDisposable
{
    private const int MaxConnections = 64;
    private static readonly TimeSpan s_headers = TimeSpan.FromSeconds(5); // who is slower, or idle for longer, keeps a place from others
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(15);
    private readonly KestrelServer _server;
    private readonly HttpOptions _options;
    private readonly MetricFamily _target;
    private readonly MetricReader _metrics;
    private readonly Func<Readiness> _readiness;

    public HttpPort(HttpOptions options, string node, MetricReader metrics, Func<Readiness> readiness)
    {
        _target = new MetricFamily(new Metric(MetricKind.Gauge, "target_info", "", "Whose figures these are"), [new MetricSeries(NodeResource.Attributes(node), 1, 0, [])]);
        (_options, _metrics, _readiness) = (options, metrics, readiness);
        var kestrel = new KestrelServerOptions { AddServerHeader = false };
        kestrel.Limits.MaxConcurrentConnections = MaxConnections;
        kestrel.Limits.MaxRequestBodySize = 0;
        kestrel.Limits.RequestHeadersTimeout = s_headers;
        kestrel.Limits.KeepAliveTimeout = s_idle;
        kestrel.Listen(IPEndPoint.Parse(options.Listen), listen => listen.Protocols = HttpProtocols.Http1);
        var transport = new SocketTransportFactory(Options.Create(new SocketTransportOptions()), NullLoggerFactory.Instance);
        _server = new KestrelServer(Options.Create(kestrel), transport, NullLoggerFactory.Instance);
    }

    /// <inheritdoc/>
    /// <exception cref="ConfigurationException">The port is taken, or the address is not this machine's.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _server.StartAsync(this, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            throw new ConfigurationException($"Http:Listen is '{_options.Listen}', where nobody can listen: {e.Message.TrimEnd('.')}. Choose another port, or stop what has this one.", e);
        }
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => _server.StopAsync(cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _server.Dispose();

    IFeatureCollection IHttpApplication<IFeatureCollection>.CreateContext(IFeatureCollection contextFeatures) => contextFeatures;

    void IHttpApplication<IFeatureCollection>.DisposeContext(IFeatureCollection context, Exception? exception)
    {
        // it is the server's
    }

    async Task IHttpApplication<IFeatureCollection>.ProcessRequestAsync(IFeatureCollection context)
    {
        IHttpRequestFeature request = context.GetRequiredFeature<IHttpRequestFeature>();
        IHttpResponseFeature response = context.GetRequiredFeature<IHttpResponseFeature>();
        (int status, string type, byte[] body) = Answer(request.Method, request.Path);
        response.StatusCode = status;
        response.Headers.ContentType = type;
        response.Headers.ContentLength = body.Length;
        response.Headers.CacheControl = "no-store";
        if (status == 405)
        {
            response.Headers.Allow = "GET, HEAD";
        }

        if (request.Method != "HEAD")
        {
            await context.GetRequiredFeature<IHttpResponseBodyFeature>().Writer.WriteAsync(body).ConfigureAwait(false);
        }
    }

    private (int Status, string ContentType, byte[] Body) Answer(string method, string path)
    {
        const string Plain = "text/plain; charset=utf-8";
        if (method is not ("GET" or "HEAD"))
        {
            return (405, Plain, "This port is only read: GET or HEAD.\n"u8.ToArray());
        }

        switch (path)
        {
            case "/metrics":
                return (200, PrometheusText.ContentType, Encoding.UTF8.GetBytes(PrometheusText.Write([_target, .. _metrics.Read()])));
            case "/healthz":
                return (200, Plain, "ok\n"u8.ToArray());
            case "/readyz":
                Readiness readiness = _readiness();
                return (readiness.IsReady ? 200 : 503, "application/json", Payloads.Object(readiness.Write));
            default:
                return (404, Plain, "There are /metrics, /healthz and /readyz.\n"u8.ToArray());
        }
    }
}
