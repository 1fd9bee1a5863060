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

    public static InboundMessage From(MqttApplicationMessageReceivedEventArgs received)
    {
        MqttApplicationMessage message = received.ApplicationMessage;
        return new InboundMessage(message.Topic, message.Payload.ToArray())
        {
            Retained = message.Retain,
            Dup = message.Dup,
            PacketId = received.PacketIdentifier,
            ResponseTopic = message.ResponseTopic is { Length: > 0 } topic ? topic : null,
            CorrelationData = message.CorrelationData is { Length: > 0 } correlation ? correlation : null,
            ExpirySeconds = message.MessageExpiryInterval,
        };
    }
}
