using Microsoft.Extensions.Configuration;

namespace Gemma4Edge.Service;

/// <summary>Everything that can be configured, checked. Sections and keys have the names of the properties.</summary>
public sealed record ServiceOptions
{
    /// <summary>The model and how it runs.</summary>
    public required ModelOptions Model { get; init; }

    /// <summary>The broker and this node's name on it.</summary>
    public MqttOptions Mqtt { get; init; } = new();

    /// <summary>The line in front of the model.</summary>
    public QueueOptions Queue { get; init; } = new();

    /// <summary>What a request gets that does not say otherwise.</summary>
    public SamplingDefaults Sampling { get; init; } = new();

    /// <summary>The tools declared to the model.</summary>
    public ToolsOptions Tools { get; init; } = new();

    /// <summary>What is published about the node.</summary>
    public TelemetryOptions Telemetry { get; init; } = new();

    /// <summary>How the node shows itself to Home Assistant.</summary>
    public HomeAssistantOptions HomeAssistant { get; init; } = new();

    /// <summary>Where state is kept.</summary>
    public StoreOptions Store { get; init; } = new();

    /// <summary>Each key with the value that is in force and where it came from, by section.</summary>
    public IReadOnlyList<OptionValue> Values { get; private init; } = [];

    /// <summary>The port for monitoring.</summary>
    public HttpOptions Http { get; init; } = new();

    /// <summary>Reads and checks a configuration.</summary>
    /// <param name="configuration">All places, merged.</param>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    public static ServiceOptions Read(IConfigurationRoot configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        List<string> sections = [];
        Dictionary<string, OptionValue> values = [];
        var options = new ServiceOptions
        {
            Model = ModelOptions.Read(Section("Model")),
            Mqtt = MqttOptions.Read(Section("Mqtt")),
            Queue = QueueOptions.Read(Section("Queue")),
            Sampling = SamplingDefaults.Read(Section("Sampling")),
            Tools = ToolsOptions.Read(Section("Tools")),
            Telemetry = TelemetryOptions.Read(Section("Telemetry")),
            HomeAssistant = HomeAssistantOptions.Read(Section("HomeAssistant")),
            Store = StoreOptions.Read(Section("Store")),
            Http = HttpOptions.Read(Section("Http")),
        };
        foreach (IConfigurationSection section in configuration.GetChildren())
        {
            if (!sections.Contains(section.Key, StringComparer.OrdinalIgnoreCase))
            {
                string leaf = section.AsEnumerable().Select(pair => pair.Key).Last();
                throw new ConfigurationException(
                    $"{section.Path} (from {ServiceConfiguration.SourceOf(configuration, leaf)}) is no section of the configuration; allowed are {string.Join(", ", sections)}.");
            }
        }

        return options with { Values = [.. values.Values] };

        OptionReader Section(string name)
        {
            sections.Add(name);
            return new OptionReader(configuration, name, values);
        }
    }
}
