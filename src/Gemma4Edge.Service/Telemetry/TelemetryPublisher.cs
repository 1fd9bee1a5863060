using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Hosting;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Publishes the node's figures every few seconds.</summary>
internal sealed class TelemetryPublisher(ServiceOptions options, ServedModel served, DeviceMonitor device, MqttBridge bridge) : BackgroundService
{
    private readonly string _topic = new NodeTopics(options.Mqtt.Node).Telemetry;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(options.Telemetry.IntervalSeconds));
        do
        {
            byte[] payload = TelemetryPayload.Write(DateTimeOffset.UtcNow, served.Metrics.Reader, device.Readings.Throttled);
            bridge.Outbox.TryAddPassing(new OutboundMessage(_topic, payload) { AtLeastOnce = false });
        }
        while (await timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false));
    }
}
