using System.CommandLine;
using Gemma4Edge.Service;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>mqtt</c>: what an operator does with the broker. One class per subcommand.</summary>
internal static class MqttVerb
{
    public static Command Create(Terminal terminal) =>
        new Verb("mqtt", "Looks at the broker as the service would", "gemma4edge mqtt probe", "gemma4edge mqtt unregister")
        {
            MqttProbe.Create(terminal),
            MqttUnregister.Create(terminal),
        };
}

/// <summary>The options by which a subcommand of <c>mqtt</c> finds the service's broker; the model is not needed.</summary>
internal sealed class MqttFlags
{
    private readonly Option<string?> _config = new("--config") { Description = $"Configuration file, or a folder of them; default {ServiceConfiguration.DefaultFolder}", HelpName = "FILE-OR-FOLDER" };
    private readonly Option<string?> _broker = new("--broker") { Description = "embedded, or the broker's URL", HelpName = "embedded|mqtt[s]://HOST:PORT" };

    public MqttFlags(Command verb)
    {
        verb.Options.Add(_config);
        verb.Options.Add(_broker);
    }

    /// <summary>Section Mqtt of the service's configuration.</summary>
    /// <exception cref="ConfigurationException">A file, a key or a value is wrong.</exception>
    public MqttOptions Read(ParseResult parsed) => MqttOptions.Read(Section(parsed, "Mqtt"));

    /// <summary>Section HomeAssistant of the service's configuration.</summary>
    /// <exception cref="ConfigurationException">A file, a key or a value is wrong.</exception>
    public HomeAssistantOptions ReadHomeAssistant(ParseResult parsed) => HomeAssistantOptions.Read(Section(parsed, "HomeAssistant"));

    /// <summary>Section Tools of the service's configuration.</summary>
    /// <exception cref="ConfigurationException">A file, a key or a value is wrong.</exception>
    public ToolsOptions ReadTools(ParseResult parsed) => ToolsOptions.Read(Section(parsed, "Tools"));

    private OptionReader Section(ParseResult parsed, string name) =>
        new(ServiceConfiguration.Load(parsed.GetValue(_config), [KeyValuePair.Create("Mqtt:Broker", parsed.GetValue(_broker))]), name);
}
