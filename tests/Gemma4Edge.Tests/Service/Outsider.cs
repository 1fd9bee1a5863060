using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using MQTTnet;
using MQTTnet.Formatter;
using MQTTnet.Protocol;

namespace Gemma4Edge.Tests.Service;

/// <summary>A client that knows nothing of the service but its topics.</summary>
internal sealed class Outsider : IAsyncDisposable
{
    public const string Reply = "gemma4edge/reply/test";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly Channel<MqttApplicationMessage> _received = Channel.CreateUnbounded<MqttApplicationMessage>();

    private Outsider(IMqttClient client) => Client = client;

    public IMqttClient Client { get; }

    public static Task<Outsider> ConnectAsync(int port, params string[] topics) => ConnectAsync(port, MqttProtocolVersion.V500, topics);

    public static Task<Outsider> ConnectAsync(int port, MqttProtocolVersion version, params string[] topics) =>
        ConnectAsync(new MqttClientOptionsBuilder().WithTcpServer("127.0.0.1", port).WithProtocolVersion(version).Build(), topics);

    public static Task<Outsider> ConnectAsAsync(int port, string user, string password, params string[] topics) =>
        ConnectAsync(new MqttClientOptionsBuilder().WithTcpServer("127.0.0.1", port).WithProtocolVersion(MqttProtocolVersion.V500).WithCredentials(user, password).Build(), topics);

    /// <summary>One whose subscriptions, and what came for them, wait at the broker while it is away.</summary>
    public static Task<Outsider> ReturnAsync(int port, string name, params string[] topics) => ConnectAsync(
        new MqttClientOptionsBuilder().WithTcpServer("127.0.0.1", port).WithProtocolVersion(MqttProtocolVersion.V500).WithClientId(name).WithCleanStart(false).WithSessionExpiryInterval(600).Build(),
        topics);

    private static async Task<Outsider> ConnectAsync(MqttClientOptions options, string[] topics)
    {
        IMqttClient client = new MqttClientFactory().CreateMqttClient();
        var outsider = new Outsider(client);
        client.ApplicationMessageReceivedAsync += e =>
        {
            outsider._received.Writer.TryWrite(e.ApplicationMessage);
            return Task.CompletedTask;
        };
        await client.ConnectAsync(options, TestContext.Current.CancellationToken);
        foreach (string topic in topics)
        {
            await client.SubscribeAsync(topic, MqttQualityOfServiceLevel.AtLeastOnce, TestContext.Current.CancellationToken);
        }

        return outsider;
    }

    /// <summary>Connects as soon as somebody listens.</summary>
    public static async Task<Outsider> ConnectWhenUpAsync(int port, params string[] topics)
    {
        for (int attempts = 0; ; attempts++)
        {
            try
            {
                return await ConnectAsync(port, topics);
            }
            catch (MQTTnet.Exceptions.MqttCommunicationException) when (attempts < 600)
            {
                await Task.Delay(50, TestContext.Current.CancellationToken);
            }
        }
    }

    public Task PublishAsync(string topic, string payload, string? responseTopic = null, byte[]? correlation = null, bool retain = false, uint expiry = 0) =>
        PublishAsync(topic, Encoding.UTF8.GetBytes(payload), responseTopic, correlation, retain, expiry);

    public Task PublishAsync(string topic, byte[] payload, string? responseTopic = null, byte[]? correlation = null, bool retain = false, uint expiry = 0) => Client.PublishAsync(
        new MqttApplicationMessage
        {
            Topic = $"gemma4edge/kitchen/{topic}",
            PayloadSegment = payload,
            ResponseTopic = responseTopic,
            CorrelationData = correlation,
            Retain = retain,
            MessageExpiryInterval = expiry,
            QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce,
        },
        TestContext.Current.CancellationToken);

    /// <summary>The next message on <paramref name="topic"/> (null = any) that <paramref name="wanted"/> accepts; others are passed over.</summary>
    public async Task<MqttApplicationMessage> NextAsync(string? topic = null, Func<string, bool>? wanted = null, TimeSpan? patience = null)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(patience ?? s_patience);
        while (true)
        {
            MqttApplicationMessage message = await _received.Reader.ReadAsync(limit.Token);
            if ((topic is null || message.Topic == topic || message.Topic == $"gemma4edge/kitchen/{topic}") && wanted?.Invoke(Text(message)) != false)
            {
                return message;
            }
        }
    }

    public async Task<JsonElement> NextJsonAsync(string? topic = null, Func<string, bool>? wanted = null, TimeSpan? patience = null) => Json(await NextAsync(topic, wanted, patience));

    /// <summary>Events on the reply topic up to the final one.</summary>
    public async Task<List<JsonElement>> EventsAsync(string topic = Reply)
    {
        List<JsonElement> events = [];
        do
        {
            events.Add(await NextJsonAsync(topic));
        }
        while (events[^1].GetProperty("type").GetString() is not ("done" or "error"));
        return events;
    }

    /// <summary>Messages that came and nobody asked for, after a request that was sent later has been answered.</summary>
    public async Task<List<MqttApplicationMessage>> DrainAsync()
    {
        string id = Guid.NewGuid().ToString("N");
        await PublishAsync("request", $$"""{"id":"{{id}}","prompt":"last","reply_to":"{{Reply}}"}""");
        List<MqttApplicationMessage> all = [];
        while (true)
        {
            MqttApplicationMessage message = await NextAsync();
            if (message.Topic == Reply && Text(message).Contains(id, StringComparison.Ordinal))
            {
                return all;
            }

            all.Add(message);
        }
    }

    public static string Text(MqttApplicationMessage message) => Encoding.UTF8.GetString(message.Payload.ToArray());

    public static JsonElement Json(MqttApplicationMessage message) => JsonDocument.Parse(message.Payload.ToArray()).RootElement;

    public async ValueTask DisposeAsync()
    {
        await Client.DisconnectAsync();
        Client.Dispose();
    }
}
