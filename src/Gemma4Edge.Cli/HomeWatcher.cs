using System.Buffers;
using System.Text;
using System.Threading.Channels;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Cli;

/// <summary>An MQTT client that sees the topics of the demo's home change, as its lights and locks would.</summary>
internal sealed class HomeWatcher : IAsyncDisposable
{
    private readonly Channel<string> _changes = Channel.CreateUnbounded<string>();
    private readonly IMqttClient _client = new MqttClientFactory().CreateMqttClient();

    private HomeWatcher() => _client.ApplicationMessageReceivedAsync += e =>
    {
        _changes.Writer.TryWrite($"{e.ApplicationMessage.Topic} {Encoding.UTF8.GetString(e.ApplicationMessage.Payload.ToArray())}");
        return Task.CompletedTask;
    };

    /// <summary>Connects and subscribes.</summary>
    public static async Task<HomeWatcher> StartAsync(BrokerAddress broker, string filter, CancellationToken cancellation)
    {
        var watcher = new HomeWatcher();
        await BrokerConnection.ConnectAsync(
            watcher._client, broker, BrokerConnection.Options(broker, $"gemma4edge-home-{Guid.NewGuid():N}", new BrokerCredentials()).Build(), cancellation).ConfigureAwait(false);
        await watcher._client.SubscribeAsync(filter, MqttQualityOfServiceLevel.AtLeastOnce, cancellation).ConfigureAwait(false);
        return watcher;
    }

    /// <summary>The next change: topic and payload.</summary>
    public Task<string> NextAsync(CancellationToken cancellation) => _changes.Reader.ReadAsync(cancellation).AsTask();

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _client.DisconnectAsync().ConfigureAwait(false);
        _client.Dispose();
    }
}
