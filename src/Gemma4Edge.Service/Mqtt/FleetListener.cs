using System.Buffers;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What one node has told about itself; null = nothing was heard, or nothing that can be read.</summary>
internal sealed class FleetNode(string name)
{
    public string Name { get; } = name;

    /// <summary><c>online</c> or <c>offline</c>.</summary>
    public string? Availability { get; set; }

    public JsonElement? Info { get; set; }

    public JsonElement? State { get; set; }

    public JsonElement? Telemetry { get; set; }

    /// <summary>When it last spoke while it was listened to. What is retained tells no time.</summary>
    public DateTimeOffset? LastSeen { get; set; }

    /// <summary>What cannot be read, by the last level of its topic.</summary>
    public SortedDictionary<string, string> Problems { get; } = new(StringComparer.Ordinal);
}

/// <summary>Hears what all nodes of a broker tell about themselves. Anybody may have published it: sizes and numbers are bounded.</summary>
/// <param name="broker">Where to listen.</param>
internal sealed class FleetListener(BrokerAddress broker) : IDisposable
{
    /// <summary>Nodes beyond this are left out.</summary>
    public const int MaxNodes = 1000;

    private const int MaxPayloadBytes = 32 << 10;
    private const int MaxDepth = 32;

    /// <summary>Packets beyond this are not delivered.</summary>
    private const uint MaxPacketBytes = 256 << 10;

    private static readonly NodeTopics s_everyNode = new("+");
    private static readonly string[] s_filters = [s_everyNode.Availability, s_everyNode.Info, s_everyNode.State, s_everyNode.Telemetry];

    /// <summary>What is retained comes at once: with this much silence it was all.</summary>
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(100);
    private readonly IMqttClient _client = new MqttClientFactory().CreateMqttClient();
    private readonly SortedDictionary<string, FleetNode> _nodes = new(StringComparer.Ordinal);
    private long _lastRetained = Stopwatch.GetTimestamp();
    private bool _leftOut;
    private volatile bool _lost;

    /// <summary>What is listened to, for messages.</summary>
    public static string Filters => string.Join(", ", s_filters);

    /// <summary>Whether there were more nodes than are shown.</summary>
    public bool HasLeftOut => Locked(() => _leftOut);

    /// <summary>Connects and listens until every node that is online has sent its telemetry, at most for <paramref name="wait"/>.</summary>
    /// <param name="credentials">As whom.</param>
    /// <param name="wait">How long.</param>
    /// <param name="waits">Hears how long it has been listening.</param>
    /// <param name="cancellation">Gives it up.</param>
    /// <returns>The nodes, in order of name.</returns>
    /// <exception cref="BrokerUnavailableException">The broker cannot be reached, or refuses, or the connection broke.</exception>
    /// <exception cref="ConfigurationException">A file of the credentials cannot be used.</exception>
    public async Task<IReadOnlyList<FleetNode>> ListenAsync(BrokerCredentials credentials, TimeSpan wait, Action<TimeSpan> waits, CancellationToken cancellation)
    {
        _client.ApplicationMessageReceivedAsync += e =>
        {
            Locked(() => Take(e.ApplicationMessage));
            return Task.CompletedTask;
        };
        _client.DisconnectedAsync += _ =>
        {
            _lost = true;
            return Task.CompletedTask;
        };
        await BrokerConnection.ConnectAsync(
            _client, broker, BrokerConnection.Options(broker, $"gemma4edge-fleet-{Guid.NewGuid():N}", credentials).WithMaximumPacketSize(MaxPacketBytes).Build(), cancellation).ConfigureAwait(false);
        _lost = false;
        try
        {
            await SubscribeAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (BrokerConnection.IsNetworkFailure(e, cancellation))
        {
            throw Lost(e.Message, e);
        }

        long start = Stopwatch.GetTimestamp();
        Locked(() => _lastRetained = start);
        while (Stopwatch.GetElapsedTime(start) is var listened && listened < wait && !Locked(() => IsComplete))
        {
            waits(listened);
            await Task.Delay(s_look, cancellation).ConfigureAwait(false);
            if (_lost)
            {
                throw Lost("the connection broke while it was listened to", null);
            }
        }

        return Locked(() => (IReadOnlyList<FleetNode>)[.. _nodes.Values]);
    }

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    private bool IsComplete =>
        Stopwatch.GetElapsedTime(_lastRetained) >= s_silence && _nodes.Values.All(node => node.Availability != "online" || node.Telemetry is not null || node.Problems.ContainsKey("telemetry"));

    private async Task SubscribeAsync(CancellationToken cancellation)
    {
        foreach (string filter in s_filters)
        {
            MqttClientSubscribeResult result = await _client.SubscribeAsync(filter, MqttQualityOfServiceLevel.AtMostOnce, cancellation).ConfigureAwait(false);
            MqttClientSubscribeResultCode code = result.Items.Single().ResultCode;
            if (code > MqttClientSubscribeResultCode.GrantedQoS2)
            {
                throw new BrokerUnavailableException(broker.ToString(), $"it does not let this user hear {filter}: {code}", $"Its access rules must let the user read {filter}.");
            }
        }
    }

    private void Take(MqttApplicationMessage message)
    {
        if (message.Topic.Split('/') is not [_, var name, var told] || !MqttOptions.IsNodeName(name) || message.Payload.IsEmpty || SubscriptionProbe.IsProbe(message))
        {
            return; // no node is called so, or it is a trial of the access rules
        }

        _lastRetained = message.Retain ? Stopwatch.GetTimestamp() : _lastRetained;
        if (!_nodes.TryGetValue(name, out FleetNode? node))
        {
            if (_nodes.Count >= MaxNodes)
            {
                _leftOut = true;
                return;
            }

            _nodes.Add(name, node = new FleetNode(name));
        }

        node.LastSeen = message.Retain ? node.LastSeen : DateTimeOffset.UtcNow;
        node.Problems.Remove(told);
        switch (told)
        {
            case "availability":
                node.Availability = Word(node, told, message.Payload);
                break;
            case "info":
                node.Info = Object(node, told, message.Payload);
                break;
            case "state":
                node.State = Object(node, told, message.Payload);
                break;
            default:
                node.Telemetry = Object(node, told, message.Payload);
                break;
        }
    }

    private static string? Word(FleetNode node, string told, ReadOnlySequence<byte> payload)
    {
        string word = payload.Length <= "offline".Length ? Encoding.UTF8.GetString(payload) : "";
        if (word is "online" or "offline")
        {
            return word;
        }

        node.Problems[told] = $"expected online or offline, found {payload.Length} bytes of something else";
        return null;
    }

    private static JsonElement? Object(FleetNode node, string told, ReadOnlySequence<byte> payload)
    {
        if (payload.Length > MaxPayloadBytes)
        {
            node.Problems[told] = $"expected at most {MaxPayloadBytes} bytes, found {payload.Length}";
            return null;
        }

        try
        {
            return JsonAt.Parse(StrictJson.Parse(payload.ToArray(), MaxDepth), told, json => json.Object());
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException) // the last: half a surrogate pair in a key
        {
            node.Problems[told] = $"expected a JSON object (UTF-8, no key twice, at most {MaxDepth} levels), found {payload.Length} bytes of something else";
            return null;
        }
    }

    private BrokerUnavailableException Lost(string reason, Exception? cause) => new(broker.ToString(), reason, "Run it again; the broker's log says why it broke.", cause);

    private T Locked<T>(Func<T> read)
    {
        lock (_nodes)
        {
            return read();
        }
    }

    private void Locked(Action change)
    {
        lock (_nodes)
        {
            change();
        }
    }
}
