using Gemma4Edge.Runtime;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Sends the metrics to an OpenTelemetry collector, where the environment names one.</summary>
/// <param name="node">This node's name.</param>
/// <param name="log">Hears when the collector goes, and when it is back.</param>
/// <remarks>
/// All of OpenTelemetry's own variables count: OTEL_EXPORTER_OTLP_PROTOCOL (grpc, http/protobuf), OTEL_METRIC_EXPORT_INTERVAL, OTEL_RESOURCE_ATTRIBUTES …
/// Those for metrics alone (OTEL_EXPORTER_OTLP_METRICS_…) the library reads for some of its entrances and not for this one; they are put in place here.
/// </remarks>
internal sealed class OtlpExport(string node, ILogger log) : IHostedService, IDisposable
{
    private const int MostAnswerBytes = 64 << 10;
    private const string ForAll = "OTEL_EXPORTER_OTLP_";
    private const string ForMetrics = "OTEL_EXPORTER_OTLP_METRICS_";
    private static readonly TimeSpan s_firstExport = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan s_lastExport = TimeSpan.FromSeconds(3);
    private MeterProvider? _provider;

    /// <summary>Whether a collector is named.</summary>
    public static bool IsConfigured => Find("ENDPOINT") is not null;

    /// <summary>Refuses what the library would leave out without a word: an address that no collector can have, a protocol that it does not speak.</summary>
    /// <exception cref="ConfigurationException">A variable holds no URL of http or https, or no known protocol.</exception>
    public static void CheckEnvironment()
    {
        foreach (string prefix in (string[])[ForAll, ForMetrics])
        {
            Check(
                prefix + "ENDPOINT",
                "the URL of an OpenTelemetry collector: http://HOST:4317, or https",
                value => Uri.TryCreate(value, UriKind.Absolute, out Uri? address) && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps));
            Check(prefix + "PROTOCOL", "grpc or http/protobuf", value => value is "grpc" or "http/protobuf");
        }

        static void Check(string name, string expected, Predicate<string> isAllowed)
        {
            if (Environment.GetEnvironmentVariable(name) is { Length: > 0 } value && !isAllowed(value))
            {
                throw new ConfigurationException($"{name} (from environment) is '{OptionValue.Shown(name, value)}'; expected {expected}.");
            }
        }
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        (string name, string endpoint) = Find("ENDPOINT")!.Value;
        var collector = new CollectorWatch($"{OptionValue.Shown(name, endpoint)} ({name})", TimeProvider.System, log);
        IEnumerable<KeyValuePair<string, string?>> chosen = ((string[])["PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION"])
            .Select(what => new KeyValuePair<string, string?>(ForAll + what, Find(what)?.Value));
        _provider = Sdk.CreateMeterProviderBuilder()
            .ConfigureServices(services => services.AddSingleton<IConfiguration>(
                new ConfigurationBuilder().AddEnvironmentVariables().AddInMemoryCollection(chosen.Where(pair => pair.Value is not null)).Build()))
            .ConfigureResource(resource => resource.AddNode(node))
            .AddMeter(EngineMetrics.MeterName)
            .AddOtlpExporter(options =>
            {
                if (name.StartsWith(ForMetrics, StringComparison.Ordinal))
                {
                    options.Endpoint = new Uri(endpoint); // as it stands: only the address for all signals gets a path added
                }

                Func<HttpClient> newClient = options.HttpClientFactory; // the library's own, which knows about certificates
                options.HttpClientFactory = () => new HttpClient(new WatchingHandler(Bounded(newClient()), collector)) { Timeout = TimeSpan.FromMilliseconds(options.TimeoutMilliseconds) };
            })
            .Build();
        _ = Task.Run(() => _provider.ForceFlush((int)s_firstExport.TotalMilliseconds), CancellationToken.None); // whether there is a collector or not, the node starts
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.Run(() => _provider?.Shutdown((int)s_lastExport.TotalMilliseconds), CancellationToken.None);

    /// <inheritdoc/>
    public void Dispose() => _provider?.Dispose();

    /// <summary>The variable that counts for metrics, and its value; null = none is set.</summary>
    private static (string Name, string Value)? Find(string what)
    {
        foreach (string name in (string[])[ForMetrics + what, ForAll + what])
        {
            if (Environment.GetEnvironmentVariable(name) is { Length: > 0 } value)
            {
                return (name, value);
            }
        }

        return null;
    }

    /// <summary>A collector answers in a few bytes; they are read whole, for the watch wants what stands at their end.</summary>
    private static HttpClient Bounded(HttpClient client)
    {
        client.MaxResponseContentBufferSize = MostAnswerBytes;
        return client;
    }

    /// <summary>Sends what it is given through the library's client, and tells how that went.</summary>
    private sealed class WatchingHandler(HttpClient client, CollectorWatch collector) : HttpMessageHandler
    {
        protected override HttpResponseMessage Send(HttpRequestMessage request, CancellationToken cancellationToken) =>
            SendAsync(request, cancellationToken).GetAwaiter().GetResult();

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            try
            {
                HttpResponseMessage response = await client.SendAsync(Copy(request), cancellationToken).ConfigureAwait(false);
                collector.Answered(response);
                return response;
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
            {
                collector.Failed(e is HttpRequestException ? e.Message : "it did not answer in time");
                throw;
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                client.Dispose();
            }

            base.Dispose(disposing);
        }

        /// <summary>A client refuses a request that another has sent.</summary>
        private static HttpRequestMessage Copy(HttpRequestMessage request)
        {
            var copy = new HttpRequestMessage(request.Method, request.RequestUri) { Content = request.Content, Version = request.Version, VersionPolicy = request.VersionPolicy };
            foreach ((string name, IEnumerable<string> values) in request.Headers)
            {
                copy.Headers.TryAddWithoutValidation(name, values);
            }

            return copy;
        }
    }
}
