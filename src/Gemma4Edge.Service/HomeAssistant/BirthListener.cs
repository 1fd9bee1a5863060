using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Telemetry;
using Microsoft.Extensions.Hosting;

namespace Gemma4Edge.Service.HomeAssistant;

/// <summary>Shows the node again whenever Home Assistant has come up: it forgets what is not retained. The wait keeps a house full of nodes from answering at once.</summary>
internal sealed class BirthListener(MqttBridge bridge, TelemetryPublisher telemetry) : BackgroundService
{
    private const double LongestWaitSeconds = 5;

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (true)
        {
            await bridge.HomeAssistantBirths.ReadAsync(stoppingToken).ConfigureAwait(false);
            await Task.Delay(TimeSpan.FromSeconds(Random.Shared.NextDouble() * LongestWaitSeconds), stoppingToken).ConfigureAwait(false);
            bridge.AnnounceAgain();
            telemetry.Publish();
        }
    }
}
