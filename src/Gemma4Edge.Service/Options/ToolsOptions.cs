using Gemma4Edge.Service.Tools;

namespace Gemma4Edge.Service;

/// <summary>Section Tools.</summary>
public sealed record ToolsOptions
{
    /// <summary>A folder of *.json files or one file; null = no tools.</summary>
    public string? Path { get; init; }

    /// <summary>Topic filters under which tools may publish; none = no tool acts, every call goes to whoever sent the request.</summary>
    public IReadOnlyList<string> AllowTopics { get; init; } = [];

    /// <summary>Everything but the acts themselves.</summary>
    public bool DryRun { get; init; }

    /// <summary>How often in a row the model may call tools before it must answer.</summary>
    public int MaxRounds { get; init; } = 4;

    /// <summary>Longest time that one call may take; the compute thread waits that long, and the watchdog with it.</summary>
    public int TimeoutSeconds { get; init; } = 10;

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static ToolsOptions Read(OptionReader reader)
    {
        var defaults = new ToolsOptions();
        var tools = new ToolsOptions
        {
            Path = reader.Text("Path", null, "a JSON file or a folder of *.json", value => File.Exists(value) || Directory.Exists(value)),
            AllowTopics = reader.List("AllowTopics", [], "a topic filter, for example home/+/light", TopicFilter.IsFilter),
            DryRun = reader.Flag("DryRun", defaults.DryRun),
            MaxRounds = reader.Whole("MaxRounds", defaults.MaxRounds, 1, 32),
            TimeoutSeconds = reader.Whole("TimeoutSeconds", defaults.TimeoutSeconds, 1, 20),
        };
        reader.RefuseOthers();
        return tools;
    }
}
