using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Threading.Channels;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>The other end: sends prompts to nodes and hears their events, on a reply topic of its own.</summary>
/// <remarks>Thread-safe: any number of requests may be under way.</remarks>
public sealed class PromptClient : IAsyncDisposable
{
    private readonly IMqttClient _client;
    private readonly BrokerAddress _broker;
    private readonly string _replyTopic;
    private readonly ConcurrentDictionary<string, Channel<JsonElement>> _pending = new();

    private PromptClient(IMqttClient client, BrokerAddress broker, string replyTopic)
    {
        _client = client;
        _broker = broker;
        _replyTopic = replyTopic;
    }

    /// <summary>Connects.</summary>
    /// <param name="broker">Where to.</param>
    /// <param name="credentials">As whom; null = nobody.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="BrokerUnavailableException">The broker cannot be reached, or refuses.</exception>
    /// <exception cref="ConfigurationException">A file of the credentials cannot be used.</exception>
    public static async Task<PromptClient> ConnectAsync(BrokerAddress broker, BrokerCredentials? credentials, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(broker);
        string clientId = $"gemma4edge-client-{Guid.NewGuid():N}";
        string replyTopic = $"gemma4edge/reply/{clientId}";
        IMqttClient mqtt = new MqttClientFactory().CreateMqttClient();
        try
        {
            var client = new PromptClient(mqtt, broker, replyTopic);
            mqtt.ApplicationMessageReceivedAsync += client.OnReceivedAsync;
            mqtt.DisconnectedAsync += client.OnDisconnectedAsync;
            await BrokerConnection.ConnectAsync(mqtt, broker, BrokerConnection.Options(broker, clientId, credentials ?? new BrokerCredentials()).Build(), cancellation).ConfigureAwait(false);
            await mqtt.SubscribeAsync(replyTopic, MqttQualityOfServiceLevel.AtLeastOnce, cancellation).ConfigureAwait(false);
            return client;
        }
        catch
        {
            mqtt.Dispose();
            throw;
        }
    }

    /// <summary>Sends one request and hears its events; the last is <c>done</c> or <c>error</c>. Ending the enumeration before that cancels the request.</summary>
    /// <param name="node">The node that shall answer.</param>
    /// <param name="request">What is asked.</param>
    /// <param name="silence">How long to wait for the first or the next event.</param>
    /// <param name="cancellation">Gives the request up.</param>
    /// <exception cref="TimeoutException">Nobody listens, or nothing came for that long.</exception>
    /// <exception cref="BrokerUnavailableException">The connection broke.</exception>
    public async IAsyncEnumerable<JsonElement> SendAsync(
        string node, OutgoingRequest request, TimeSpan silence, [EnumeratorCancellation] CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(request);
        var topics = new NodeTopics(node);
        Channel<JsonElement> events = _pending.GetOrAdd(request.Id, _ => Channel.CreateUnbounded<JsonElement>());
        bool ended = false;
        try
        {
            await PublishAsync(node, topics.Request, request.ToPayload(), cancellation).ConfigureAwait(false);
            while (!ended)
            {
                JsonElement next = await NextAsync(node, events, silence, cancellation).ConfigureAwait(false);
                ended = next.GetProperty("type").GetString() is "done" or "error";
                yield return next;
            }
        }
        finally
        {
            _pending.TryRemove(request.Id, out _);
            if (!ended && _client.IsConnected)
            {
                byte[] cancel = Payloads.Object(json => json.WriteString("id", request.Id));
                await _client.PublishBinaryAsync(topics.Cancel, cancel, MqttQualityOfServiceLevel.AtLeastOnce, cancellationToken: CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_client.IsConnected)
        {
            await _client.DisconnectAsync().ConfigureAwait(false);
        }

        _client.Dispose();
    }

    private async Task PublishAsync(string node, string topic, byte[] payload, CancellationToken cancellation)
    {
        MqttClientPublishResult result;
        try
        {
            result = await _client.PublishAsync(
                new MqttApplicationMessage
                {
                    Topic = topic,
                    PayloadSegment = payload,
                    ResponseTopic = _replyTopic,
                    ContentType = "application/json",
                    QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce,
                },
                cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation))
        {
            throw Lost(e.Message, e);
        }

        if (result.ReasonCode == MqttClientPublishReasonCode.NoMatchingSubscribers)
        {
            throw new TimeoutException($"Node {node} does not listen at {_broker}: nobody has subscribed to {topic}. Check the node's name, and that it is online.");
        }

        if (!result.IsSuccess)
        {
            throw Lost($"it refuses a message on {topic}: {result.ReasonCode}", null);
        }
    }

    private async Task<JsonElement> NextAsync(string node, Channel<JsonElement> events, TimeSpan silence, CancellationToken cancellation)
    {
        try
        {
            return await events.Reader.ReadAsync(cancellation).AsTask().WaitAsync(silence, cancellation).ConfigureAwait(false);
        }
        catch (ChannelClosedException e)
        {
            throw Lost("the connection broke before the answer was complete", e);
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"Node {node} at {_broker} sent nothing for {silence.TotalSeconds:0} s. Check that it is online, or wait longer.", e);
        }
    }

    private BrokerUnavailableException Lost(string reason, Exception? cause) => new(_broker.ToString(), reason, "Send the request again.", cause);

    private Task OnReceivedAsync(MqttApplicationMessageReceivedEventArgs e)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(e.ApplicationMessage.Payload);
            if (document.RootElement.TryGetProperty("type", out JsonElement type) && type.GetString() is not null
                && document.RootElement.TryGetProperty("id", out JsonElement id) && id.GetString() is { } name && _pending.TryGetValue(name, out Channel<JsonElement>? events))
            {
                events.Writer.TryWrite(document.RootElement.Clone());
            }
        }
        catch (Exception notAnEvent) when (notAnEvent is JsonException or InvalidOperationException)
        {
            // anybody may publish on a reply topic; what is no event is not for us
        }

        return Task.CompletedTask;
    }

    private Task OnDisconnectedAsync(MqttClientDisconnectedEventArgs e)
    {
        foreach (Channel<JsonElement> events in _pending.Values)
        {
            events.Writer.TryComplete();
        }

        return Task.CompletedTask;
    }
}
