using System.Text.RegularExpressions;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Service;

/// <summary>Section Mqtt.</summary>
public sealed partial record MqttOptions
{
    /// <summary>The value of <see cref="Broker"/> that means a broker in this process.</summary>
    public const string Embedded = "embedded";

    /// <summary><c>embedded</c> or <c>mqtt://HOST[:PORT]</c>.</summary>
    public string Broker { get; init; } = Embedded;

    /// <summary>Port of the embedded broker, on loopback only.</summary>
    public int EmbeddedPort { get; init; } = BrokerAddress.DefaultPort;

    /// <summary>This node's level in every topic: <c>[a-zA-Z0-9_-]{1,64}</c>, not fleet or reply. Default: the host's name.</summary>
    public string Node { get; init; } = NodeOf(Environment.MachineName);

    /// <summary>User at the broker; null = nobody.</summary>
    public string? User { get; init; }

    /// <summary>File that holds the user's password on its first line.</summary>
    public string? PasswordFile { get; init; }

    /// <summary>Prefixes under which a sender may ask for its reply, beside the node's own response topic.</summary>
    public IReadOnlyList<string> ReplyPrefixes { get; init; } = ["gemma4edge/reply/"];

    /// <summary>How long a broker keeps messages for this node while it is away.</summary>
    public int SessionExpirySeconds { get; init; } = 3600;

    /// <summary>Where to connect to.</summary>
    public BrokerAddress Address => Broker == Embedded ? new BrokerAddress("127.0.0.1", EmbeddedPort)
        : BrokerAddress.TryParse(Broker, out BrokerAddress? address) ? address
        : throw new ConfigurationException($"Mqtt:Broker is '{Broker}'; allowed is embedded or mqtt://HOST[:PORT].");

    /// <summary>A host's name with everything that a node's name cannot hold replaced.</summary>
    internal static string NodeOf(string host)
    {
        string node = new([.. host.Take(64).Select(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' ? c : '-')]);
        return node is "" or "fleet" or "reply" ? "node" : node;
    }

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static MqttOptions Read(OptionReader reader)
    {
        var defaults = new MqttOptions();
        var mqtt = new MqttOptions
        {
            Broker = reader.Text("Broker", defaults.Broker, "embedded or mqtt://HOST[:PORT]", value => value == MqttOptions.Embedded || BrokerAddress.TryParse(value, out _))!,
            EmbeddedPort = reader.Whole("EmbeddedPort", defaults.EmbeddedPort, 1, 65535),
            Node = reader.Text("Node", defaults.Node, "1 to 64 of A-Z a-z 0-9 _ - and not fleet or reply", IsNodeName)!,
            User = reader.Text("User", null),
            PasswordFile = reader.Text("PasswordFile", null, "a file that can be read", File.Exists),
            ReplyPrefixes = reader.List("ReplyPrefixes", defaults.ReplyPrefixes, "a topic prefix that ends with / and has no wildcard",
                value => value.EndsWith('/') && value[0] is not ('/' or '$') && ReplyTopic.Fault(value) is null),
            SessionExpirySeconds = reader.Whole("SessionExpirySeconds", defaults.SessionExpirySeconds, 0, int.MaxValue),
        };
        reader.RefuseOthers();
        return mqtt;
    }

    private static bool IsNodeName(string value) => NodeName().IsMatch(value) && value is not ("fleet" or "reply");

    [GeneratedRegex(@"\A[a-zA-Z0-9_-]{1,64}\z")]
    private static partial Regex NodeName();
}
