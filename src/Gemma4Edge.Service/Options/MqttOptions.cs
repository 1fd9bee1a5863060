using System.Net;
using System.Text.RegularExpressions;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Service;

/// <summary>Section Mqtt.</summary>
public sealed partial record MqttOptions
{
    /// <summary>The value of <see cref="Broker"/> that means a broker in this process.</summary>
    public const string Embedded = "embedded";

    private const string BrokerForm = $"embedded, {BrokerAddress.Form}";
    private const string SystemdPassword = "mqtt-password";

    /// <summary><c>embedded</c>, <c>mqtt://HOST[:PORT]</c> or <c>mqtts://HOST[:PORT]</c>.</summary>
    public string Broker { get; init; } = Embedded;

    /// <summary>Address that the embedded broker listens at. Another than loopback needs <see cref="User"/> and <see cref="PasswordFile"/>, which every client must then give.</summary>
    public string EmbeddedAddress { get; init; } = IPAddress.Loopback.ToString();

    /// <summary>Port of the embedded broker.</summary>
    public int EmbeddedPort { get; init; } = BrokerAddress.DefaultPort;

    /// <summary>This node's level in every topic: <c>[a-zA-Z0-9_-]{1,64}</c>, not fleet or reply. Default: the host's name.</summary>
    public string Node { get; init; } = NodeOf(Environment.MachineName);

    /// <summary>User at the broker; null = nobody. Where a password is given, the default is the node's name.</summary>
    public string? User { get; init; }

    /// <summary>File that holds the user's password on its first line. Default: the systemd credential <c>mqtt-password</c>, if there is one.</summary>
    public string? PasswordFile { get; init; }

    /// <summary>PEM file of the only roots that the broker's certificate may come from; null = those of the system.</summary>
    public string? CaFile { get; init; }

    /// <summary>PEM file of this node's certificate; null = none.</summary>
    public string? ClientCertificateFile { get; init; }

    /// <summary>PEM file of its key; null = the certificate's file holds it.</summary>
    public string? ClientKeyFile { get; init; }

    /// <summary>Pools that this node takes jobs of while it is free: names of <c>[a-zA-Z0-9_-]{1,64}</c>.</summary>
    public IReadOnlyList<string> Pools { get; init; } = [];

    /// <summary>Prefixes under which a sender may ask for its reply, beside the node's own response topic.</summary>
    public IReadOnlyList<string> ReplyPrefixes { get; init; } = ["gemma4edge/reply/"];

    /// <summary>How long a broker keeps messages for this node while it is away.</summary>
    public int SessionExpirySeconds { get; init; } = 3600;

    /// <summary>Where to connect to.</summary>
    public BrokerAddress Address => Broker == Embedded ? new BrokerAddress(EmbeddedHost, EmbeddedPort)
        : BrokerAddress.TryParse(Broker, out BrokerAddress? address) ? address
        : throw new ConfigurationException($"Mqtt:Broker is '{Broker}'; allowed is {BrokerForm}.");

    /// <summary>As whom, and which broker is believed. The embedded one speaks no TLS.</summary>
    public BrokerCredentials Credentials => Broker == Embedded
        ? new BrokerCredentials { User = User, PasswordFile = PasswordFile }
        : new BrokerCredentials { User = User, PasswordFile = PasswordFile, CaFile = CaFile, ClientCertificateFile = ClientCertificateFile, ClientKeyFile = ClientKeyFile };

    private string EmbeddedHost => EmbeddedAddress switch
    {
        "0.0.0.0" => IPAddress.Loopback.ToString(), // every address: also the nearest
        "::" => IPAddress.IPv6Loopback.ToString(),
        string address => address,
    };

