using System.Collections.Concurrent;
using Gemma4Edge.Service.HomeAssistant;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What a broker lets a node do with one topic.</summary>
/// <param name="Topic">The topic, or a filter.</param>
/// <param name="IsInbound">Whether the node hears there; else it speaks there.</param>
/// <param name="Allowed">Null = it cannot be shown.</param>
/// <param name="Rule">What Mosquitto's access rules must say to allow it.</param>
internal sealed record TopicRight(string Topic, bool IsInbound, bool? Allowed, string Rule)
{
    /// <summary>Why it cannot be shown.</summary>
    public string Unproven { get; init; } = "this user may not publish there";
}

/// <summary>Tries on a broker everything that a node needs, beside the node that may be running.</summary>
/// <remarks>
/// It has a client id of its own, so the node keeps its connection and session. Nothing is published retained, so what is retained stays. Inbound topics get empty
/// messages with the mark of a <see cref="SubscriptionProbe"/>, which nodes pass over. Outbound topics get once more what is retained there, which changes nothing for
/// those who listen, or an empty message where nothing is. Home Assistant's discovery topic is left alone: the node may not read it, and an empty message there removes the
/// device. So are the topics of tools, where any message acts. A pool is listened to by its plain topic: as a member it would take jobs away from the nodes.
/// </remarks>
internal static class BrokerRights
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);

    /// <exception cref="BrokerUnavailableException">The broker cannot be reached, or refuses the connection.</exception>
    public static async Task<IReadOnlyList<TopicRight>> ProbeAsync(MqttOptions options, HomeAssistantOptions home, ToolsOptions tools, CancellationToken cancellation)
    {
        using IMqttClient client = new MqttClientFactory().CreateMqttClient();
        var probe = new SubscriptionProbe { Patience = s_patience };
        var retained = new ConcurrentDictionary<string, MqttApplicationMessage>();
        client.ApplicationMessageReceivedAsync += e =>
        {
            if (!probe.Takes(e.ApplicationMessage))
            {
                retained[e.ApplicationMessage.Topic] = e.ApplicationMessage;
            }

            return Task.CompletedTask;
        };
        var clientId = $"gemma4edge-probe-{Guid.NewGuid():N}";
        await BrokerConnection.ConnectAsync(client, options.Address, BrokerConnection.Options(options.Address, clientId, options.Credentials).Build(), cancellation).ConfigureAwait(false);
        try
        {
            List<TopicRight> rights = await TryAllAsync(client, probe, retained, options, home, cancellation).ConfigureAwait(false);
            await client.DisconnectAsync(new MqttClientDisconnectOptions(), cancellation).ConfigureAwait(false);
            return [.. rights, .. tools.AllowTopics.Select(filter => RightOfTools(filter, options.User))];
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation))
        {
            throw new BrokerUnavailableException(options.Address.ToString(), e.Message, "It broke off while the topics were tried; its log says why.", e);
        }
    }

    private static TopicRight RightOfTools(string filter, string? user) =>
        new(filter, false, null, $"{(user is null ? "" : $"user {user} / ")}topic write {filter}") { Unproven = "tools act there, and so would a trial" };

    private static async Task<List<TopicRight>> TryAllAsync(
        IMqttClient client, SubscriptionProbe probe, ConcurrentDictionary<string, MqttApplicationMessage> retained, MqttOptions options, HomeAssistantOptions home,
        CancellationToken cancellation)
    {
        var topics = new NodeTopics(options.Node);
        string rule = topics.AclFor(options.User);
        foreach (string topic in topics.Outbound) // first: what is retained has then come before the probes have
        {
            await SubscribeAsync(client, topic, cancellation).ConfigureAwait(false);
        }

        IEnumerable<(string Topic, string Probe, string Rule)> inbound = topics.Inbound.Zip(topics.InboundProbes, (topic, probed) => (topic, probed, rule))
            .Concat(options.Pools.Select(NodeTopics.PoolRequest).Select(topic => (topic, topic, "pattern read gemma4edge/fleet/+/request")))
            .Concat(home.Enabled ? [($"{home.Prefix}/status", $"{home.Prefix}/status", $"pattern read {home.Prefix}/status")] : []);
        List<TopicRight> rights = [.. await Task.WhenAll(inbound.Select(HearAsync)).ConfigureAwait(false)];
        foreach (string topic in topics.Outbound)
        {
            rights.Add(await SpeakAsync(topic, rule).ConfigureAwait(false));
        }

        foreach (string prefix in options.ReplyPrefixes)
        {
            rights.Add(await SpeakAsync($"{prefix}gemma4edge-probe", $"pattern write {prefix}#").ConfigureAwait(false));
        }

        if (home.Enabled)
        {
            rights.Add(new TopicRight(DeviceDiscovery.TopicOf(home.Prefix, options.Node), false, null, $"pattern write {home.Prefix}/device/%u/config") { Unproven = "a trial could remove the device" });
        }

        return rights;

        async Task<TopicRight> HearAsync((string Topic, string Probe, string Rule) at)
        {
            bool granted = await SubscribeAsync(client, at.Topic, cancellation).ConfigureAwait(false);
            ProbeOutcome outcome = granted ? await probe.ProveAsync(client, at.Probe, cancellation).ConfigureAwait(false) : ProbeOutcome.Silent;
            return new TopicRight(at.Topic, true, outcome == ProbeOutcome.MayNotPublish ? null : outcome == ProbeOutcome.Heard, at.Rule);
        }

        async Task<TopicRight> SpeakAsync(string topic, string needed)
        {
            MqttApplicationMessage message = SubscriptionProbe.MessageOn(topic);
            message.Payload = retained.TryGetValue(topic, out MqttApplicationMessage? there) && there.Retain ? there.Payload : message.Payload;
            MqttClientPublishResult result = await client.PublishAsync(message, cancellation).ConfigureAwait(false);
            return new TopicRight(topic, false, result.ReasonCode < MqttClientPublishReasonCode.UnspecifiedError, needed);
        }
    }

    private static async Task<bool> SubscribeAsync(IMqttClient client, string topic, CancellationToken cancellation)
    {
        MqttClientSubscribeResult result = await client.SubscribeAsync(topic, MqttQualityOfServiceLevel.AtLeastOnce, cancellation).ConfigureAwait(false);
        return result.Items.All(item => item.ResultCode <= MqttClientSubscribeResultCode.GrantedQoS2);
    }
}
