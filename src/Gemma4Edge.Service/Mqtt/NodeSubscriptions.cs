using Microsoft.Extensions.Logging;
using MQTTnet;
using MQTTnet.Packets;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>The node's subscriptions: made after each connect, and proven to be heard.</summary>
internal sealed partial class NodeSubscriptions(IMqttClient client, SubscriptionProbe probe, MqttOptions options, NodeTopics topics, ILogger log)
{
    /// <summary>Subscribes to all that the node listens to, and hears itself there: a node that may subscribe but hears nothing is not online.</summary>
    /// <exception cref="BrokerUnavailableException">The broker's access rules stand in the way.</exception>
    public async Task MakeAsync(CancellationToken cancellation)
    {
        var subscribe = new MqttClientSubscribeOptions
        {
            // Retain As Published: a retained message can be told from a fresh one even while the node is online
            TopicFilters = [.. topics.Inbound.Select(topic => new MqttTopicFilter
            {
                Topic = topic,
                QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce,
                RetainAsPublished = true,
            })],
        };
        MqttClientSubscribeResult result = await client.SubscribeAsync(subscribe, cancellation).ConfigureAwait(false);
        if (result.Items.FirstOrDefault(item => item.ResultCode > MqttClientSubscribeResultCode.GrantedQoS2) is { } refused)
        {
            throw Refusal($"it refuses the subscription to {refused.TopicFilter.Topic}: {refused.ResultCode}");
        }

        IReadOnlyList<string> probes = topics.InboundProbes;
        ProbeOutcome[] outcomes = await Task.WhenAll(probes.Select(topic => probe.ProveAsync(client, topic, cancellation))).ConfigureAwait(false);
        if (Those(ProbeOutcome.MayNotPublish) is { Length: > 0 } unproven)
        {
            LogUnproven(unproven, topics.AclFor(options.User));
        }

        if (Those(ProbeOutcome.Silent) is { Length: > 0 } silent)
        {
            throw Refusal($"it grants {(options.User is { } user ? $"user '{user}'" : "the node")} the subscription, but delivers nothing on {silent}");
        }

        string Those(ProbeOutcome outcome) => string.Join(", ", probes.Where((_, i) => outcomes[i] == outcome));
    }

    /// <summary>Subscribes to where Home Assistant says that it has come up. A broker that keeps that to itself costs no more than a late sight of the node.</summary>
    public async Task AddStatusAsync(string topic, CancellationToken cancellation)
    {
        MqttClientSubscribeResult result = await client.SubscribeAsync(topic, MqttQualityOfServiceLevel.AtMostOnce, cancellation).ConfigureAwait(false);
        if (result.Items.First().ResultCode > MqttClientSubscribeResultCode.GrantedQoS2)
        {
            LogStatusRefused(topic, result.Items.First().ResultCode);
        }
    }

    private BrokerUnavailableException Refusal(string reason) =>
        new(options.Address.ToString(), reason, $"Let the node read its topics; in Mosquitto's acl_file: {topics.AclFor(options.User)}") { IsRefusal = true };

    [LoggerMessage(EventId = 9, Level = LogLevel.Warning, Message = "The node may not publish on {topics}, so it cannot prove that it hears there; in Mosquitto's acl_file: {rule}")]
    private partial void LogUnproven(string topics, string rule);

    [LoggerMessage(EventId = 19, Level = LogLevel.Warning, Message = "The broker refuses the subscription to {topic} ({code}): Home Assistant sees the node again only after the node's next connect")]
    private partial void LogStatusRefused(string topic, MqttClientSubscribeResultCode code);
}
