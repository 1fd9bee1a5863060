using System.Collections.Concurrent;
using System.Threading.Channels;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Durability;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>A message to be published.</summary>
internal sealed record OutboundMessage(string Topic, byte[] Payload)
{
    public byte[]? Correlation { get; init; }

    public bool Retain { get; init; }

    /// <summary>QoS 0 where false.</summary>
    public bool AtLeastOnce { get; init; } = true;

    /// <summary>Where nobody has subscribed to its topic, and it is not kept there, it is published again for a while: its reader lost the broker as well, and may be on its way back.</summary>
    public bool AwaitsReader { get; init; }

    /// <summary>Makes the payload that goes out where this one cannot; it is told why. Null = nothing does.</summary>
    public Func<string, byte[]>? Instead { get; init; }

    /// <summary>Called when the broker has answered for it, also with a refusal.</summary>
    public Action? Answered { get; init; }

    /// <summary>A final event, now or again; an error takes its place where the broker cannot take it.</summary>
    /// <param name="final">What is kept of it.</param>
    /// <param name="hasActed">Whether a tool may have acted.</param>
    public static OutboundMessage Of(StoredReply final, bool hasActed) => new(final.Topic, final.Payload)
    {
        Correlation = final.Correlation,
        Retain = final.Retain,
        Instead = problem =>
        {
            GenerationFailure failure = Failures.CannotBePublished(problem);
            return Payloads.InPlaceOf(final, hasActed ? failure.AfterActing() : failure);
        },
    };
}

/// <summary>What waits to be published. Adding never waits: the compute thread adds, one publisher takes.</summary>
/// <remarks>
/// Bounded by who adds: finals are as many as requests were let in; refusals stop where there is no room, everything else where the broker is away or the line is long.
/// </remarks>
internal sealed class Outbox
{
    private const int MaxPassing = 256;
    private const int MaxWaiting = 1024;
    private readonly Channel<OutboundMessage> _messages = Channel.CreateUnbounded<OutboundMessage>(new UnboundedChannelOptions { SingleReader = true });
    private readonly ConcurrentDictionary<string, OutboundMessage> _retained = new();
    private volatile bool _isConnected;
    private int _waiting;

    /// <summary>The broker has come or gone. On the thread that saw it: handlers must not wait.</summary>
    public event Action? ConnectionChanged;

    /// <summary>Whether the broker is there.</summary>
    public bool IsConnected
    {
        get => _isConnected;
        set
        {
            _isConnected = value;
            ConnectionChanged?.Invoke();
        }
    }

    /// <summary>Whether a further refusal can be told.</summary>
    public bool HasRoom => Volatile.Read(ref _waiting) < MaxWaiting;

    /// <summary>The newest retained message of a topic since the start; null = there was none.</summary>
    public OutboundMessage? LastRetained(string topic) => _retained.GetValueOrDefault(topic);

    /// <summary>Whether everything was published.</summary>
    public bool IsEmpty => Volatile.Read(ref _waiting) == 0;

    /// <summary>Adds a message that must not be lost.</summary>
    public void Add(OutboundMessage message)
    {
        if (message.Retain)
        {
            _retained[message.Topic] = message;
        }

        Interlocked.Increment(ref _waiting);
        _messages.Writer.TryWrite(message);
    }

    /// <summary>Adds a message that may be lost; false = it is.</summary>
    public bool TryAddPassing(OutboundMessage message)
    {
        if (!IsConnected || Volatile.Read(ref _waiting) >= MaxPassing)
        {
            return false;
        }

        Add(message);
        return true;
    }

    /// <summary>The next message; for the publisher only. It stays counted until <see cref="Published"/>.</summary>
    public ValueTask<OutboundMessage> TakeAsync(CancellationToken cancellation) => _messages.Reader.ReadAsync(cancellation);

    /// <summary>The message taken last has left.</summary>
    public void Published() => Interlocked.Decrement(ref _waiting);
}
