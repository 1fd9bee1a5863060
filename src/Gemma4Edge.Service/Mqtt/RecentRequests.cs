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
    private readonly Dictionary<string, Entry> _entries = [];
    private readonly Queue<Entry> _oldestFirst = new();

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
            if (_entries.TryGetValue(key, out Entry? entry))
            {
                final = entry.Final;
                return entry.Hash != hash ? Delivery.Conflict : final is null ? Delivery.Running : Delivery.Finished;
            }

            entry = new Entry(key, hash, time.GetTimestamp());
            _entries[key] = entry;
            _oldestFirst.Enqueue(entry);
            return Delivery.New;
        }
    }

    /// <summary>The request has ended with this event.</summary>
    public void Finish(string key, byte[] final)
    {
        lock (_entries)
        {
            if (_entries.TryGetValue(key, out Entry? entry))
            {
                entry.Final = final;
            }
        }
    }

    /// <summary>The request never entered the queue: it may come again.</summary>
    public void Forget(string key)
    {
        lock (_entries)
        {
            _entries.Remove(key);
        }
    }

    private void Prune()
    {
        for (int left = _oldestFirst.Count; left > 0; left--)
        {
            Entry oldest = _oldestFirst.Peek();
            bool isKnown = _entries.TryGetValue(oldest.Key, out Entry? current) && current == oldest;
            if (isKnown && _entries.Count < MaxCount && time.GetElapsedTime(oldest.Received) < s_span)
            {
                return;
            }

            _oldestFirst.Dequeue();
            if (isKnown && oldest.Final is null)
            {
                _oldestFirst.Enqueue(oldest); // it runs: the line in front of the model bounds how many of these there are
            }
            else if (isKnown)
            {
                _entries.Remove(oldest.Key);
            }
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
