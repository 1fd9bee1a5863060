using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using Microsoft.Extensions.Logging;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Publishes what is in the outbox, in order and one after the other; a message leaves it when the broker has answered for it.</summary>
internal sealed partial class OutboxPublisher(Outbox outbox, ILogger log)
{
    /// <summary>Connections that one message may cost: a broker that dies takes a few with it, one that refuses the message every one. With growing delays it is minutes.</summary>
    private const int AttemptsPerMessage = 10;

    /// <summary>What a packet holds beside topic, payload and correlation data, at most.</summary>
    private const int PacketOverheadBytes = 16;

    private static readonly TimeSpan s_away = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_again = TimeSpan.FromSeconds(1);

    /// <summary>How long after it has connected the node waits for others to do so as well.</summary>
    private static readonly TimeSpan s_return = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, bool> _told = new(); // topics of passing messages that are given up each time on this connection
    private volatile MqttClientDisconnectReason _lossReason;
    private long _connectedAt;
    private long _mostBytes = uint.MaxValue;

    /// <summary>The broker has let the node in.</summary>
    public void Connected(MqttClientConnectResult broker)
    {
        Interlocked.Exchange(ref _connectedAt, Stopwatch.GetTimestamp());
        _lossReason = MqttClientDisconnectReason.NormalDisconnection;
        _told.Clear();
        Interlocked.Exchange(ref _mostBytes, broker.MaximumPacketSize is > 0 and var most ? most : uint.MaxValue);
    }

    /// <summary>The connection is gone.</summary>
    public void Lost(MqttClientDisconnectReason reason) => _lossReason = reason;

    /// <summary>Publishes one message at once.</summary>
    public static Task<MqttClientPublishResult> PublishAsync(IMqttClient client, OutboundMessage message, CancellationToken cancellation) => client.PublishAsync(
        new MqttApplicationMessage
        {
            Topic = message.Topic,
            PayloadSegment = message.Payload,
            CorrelationData = message.Correlation,
            Retain = message.Retain,
            QualityOfServiceLevel = message.AtLeastOnce ? MqttQualityOfServiceLevel.AtLeastOnce : MqttQualityOfServiceLevel.AtMostOnce,
        },
        cancellation);

    /// <summary>The same; a refusal is logged.</summary>
    public async Task<MqttClientPublishReasonCode> SendAsync(IMqttClient client, OutboundMessage message, CancellationToken cancellation)
    {
        MqttClientPublishResult result = await PublishAsync(client, message, cancellation).ConfigureAwait(false);
        if (result.ReasonCode >= MqttClientPublishReasonCode.UnspecifiedError)
        {
            LogRefused(message.Topic, result.ReasonCode);
        }

        return result.ReasonCode;
    }

    /// <summary>Publishes what the node tells about itself, but for what the broker cannot take.</summary>
    public async Task AnnounceAsync(IMqttClient client, IReadOnlyList<OutboundMessage> messages, CancellationToken cancellation)
    {
        foreach (OutboundMessage message in messages)
        {
            if (Excess(message) is { } excess)
            {
                LogGivenUp(message.Topic, excess);
                continue;
            }

            await SendAsync(client, message, cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>Works until it is stopped.</summary>
    /// <param name="way">The connection to publish on; null = there is none now.</param>
    /// <param name="stopping">Ends it.</param>
    public async Task RunAsync(Func<IMqttClient?> way, CancellationToken stopping)
    {
        while (true)
        {
            OutboundMessage message = await outbox.TakeAsync(stopping).ConfigureAwait(false);
            bool isUnread = false;
            string? problem = Excess(message);
            for (int attempts = 0; problem is null;)
            {
                if (way() is not { IsConnected: true } client)
                {
                    await Task.Delay(s_away, stopping).ConfigureAwait(false);
                    continue;
                }

                if (!outbox.IsConnected && message.Retain && message.Answered is null)
                {
                    break; // another process is online as the node: what the node tells about itself is that one's now
                }

                try
                {
                    isUnread = await SendAsync(client, message, stopping).ConfigureAwait(false) == MqttClientPublishReasonCode.NoMatchingSubscribers;
                    break;
                }
                catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, stopping))
                {
                    await Task.Delay(s_away, stopping).ConfigureAwait(false); // the reason for the loss may come a little later
                    attempts += e.GetBaseException() is TimeoutException ? 0 : BrokerConnection.IsFaultOfAPacket(_lossReason) ? AttemptsPerMessage / 2 : 1; // silence is no quarrel with the message
                    problem = attempts >= AttemptsPerMessage ? e.Message : null; // a message that the broker ends the connection for must not block the ones behind it
                }
            }

            Leave(message, problem, isUnread, stopping);
            outbox.Published();
        }
    }

    /// <summary>Sees to what becomes of a message that was tried: it is told, or comes again, or something else comes in its place.</summary>
    private void Leave(OutboundMessage message, string? problem, bool isUnread, CancellationToken stopping)
    {
        if (problem is not null && (message.AtLeastOnce || _told.TryAdd(message.Topic, true)))
        {
            LogGivenUp(message.Topic, problem);
        }

        if (problem is not null && message.Instead is { } instead)
        {
            outbox.Add(message with { Payload = instead(problem), Instead = null });
        }
        else if (isUnread && message is { AwaitsReader: true, Retain: false } && Stopwatch.GetElapsedTime(Interlocked.Read(ref _connectedAt)) < s_return)
        {
            _ = Task.Delay(s_again, stopping).ContinueWith(_ => outbox.Add(message), stopping, TaskContinuationOptions.OnlyOnRanToCompletion, TaskScheduler.Default);
        }
        else
        {
            message.Answered?.Invoke();
        }
    }

    /// <summary>Why the broker cannot take a message; null = nothing is known against it.</summary>
    private string? Excess(OutboundMessage message)
    {
        long most = Interlocked.Read(ref _mostBytes);
        int bytes = PacketOverheadBytes + Encoding.UTF8.GetByteCount(message.Topic) + message.Payload.Length + (message.Correlation?.Length ?? 0);
        return bytes > most ? $"it has {bytes} bytes, and the broker takes {most} in a packet" : null;
    }

    [LoggerMessage(EventId = 4, Level = LogLevel.Error, Message = "A message on {topic} could not be published and is given up: {reason}")]
    private partial void LogGivenUp(string topic, string reason);

    [LoggerMessage(EventId = 5, Level = LogLevel.Warning, Message = "The broker refuses a message on {topic}: {code}")]
    private partial void LogRefused(string topic, MqttClientPublishReasonCode code);
}
