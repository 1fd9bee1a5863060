using Gemma4Edge.Runtime;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Sends the metrics to an OpenTelemetry collector, where the environment names one.</summary>
/// <param name="node">This node's name.</param>
/// <param name="log">Hears when the first export fails.</param>
/// <remarks>All of OpenTelemetry's own variables count: OTEL_EXPORTER_OTLP_PROTOCOL (grpc, http/protobuf), OTEL_METRIC_EXPORT_INTERVAL, OTEL_RESOURCE_ATTRIBUTES …</remarks>
internal sealed partial class OtlpExport(string node, ILogger log) : IHostedService, IDisposable
{
    private const string ServiceName = "gemma4edge";
    private static readonly string[] s_endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];
    private static readonly TimeSpan s_firstExport = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan s_lastExport = TimeSpan.FromSeconds(3);
    private MeterProvider? _provider;

    /// <summary>Whether a collector is named.</summary>
    public static bool IsConfigured => s_endpoints.Any(name => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(name)));

    /// <summary>Refuses an address that no collector can have; the library would leave it out without a word.</summary>
    /// <exception cref="ConfigurationException">A variable holds no URL of http or https.</exception>
    public static void CheckEndpoints()
    {
        foreach (string name in s_endpoints)
        {
            string? value = Environment.GetEnvironmentVariable(name);
            if (!string.IsNullOrEmpty(value) && !(Uri.TryCreate(value, UriKind.Absolute, out Uri? address) && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps)))
            {
                throw new ConfigurationException($"{name} (from environment) is '{OptionValue.Shown(name, value)}'; expected the URL of an OpenTelemetry collector: http://HOST:4317, or https.");
            }
        }
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        _provider = Sdk.CreateMeterProviderBuilder()
            .ConfigureResource(resource => resource.AddService(Environment.GetEnvironmentVariable("OTEL_SERVICE_NAME") ?? ServiceName, serviceVersion: NodeInfo.ProgramVersion, autoGenerateServiceInstanceId: false, serviceInstanceId: node))
            .AddMeter(EngineMetrics.MeterName)
            .AddOtlpExporter()
            .Build();
        _ = Task.Run(ExportFirst, CancellationToken.None); // whether there is a collector or not, the node starts
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.Run(() => _provider?.Shutdown((int)s_lastExport.TotalMilliseconds), CancellationToken.None);

    /// <inheritdoc/>
    public void Dispose() => _provider?.Dispose();

    private void ExportFirst()
    {
        if (!_provider!.ForceFlush((int)s_firstExport.TotalMilliseconds))
        {
            string name = s_endpoints.Last(name => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(name)));
            LogFailed(OptionValue.Shown(name, Environment.GetEnvironmentVariable(name)), name);
        }
    }

    [LoggerMessage(EventId = 51, Level = LogLevel.Warning, Message = "The collector {endpoint} ({name}) did not take the first metrics; the export goes on, and later failures are not logged")]
    private partial void LogFailed(string? endpoint, string name);
}
