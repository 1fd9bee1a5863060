using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Hosting;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Publishes the node's figures every few seconds.</summary>
internal sealed class TelemetryPublisher(ServiceOptions options, ServedModel served, MqttBridge bridge) : BackgroundService
{
    private readonly string _topic = new NodeTopics(options.Mqtt.Node).Telemetry;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(options.Telemetry.IntervalSeconds));
        do
        {
            byte[] payload = Payloads.Telemetry(
                DateTimeOffset.UtcNow, served.Metrics.Snapshot(), DeviceReadings.Read(), served.Residency(), served.Queue.Count, bridge.Reconnects);
            bridge.Outbox.TryAddPassing(new OutboundMessage(_topic, payload) { AtLeastOnce = false });
        }
        while (await timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false));
    }
}