    /// <summary>A host's name with everything that a node's name cannot hold replaced.</summary>
    internal static string NodeOf(string host)
    {
        string node = new([.. host.Take(64).Select(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' ? c : '-')]);
        return node is "" or "fleet" or "reply" ? "node" : node;
    }

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong, or a file does not hold what it should.</exception>
    internal static MqttOptions Read(OptionReader reader) => Read(reader, Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY"));

    /// <summary>The same, with the folder of systemd's credentials.</summary>
    internal static MqttOptions Read(OptionReader reader, string? credentials)
    {
        const string File = "a file that can be read";
        string? credential = SystemdCredential(credentials);
        var defaults = new MqttOptions();
        var mqtt = new MqttOptions
        {
            Broker = reader.Text("Broker", defaults.Broker, BrokerForm, value => value == Embedded || BrokerAddress.TryParse(value, out _))!,
            EmbeddedAddress = reader.Text("EmbeddedAddress", defaults.EmbeddedAddress, "an IP address of this machine; 0.0.0.0 = all of them", value => IPAddress.TryParse(value, out _))!,
            EmbeddedPort = reader.Whole("EmbeddedPort", defaults.EmbeddedPort, 1, 65535),
            Node = reader.Text("Node", defaults.Node, "1 to 64 of A-Z a-z 0-9 _ - and not fleet or reply", IsNodeName)!,
            User = reader.Text("User", null),
            PasswordFile = reader.Text("PasswordFile", credential, File, System.IO.File.Exists),
            CaFile = reader.Text("CaFile", null, File, System.IO.File.Exists),
            ClientCertificateFile = reader.Text("ClientCertificateFile", null, File, System.IO.File.Exists),
            ClientKeyFile = reader.Text("ClientKeyFile", null, File, System.IO.File.Exists),
            Pools = reader.List("Pools", defaults.Pools, "a name of 1 to 64 of A-Z a-z 0-9 _ -", IsPoolName),
            ReplyPrefixes = reader.List("ReplyPrefixes", defaults.ReplyPrefixes, "a topic prefix that ends with / and has no wildcard",
                value => value.EndsWith('/') && value[0] is not ('/' or '$') && ReplyTopic.Fault(value) is null),
            SessionExpirySeconds = reader.Whole("SessionExpirySeconds", defaults.SessionExpirySeconds, 0, int.MaxValue),
        };
        reader.RefuseOthers();
        if (credential is not null && mqtt.PasswordFile == credential)
        {
            reader.Supersede("PasswordFile", credential, "systemd credential");
        }

        mqtt = mqtt with { User = mqtt.User ?? (mqtt.PasswordFile is null ? null : mqtt.Node) };
        mqtt.Check();
        return mqtt;
    }

    private void Check()
    {
        if (Broker == Embedded && Pools.Count > 0)
        {
            throw new ConfigurationException($"Mqtt:Pools is '{string.Join(", ", Pools)}', but a pool needs a broker that several nodes share, and Mqtt:Broker is embedded; allowed is {BrokerAddress.Form}.");
        }

        BrokerLogin login = BrokerLogin.Read(Address, Credentials);
        if (Broker == Embedded && login.Password is null && !IPAddress.IsLoopback(IPAddress.Parse(EmbeddedAddress)))
        {
            throw new ConfigurationException(
                $"Mqtt:EmbeddedAddress is '{EmbeddedAddress}', where others than this machine could prompt the node; that needs Mqtt:PasswordFile (and Mqtt:User, if not '{Node}'), or 127.0.0.1.");
        }
    }

    /// <summary>The file of systemd's credential; null = there is none, or it is the unit's empty line in place of one.</summary>
    private static string? SystemdCredential(string? folder) =>
        !string.IsNullOrEmpty(folder) && Path.Combine(folder, SystemdPassword) is { } file && File.Exists(file) && File.ReadLines(file).FirstOrDefault("").Length > 0 ? file : null;

    /// <summary>Whether a text can name a pool.</summary>
    internal static bool IsPoolName(string value) => Word().IsMatch(value);

    /// <summary>Whether a text can be a node's name.</summary>
    public static bool IsNodeName(string value) => Word().IsMatch(value) && value is not ("fleet" or "reply");

    [GeneratedRegex(@"\A[a-zA-Z0-9_-]{1,64}\z")]
    private static partial Regex Word();
}
