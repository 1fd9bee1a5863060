using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Service.Durability;

/// <summary>A final event, with everything that is needed to publish it again.</summary>
internal sealed record StoredReply(string Topic, byte[]? Correlation, bool Retain, byte[] Payload);

/// <summary>One request that was let in, from its receipt until nobody asks for it any more. Guarded by its ledger.</summary>
internal sealed class LedgerEntry(long number, string key, UInt128 hash, long receivedUnixMs)
{
    /// <summary>Its number in the journal.</summary>
    public long Number { get; } = number;

    /// <summary>What a second delivery of it is recognised by.</summary>
    public string Key { get; } = key;

    /// <summary>Of its payload.</summary>
    public UInt128 Hash { get; } = hash;

    /// <summary>When it arrived, by the wall clock.</summary>
    public long ReceivedUnixMs { get; } = receivedUnixMs;

    /// <summary>The same by the monotonic clock of this process, a timestamp of the ledger's time provider: the wall clock may jump.</summary>
    public long Since { get; set; }

    /// <summary>The message itself, until the final event is known.</summary>
    public InboundMessage? Message { get; set; }

    /// <summary>The id that it has in every event.</summary>
    public string Id { get; set; } = "";

    /// <summary>The boot of the machine that it arrived in: monotonic times count within one only.</summary>
    public Guid Boot { get; set; }

    /// <summary>How often work on it began.</summary>
    public int Starts { get; set; }

    /// <summary>Whether an act may have happened.</summary>
    public bool Acted { get; set; }

    /// <summary>Whether somebody has cancelled it.</summary>
    public bool Cancelled { get; set; }

    /// <summary>The final event; null while it waits or runs.</summary>
    public StoredReply? Final { get; set; }

    /// <summary>Whether the broker has answered for the final event.</summary>
    public bool Answered { get; set; }
}
