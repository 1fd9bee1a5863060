namespace Gemma4Edge.Service;

/// <summary>Section HomeAssistant.</summary>
public sealed record HomeAssistantOptions
{
    /// <summary>Whether the node shows itself to Home Assistant.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary>Home Assistant's discovery prefix.</summary>
    public string Prefix { get; init; } = "homeassistant";

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static HomeAssistantOptions Read(OptionReader reader)
    {
        var defaults = new HomeAssistantOptions();
        var options = new HomeAssistantOptions
        {
            Enabled = reader.Flag("Enabled", defaults.Enabled),
            Prefix = reader.Text("Prefix", defaults.Prefix, "a topic without wildcards that does not end in /", IsPrefix)!,
        };
        reader.RefuseOthers();
        return options;
    }

    private static bool IsPrefix(string text) => Mqtt.ReplyTopic.Fault(text) is null && !text.EndsWith('/') && !text.StartsWith("gemma4edge", StringComparison.Ordinal);
}
