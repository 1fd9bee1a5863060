namespace Gemma4Edge.Service;

/// <summary>Section Telemetry.</summary>
public sealed record TelemetryOptions
{
    /// <summary>Seconds between two telemetry messages.</summary>
    public int IntervalSeconds { get; init; } = 10;

    /// <summary>A folder whose files take the place of the machine's own of /proc and /sys: to try what a hot or throttled device does. Null = none.</summary>
    public string? SystemRoot { get; init; }

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static TelemetryOptions Read(OptionReader reader)
    {
        var telemetry = new TelemetryOptions
        {
            IntervalSeconds = reader.Whole("IntervalSeconds", new TelemetryOptions().IntervalSeconds, 1, 86400),
            SystemRoot = reader.Text("SystemRoot", null, "a folder", Directory.Exists),
        };
        reader.RefuseOthers();
        return telemetry;
    }
}
