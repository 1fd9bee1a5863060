namespace Gemma4Edge.Runtime;

/// <summary>What an instrument counts.</summary>
public enum MetricKind
{
    /// <summary>A value that goes up and down; the last one counts.</summary>
    Gauge,

    /// <summary>A sum that only grows.</summary>
    Counter,

    /// <summary>Values that are spread over buckets.</summary>
    Histogram,
}

/// <summary>One figure: its OpenTelemetry instrument, and what the telemetry topic calls it. <see cref="MetricTable"/> holds all of them.</summary>
/// <param name="Kind">What it counts.</param>
/// <param name="Name">The instrument's name.</param>
/// <param name="Unit">UCUM: s, By, Cel, Hz, 1; {things} for counts; empty for states.</param>
/// <param name="Description">What it tells, in a few words.</param>
/// <param name="Keys">Its keys in the telemetry payload: none, one, or one for each value of a tag.</param>
public sealed record Metric(MetricKind Kind, string Name, string Unit, string Description, params IReadOnlyList<MetricKey> Keys)
{
    /// <summary>Upper bounds of a histogram's buckets.</summary>
    public IReadOnlyList<double> Buckets { get; init; } = [];
}

/// <summary>How a figure, or the part of it with one tag, appears in the telemetry payload.</summary>
/// <param name="Name">The key; it says its unit.</param>
/// <param name="Scale">The payload's value for 1 of the instrument's unit.</param>
/// <param name="Decimals">Digits after the point.</param>
public sealed record MetricKey(string Name, double Scale = 1, int Decimals = 0)
{
    /// <summary>The tag that its series have; null = all series together.</summary>
    public KeyValuePair<string, string>? Tag { get; init; }
}
