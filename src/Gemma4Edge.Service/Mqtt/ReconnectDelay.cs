namespace Gemma4Edge.Service.Mqtt;

/// <summary>How long to wait before the next attempt to connect: a quarter of a second, doubled up to half a minute, half of it by chance, so that nodes do not come back in step.</summary>
/// <remarks>
/// A connection that did not last half a minute counts as one more failed attempt. Where the broker did not throw the node out, but died, a few seconds are the most. One thread.
/// </remarks>
internal sealed class ReconnectDelay(TimeProvider clock)
{
    private static readonly TimeSpan s_first = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(30);
    private const int AttemptsAfterADeath = 3;
    private int _attempts;
    private long? _connectedAt;

    /// <summary>Whether the last connection lasted; before there was one, false.</summary>
    public bool HasLasted { get; private set; }

    /// <summary>The next delay.</summary>
    /// <param name="thrownOut">The broker ended the connection on purpose.</param>
    public TimeSpan Next(bool thrownOut)
    {
        if (_connectedAt is { } since)
        {
            HasLasted = clock.GetElapsedTime(since) >= s_longest;
            _attempts = HasLasted ? 0
                : thrownOut ? _attempts
                : Math.Min(_attempts, AttemptsAfterADeath);
        }

        _connectedAt = null;
        double seconds = Math.Min(s_first.TotalSeconds * Math.Pow(2, _attempts), s_longest.TotalSeconds);
        _attempts = Math.Min(_attempts + 1, 10);
        return TimeSpan.FromSeconds(seconds * (0.5 + (Random.Shared.NextDouble() / 2)));
    }

    /// <summary>An attempt succeeded.</summary>
    public void Connected() => _connectedAt = clock.GetTimestamp();
}
