using System.CommandLine;
using Gemma4Edge.Service;

namespace Gemma4Edge.Cli;

/// <summary>The options of a verb that is an MQTT client: where the broker is, and as whom to go there.</summary>
internal sealed class BrokerFlags
{
    private readonly Option<string> _broker = new("--broker")
    {
        Description = "The broker's URL",
        DefaultValueFactory = _ => $"mqtt://127.0.0.1:{BrokerAddress.DefaultPort}",
        HelpName = "mqtt[s]://HOST:PORT",
    };

    private readonly Option<string?> _user = new("--user") { Description = "User at the broker", HelpName = "NAME" };
    private readonly Option<string?> _passwordFile = new("--password-file") { Description = "File with the user's password on its first line", HelpName = "FILE" };
    private readonly Option<string?> _ca = new("--cafile") { Description = "PEM file of the CA that the broker's certificate must come from; default the system's", HelpName = "FILE" };
    private readonly Option<string?> _certificate = new("--cert") { Description = "PEM file of the client's certificate", HelpName = "FILE" };
    private readonly Option<string?> _key = new("--key") { Description = "PEM file of its key; default the certificate's file", HelpName = "FILE" };

    public BrokerFlags(Command verb)
    {
        foreach (Option option in new Option[] { _broker, _user, _passwordFile, _ca, _certificate, _key })
        {
            verb.Add(option);
        }
    }

    /// <summary>Where the broker is.</summary>
    /// <exception cref="CommandException">That is no broker's URL.</exception>
    public BrokerAddress Address(ParseResult parsed)
    {
        string url = parsed.GetRequiredValue(_broker);
        return BrokerAddress.TryParse(url, out BrokerAddress? address)
            ? address
            : throw CommandException.WrongUsage($"--broker: '{OptionValue.Shown("Broker", url)}' is no broker's URL; expected {BrokerAddress.Form}.");
    }

    /// <summary>As whom, and which broker is believed.</summary>
    public BrokerCredentials Credentials(ParseResult parsed) => new()
    {
        User = parsed.GetValue(_user),
        PasswordFile = parsed.GetValue(_passwordFile),
        CaFile = parsed.GetValue(_ca),
        ClientCertificateFile = parsed.GetValue(_certificate),
        ClientKeyFile = parsed.GetValue(_key),
        NameOf = property => property switch
        {
            nameof(BrokerCredentials.User) => _user.Name,
            nameof(BrokerCredentials.PasswordFile) => _passwordFile.Name,
            nameof(BrokerCredentials.CaFile) => _ca.Name,
            nameof(BrokerCredentials.ClientCertificateFile) => _certificate.Name,
            _ => _key.Name,
        },
    };
}
