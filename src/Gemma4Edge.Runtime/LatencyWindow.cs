namespace Gemma4Edge.Runtime;

/// <summary>Percentiles of one latency over a window.</summary>
/// <param name="P50">Half of the values are at most this.</param>
/// <param name="P95">95 % of the values are at most this.</param>
/// <param name="Max">The largest.</param>
public readonly record struct Percentiles(double P50, double P95, double Max);

/// <summary>The values of the last five minutes, at most 1024 of them, for percentiles (nearest rank).</summary>
/// <remarks>Thread-safe. Fixed memory.</remarks>
public sealed class LatencyWindow(TimeProvider time)
{
    private const int Capacity = 1024;
    private static readonly TimeSpan s_span = TimeSpan.FromMinutes(5);
    private readonly (long Timestamp, double Value)[] _values = new (long, double)[Capacity];
    private long _count;

    /// <summary>Adds a value; the oldest makes room.</summary>
    public void Add(double value)
    {
        lock (_values)
        {
            _values[_count++ % Capacity] = (time.GetTimestamp(), value);
        }
    }

    /// <summary>Percentiles of what is in the window; null when it is empty.</summary>
    public Percentiles? Snapshot()
    {
        double[] recent;
        lock (_values)
        {
            recent = [.. _values.Take((int)Math.Min(_count, Capacity)).Where(v => time.GetElapsedTime(v.Timestamp) <= s_span).Select(v => v.Value)];
        }

        if (recent.Length == 0)
        {
            return null;
        }

        Array.Sort(recent);
        return new Percentiles(At(0.5), At(0.95), recent[^1]);

        double At(double share) => recent[(int)Math.Ceiling(share * recent.Length) - 1];
    }
}
