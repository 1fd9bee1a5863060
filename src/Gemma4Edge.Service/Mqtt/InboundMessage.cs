using System.Buffers;
using MQTTnet;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>A message that arrived: what the bridge needs of it, free of the client library.</summary>
internal sealed record InboundMessage(string Topic, ReadOnlyMemory<byte> Payload)
{
    /// <summary>When it arrived, a Stopwatch timestamp.</summary>
    public long ReceivedTimestamp { get; init; } = System.Diagnostics.Stopwatch.GetTimestamp();

    /// <summary>The broker kept it from before, or its sender asked to keep it.</summary>
    public bool Retained { get; init; }

    /// <summary>Whose packet numbers count: empty = the node's own connection, else the pool's connection, or a client of the embedded broker.</summary>
    public string Sender { get; init; } = "";

    /// <summary>It came through a pool: its sender tries elsewhere when it gets no answer.</summary>
    public bool Pool { get; init; }

    /// <summary>The broker may have delivered it before.</summary>
    public bool Dup { get; init; }

    /// <summary>The delivery's number; repeated when Dup is set.</summary>
    public ushort PacketId { get; init; }

    /// <summary>Response topic property.</summary>
    public string? ResponseTopic { get; init; }

    /// <summary>Correlation data property.</summary>
    public byte[]? CorrelationData { get; init; }

    /// <summary>Message expiry interval property; 0 = none.</summary>
    public uint ExpirySeconds { get; init; }

    /// <summary>A message that the node's connection received.</summary>
    public static InboundMessage From(MqttApplicationMessageReceivedEventArgs received) => From(received.ApplicationMessage, received.PacketIdentifier, sender: "");

    /// <summary>A message as the client library holds it.</summary>
    public static InboundMessage From(MqttApplicationMessage message, ushort packetId, string sender) => new(message.Topic, message.Payload.ToArray())
    {
        Retained = message.Retain,
        Dup = message.Dup,
        PacketId = packetId,
        Sender = sender,
        ResponseTopic = message.ResponseTopic is { Length: > 0 } topic ? topic : null,
        CorrelationData = message.CorrelationData is { Length: > 0 } correlation ? correlation : null,
        ExpirySeconds = message.MessageExpiryInterval,
    };
}
