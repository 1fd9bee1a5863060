using System.Diagnostics;
using System.Text.Json;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>An event that arrived, and of which attempt to send the request.</summary>
internal sealed record Heard(JsonElement Event, int Attempt)
{
    /// <summary>Nothing comes after it.</summary>
    public bool IsFinal => Type is "done" or "error";

    /// <summary>Its <c>type</c>.</summary>
    public string? Type => Event.GetProperty("type").GetString();
}

/// <summary>When a request to a pool is sent again, and when it is given up. One request; one thread.</summary>
/// <param name="timeout">How long to try without a sign of life.</param>
/// <param name="isStream">Whether a node that takes the request says so at once.</param>
internal sealed class PoolRetry(TimeSpan timeout, bool isStream)
{
    private static readonly TimeSpan s_start = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_first = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(1);
    private long _lastSign = Stopwatch.GetTimestamp();
    private int _attempt;
    private int _failures;
    private bool _isStarted;

    /// <summary>How long a node may be silent before another is asked.</summary>
    /// <remarks>A free node starts at once. Who else listens to the pool's topic (a monitor) hides from the broker's answer that no node did.</remarks>
    public TimeSpan Silence => isStream && !_isStarted && s_start < timeout / 4 ? s_start : timeout / 4;

    /// <summary>A tool was called: the request must not run again.</summary>
    public bool HasActed { get; private set; }

    /// <summary>Number of the attempt that begins.</summary>
    public int NextAttempt()
    {
        _isStarted = false;
        return ++_attempt;
    }

    /// <summary>Whether an event belongs to the answer: of the attempt that runs, or the end of one that was given up too early.</summary>
    public bool IsCurrent(Heard heard) => heard.Attempt == _attempt || heard.Type == "done";

    /// <summary>Why the request must be sent again; null = it need not.</summary>
    /// <param name="heard">What came; null = nothing did for <see cref="Silence"/>.</param>
    public string? Judge(Heard? heard)
    {
        if (heard is null)
        {
            return $"a node took the request and sent nothing for {Silence.TotalSeconds:0.#} s";
        }

        if (!IsCurrent(heard))
        {
            return null;
        }

        if (heard.Type == "error" && heard.Event.GetProperty("error") is var error && IsOfTheNode(error.GetProperty("code").GetString()) && !error.TryGetProperty("may_have_acted", out _))
        {
            return $"a node answered {error.GetProperty("code").GetString()}";
        }

        HasActed |= heard.Type == "tool_call" && !heard.Event.TryGetProperty("declared", out _);
        _lastSign = Stopwatch.GetTimestamp();
        _failures = 0;
        _isStarted = true;
        return null;
    }

    /// <summary>How long to wait before the next attempt, half of it by chance; null = give up.</summary>
    public TimeSpan? NextDelay()
    {
        double most = Math.Min(s_first.TotalMilliseconds * Math.Pow(2, Math.Min(_failures++, 10)), s_longest.TotalMilliseconds);
        var delay = TimeSpan.FromMilliseconds(most * (0.5 + (Random.Shared.NextDouble() / 2)));
        return HasActed || Stopwatch.GetElapsedTime(_lastSign) + delay >= timeout ? null : delay;
    }

    /// <summary>Whether an error tells of the node and not of the request: another node may have the answer.</summary>
    private static bool IsOfTheNode(string? code) => code is "queue_full" or "disabled" or "interrupted" or "overheated" or "no_memory" or "no_space";
}
