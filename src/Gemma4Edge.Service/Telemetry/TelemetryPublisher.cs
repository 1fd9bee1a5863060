using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Hosting;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Publishes the node's figures every few seconds.</summary>
internal sealed class TelemetryPublisher(ServiceOptions options, ServedModel served, DeviceMonitor device, MqttBridge bridge) : BackgroundService
{
    private readonly PeriodicTimer _timer = new(TimeSpan.FromSeconds(options.Telemetry.IntervalSeconds));
    private readonly string _topic = new NodeTopics(options.Mqtt.Node).Telemetry;

    /// <summary>Time between two messages.</summary>
    public TimeSpan Interval
    {
        get => _timer.Period;
        set => _timer.Period = value;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _timer.Dispose();
        base.Dispose();
    }

    /// <summary>Publishes now.</summary>
    public void Publish()
    {
        byte[] payload = TelemetryPayload.Write(DateTimeOffset.UtcNow, served.Metrics.Reader, device.Readings.Throttled);
        bridge.Outbox.TryAddPassing(new OutboundMessage(_topic, payload) { AtLeastOnce = false });
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Throttling? last = device.Readings.Throttled;
        do
        {
            if (device.Readings.Throttled is var now && now != last)
            {
                last = now;
                bridge.TouchState();
            }

            Publish();
        }
        while (await _timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false));
    }
}
