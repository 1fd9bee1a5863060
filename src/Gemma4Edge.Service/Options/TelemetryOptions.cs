namespace Gemma4Edge.Service;

/// <summary>Section Telemetry.</summary>
public sealed record TelemetryOptions
{
    /// <summary>Seconds between two telemetry messages.</summary>
    public int IntervalSeconds { get; init; } = 10;

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static TelemetryOptions Read(OptionReader reader)
    {
        var telemetry = new TelemetryOptions { IntervalSeconds = reader.Whole("IntervalSeconds", new TelemetryOptions().IntervalSeconds, 1, 86400) };
        reader.RefuseOthers();
        return telemetry;
    }
}
