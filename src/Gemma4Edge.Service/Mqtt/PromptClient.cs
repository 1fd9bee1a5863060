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
    private readonly ConcurrentDictionary<string, Channel<Heard>> _pending = new();

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
        IMqttClient mqtt = BrokerConnection.NewClient();
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
        Channel<Heard> events = _pending.GetOrAdd(request.Id, _ => Channel.CreateUnbounded<Heard>());
        bool ended = false;
        try
        {
            if (!await PublishAsync(topics.Request, request.ToPayload(), attempt: 0, TimeSpan.Zero, cancellation).ConfigureAwait(false))
            {
                throw new TimeoutException($"Node {node} does not listen at {_broker}: nobody has subscribed to {topics.Request}. Check the node's name, and that it is online.");
            }

            while (!ended)
            {
                JsonElement next = (await NextAsync(events, silence, cancellation).ConfigureAwait(false))?.Event
                    ?? throw new TimeoutException($"Node {node} at {_broker} sent nothing for {silence.TotalSeconds:0} s. Check that it is online, or wait longer.");
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

    /// <summary>Sends one request to whichever node of a pool is free and hears its events; the last is <c>done</c>, or an <c>error</c> that another node would have, too.</summary>
    /// <param name="pool">The pool's name.</param>
    /// <param name="request">What is asked.</param>
    /// <param name="timeout">How long to try without a sign of life.</param>
    /// <param name="waits">Hears why the request has to be sent again. An answer that was under way begins anew.</param>
    /// <param name="cancellation">Gives the request up.</param>
    /// <remarks>
    /// Sent again, with the same id, while no node is free, when the chosen one turns out to be busy, and when it falls silent; but never once a tool was called, which must
    /// not act twice. Each attempt has its own correlation data, so a node that was given up and comes back is not mixed in; its final, though, ends the wait.
    /// </remarks>
    /// <exception cref="TimeoutException">Nobody answered in that time.</exception>
    /// <exception cref="BrokerUnavailableException">The connection broke.</exception>
    public async IAsyncEnumerable<JsonElement> SendToPoolAsync(
        string pool, OutgoingRequest request, TimeSpan timeout, Action<string> waits, [EnumeratorCancellation] CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(waits);
        string topic = NodeTopics.PoolRequest(pool);
        byte[] payload = request.ToPayload();
        Channel<Heard> events = _pending.GetOrAdd(request.Id, _ => Channel.CreateUnbounded<Heard>());
        var retry = new PoolRetry(timeout, request.Stream);
        try
        {
            while (true)
            {
                bool isTaken = await PublishAsync(topic, payload, retry.NextAttempt(), timeout, cancellation).ConfigureAwait(false);
                string? problem = isTaken ? null : "no node is free";
                while (problem is null)
                {
                    Heard? heard = await NextAsync(events, retry.Silence, cancellation).ConfigureAwait(false);
                    problem = retry.Judge(heard);
                    if (problem is null && retry.IsCurrent(heard!))
                    {
                        yield return heard!.Event;
                        if (heard.IsFinal)
                        {
                            yield break;
                        }
                    }
                }

                if (retry.NextDelay() is not { } delay)
                {
                    throw new TimeoutException(retry.HasActed
                        ? $"Pool {pool} at {_broker}: {problem}, after a tool was called. Look at what it should have changed before you send the request again."
                        : $"Pool {pool} at {_broker}: {problem}, and that for {timeout.TotalSeconds:0} s. Check that its nodes are online, or wait longer.");
                }

                waits(problem);
                await Task.Delay(delay, cancellation).ConfigureAwait(false);
            }
        }
        finally
        {
            _pending.TryRemove(request.Id, out _);
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

    /// <returns>Whether anybody has subscribed to the topic.</returns>
    private async Task<bool> PublishAsync(string topic, byte[] payload, int attempt, TimeSpan expiry, CancellationToken cancellation)
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
                    CorrelationData = attempt == 0 ? null : BitConverter.GetBytes(attempt),
                    ContentType = "application/json",
                    MessageExpiryInterval = (uint)Math.Ceiling(expiry.TotalSeconds),
                    QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce,
                },
                cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation))
        {
            throw Lost(e.Message, e);
        }

        return result.ReasonCode == MqttClientPublishReasonCode.NoMatchingSubscribers ? false
            : result.IsSuccess ? true
            : throw Lost($"it refuses a message on {topic}: {result.ReasonCode}", null);
    }

    /// <returns>Null = nothing came for that long.</returns>
    private async Task<Heard?> NextAsync(Channel<Heard> events, TimeSpan silence, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(silence);
        try
        {
            return await events.Reader.ReadAsync(patience.Token).ConfigureAwait(false);
        }
        catch (ChannelClosedException e)
        {
            throw Lost("the connection broke before the answer was complete", e);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return null;
        }
    }

    private BrokerUnavailableException Lost(string reason, Exception? cause) => new(_broker.ToString(), reason, "Send the request again.", cause);

    private Task OnReceivedAsync(MqttApplicationMessageReceivedEventArgs e)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(e.ApplicationMessage.Payload);
            if (document.RootElement.TryGetProperty("type", out JsonElement type) && type.GetString() is not null
                && document.RootElement.TryGetProperty("id", out JsonElement id) && id.GetString() is { } name && _pending.TryGetValue(name, out Channel<Heard>? events))
            {
                events.Writer.TryWrite(new Heard(document.RootElement.Clone(), CorrelationOf(e.ApplicationMessage)));
            }
        }
        catch (Exception notAnEvent) when (notAnEvent is JsonException or InvalidOperationException)
        {
            // anybody may publish on a reply topic; what is no event is not for us
        }

        return Task.CompletedTask;
    }

    private static int CorrelationOf(MqttApplicationMessage message) => message.CorrelationData is { Length: sizeof(int) } data ? BitConverter.ToInt32(data) : 0;

    private Task OnDisconnectedAsync(MqttClientDisconnectedEventArgs e)
    {
        foreach (Channel<Heard> events in _pending.Values)
        {
            events.Writer.TryComplete();
        }

        return Task.CompletedTask;
    }
}
