using System.IO.Hashing;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What a delivery turns out to be.</summary>
internal enum Delivery
{
    /// <summary>Not seen before.</summary>
    New,

    /// <summary>Seen, and still being worked on.</summary>
    Running,

    /// <summary>Seen and answered.</summary>
    Finished,

    /// <summary>Its name belongs to another request.</summary>
    Conflict,
}

/// <summary>The requests of the last ten minutes and their final events: brokers and senders repeat deliveries, and no request may run twice.</summary>
/// <remarks>Thread-safe. Holds at most a thousand; the oldest that are finished go first.</remarks>
internal sealed class RecentRequests(TimeProvider time)
{
    private const int MaxCount = 1000;
    private static readonly TimeSpan s_span = TimeSpan.FromMinutes(10);
    private readonly Dictionary<string, LinkedListNode<Entry>> _entries = [];
    private readonly LinkedList<Entry> _oldestFirst = new();

    /// <summary>Looks a delivery up; a new one is noted as running.</summary>
    /// <param name="key">What names it.</param>
    /// <param name="payload">Tells it from another request of the same name.</param>
    /// <param name="final">The final event, if it is finished.</param>
    public Delivery Admit(string key, ReadOnlySpan<byte> payload, out byte[]? final)
    {
        UInt128 hash = XxHash128.HashToUInt128(payload); // not SHA-256: that is OpenSSL's, which a static binary has not
        lock (_entries)
        {
            Prune();
            final = null;
            if (_entries.TryGetValue(key, out LinkedListNode<Entry>? node))
            {
                final = node.Value.Final;
                return node.Value.Hash != hash ? Delivery.Conflict : final is null ? Delivery.Running : Delivery.Finished;
            }

            _entries[key] = _oldestFirst.AddLast(new Entry(key, hash, time.GetTimestamp()));
            return Delivery.New;
        }
    }

    /// <summary>The request has ended with this event.</summary>
    public void Finish(string key, byte[] final)
    {
        lock (_entries)
        {
            if (_entries.TryGetValue(key, out LinkedListNode<Entry>? node))
            {
                node.Value.Final = final;
            }
        }
    }

    /// <summary>The request never entered the queue: it may come again.</summary>
    public void Forget(string key)
    {
        lock (_entries)
        {
            if (_entries.Remove(key, out LinkedListNode<Entry>? node))
            {
                _oldestFirst.Remove(node);
            }
        }
    }

    private void Prune()
    {
        LinkedListNode<Entry>? node = _oldestFirst.First;
        while (node is not null && (_entries.Count >= MaxCount || time.GetElapsedTime(node.Value.Received) >= s_span))
        {
            LinkedListNode<Entry>? next = node.Next;
            if (node.Value.Final is not null) // else it runs: the line in front of the model bounds how many of these there are
            {
                _entries.Remove(node.Value.Key);
                _oldestFirst.Remove(node);
            }

            node = next;
        }
    }

    private sealed class Entry(string key, UInt128 hash, long received)
    {
        public string Key { get; } = key;

        public UInt128 Hash { get; } = hash;

        public long Received { get; } = received;

        public byte[]? Final { get; set; }
    }
}
