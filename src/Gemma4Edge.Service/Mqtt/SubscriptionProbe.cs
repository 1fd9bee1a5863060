using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using MQTTnet;
using MQTTnet.Packets;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What came of a message to oneself.</summary>
internal enum ProbeOutcome
{
    /// <summary>It arrived.</summary>
    Heard,

    /// <summary>The broker took it and did not deliver it.</summary>
    Silent,

    /// <summary>The broker did not take it, so nothing is known about hearing.</summary>
    MayNotPublish,
}

/// <summary>Proves subscriptions by messages to oneself: Mosquitto answers a forbidden SUBSCRIBE with "granted", and then delivers nothing.</summary>
/// <remarks>The messages are empty and marked by a user property. Every node passes over what is so marked, whoever sent it.</remarks>
internal sealed class SubscriptionProbe
{
    private const string Mark = "gemma4edge-probe";
    private static readonly TimeSpan s_again = TimeSpan.FromSeconds(1);
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _awaited = new();

    /// <summary>How long a message may take.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Whether a message is such a proof and no command.</summary>
    public static bool IsProbe(MqttApplicationMessage message) => MarkOf(message) is not null;

    /// <summary>An empty message that nodes pass over.</summary>
    public static MqttApplicationMessage MessageOn(string topic, string? mark = null) => new()
    {
        Topic = topic,
        UserProperties = [new MqttUserProperty(Mark, Encoding.UTF8.GetBytes(mark ?? "-").AsMemory())],
        QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce,
    };

    /// <summary>Takes a message out of what arrives if it is a proof, this client's or another's; false = it is not.</summary>
    public bool Takes(MqttApplicationMessage message)
    {
        string? mark = MarkOf(message);
        if (mark is not null && _awaited.TryGetValue(mark, out TaskCompletionSource? heard))
        {
            heard.TrySetResult();
        }

        return mark is not null;
    }

    /// <summary>Publishes to a topic that <paramref name="client"/> has subscribed to and waits for it. Again every second: a broker drops messages where a session's queue is full.</summary>
    public async Task<ProbeOutcome> ProveAsync(IMqttClient client, string topic, CancellationToken cancellation)
    {
        string mark = Guid.NewGuid().ToString("N");
        TaskCompletionSource heard = _awaited.GetOrAdd(mark, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        try
        {
            for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < Patience;)
            {
                MqttClientPublishResult result = await client.PublishAsync(MessageOn(topic, mark), cancellation).ConfigureAwait(false);
                if (result.ReasonCode >= MqttClientPublishReasonCode.UnspecifiedError)
                {
                    return ProbeOutcome.MayNotPublish;
                }

                await Task.WhenAny(heard.Task, Task.Delay(s_again, cancellation)).ConfigureAwait(false);
                cancellation.ThrowIfCancellationRequested();
                if (heard.Task.IsCompleted)
                {
                    return ProbeOutcome.Heard;
                }
            }

            return ProbeOutcome.Silent;
        }
        finally
        {
            _awaited.TryRemove(mark, out _);
        }
    }

    /// <summary>Subscribes to a topic that nobody publishes to, and hears itself there: what was to be delivered before has arrived by then, and been taken.</summary>
    public async Task<ProbeOutcome> PassAsync(IMqttClient client, string topic, CancellationToken cancellation)
    {
        await client.SubscribeAsync(topic, MqttQualityOfServiceLevel.AtLeastOnce, cancellation).ConfigureAwait(false);
        return await ProveAsync(client, topic, cancellation).ConfigureAwait(false);
    }

    private static string? MarkOf(MqttApplicationMessage message) => message.UserProperties?.FirstOrDefault(property => property.Name == Mark)?.ReadValueAsString();
}
