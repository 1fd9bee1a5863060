using System.CommandLine;
using Gemma4Edge.Service;
using Microsoft.Extensions.Configuration;

namespace Gemma4Edge.Cli;

/// <summary>The options of the verbs that read the service's configuration, defined once.</summary>
internal sealed class ServiceFlags
{
    private readonly Option<string?> _config = new("--config") { Description = $"Configuration file, or a folder of them; default {ServiceConfiguration.DefaultFolder}", HelpName = "FILE-OR-FOLDER" };
    private readonly Option<string?> _model = new("--model") { Description = "Model file or folder", HelpName = "MODEL" };
    private readonly Option<string?> _broker = new("--broker") { Description = "embedded, or the broker's URL", HelpName = "embedded|mqtt[s]://HOST:PORT" };
    private readonly ModelFlags _flags;

    /// <summary>Adds the options to <paramref name="verb"/>.</summary>
    public ServiceFlags(Command verb)
    {
        verb.Options.Add(_config);
        verb.Options.Add(_model);
        verb.Options.Add(_broker);
        _flags = new ModelFlags(verb);
    }

    /// <summary>All places of the configuration, read anew at each call; what was given on the command line wins.</summary>
    /// <exception cref="ConfigurationException">A file cannot be read.</exception>
    public IConfigurationRoot Load(ParseResult parsed) => ServiceConfiguration.Load(
        parsed.GetValue(_config),
        [KeyValuePair.Create("Model:Path", parsed.GetValue(_model)), KeyValuePair.Create("Mqtt:Broker", parsed.GetValue(_broker)), .. _flags.ReadAsConfiguration(parsed)]);
}
