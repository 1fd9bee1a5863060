using Gemma4Edge.Runtime;
using Microsoft.Extensions.Hosting;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Sends the metrics to an OpenTelemetry collector, where the environment names one.</summary>
/// <remarks>All of OpenTelemetry's own variables count: OTEL_EXPORTER_OTLP_PROTOCOL (grpc, http/protobuf), OTEL_METRIC_EXPORT_INTERVAL, OTEL_RESOURCE_ATTRIBUTES …</remarks>
internal sealed class OtlpExport(string node) : IHostedService, IDisposable
{
    private const string ServiceName = "gemma4edge";
    private static readonly string[] s_endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];
    private static readonly TimeSpan s_lastExport = TimeSpan.FromSeconds(3);
    private MeterProvider? _provider;

    /// <summary>Whether a collector is named.</summary>
    public static bool IsConfigured => s_endpoints.Any(name => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(name)));

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        _provider = Sdk.CreateMeterProviderBuilder()
            .ConfigureResource(resource => resource.AddService(Environment.GetEnvironmentVariable("OTEL_SERVICE_NAME") ?? ServiceName, serviceVersion: NodeInfo.ProgramVersion, autoGenerateServiceInstanceId: false, serviceInstanceId: node))
            .AddMeter(EngineMetrics.MeterName)
            .AddOtlpExporter()
            .Build();
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.Run(() => _provider?.Shutdown((int)s_lastExport.TotalMilliseconds), CancellationToken.None);

    /// <inheritdoc/>
    public void Dispose() => _provider?.Dispose();
}
