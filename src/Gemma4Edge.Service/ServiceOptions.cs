using System.Text.RegularExpressions;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Configuration;

namespace Gemma4Edge.Service;

/// <summary>Everything that can be configured, checked. Sections and keys have the names of the properties.</summary>
public sealed partial record ServiceOptions
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

    /// <summary>Reads and checks a configuration.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    public static ServiceOptions Read(IConfigurationRoot configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        var options = new ServiceOptions
        {
            Model = ReadModel(new OptionReader(configuration, "Model")),
            Mqtt = ReadMqtt(new OptionReader(configuration, "Mqtt")),
            Queue = ReadQueue(new OptionReader(configuration, "Queue")),
            Sampling = ReadSampling(new OptionReader(configuration, "Sampling")),
            Tools = ReadTools(new OptionReader(configuration, "Tools")),
            Telemetry = ReadTelemetry(new OptionReader(configuration, "Telemetry")),
        };
        string[] sections = [nameof(Model), nameof(Mqtt), nameof(Queue), nameof(Sampling), nameof(Tools), nameof(Telemetry)];
        foreach (IConfigurationSection section in configuration.GetChildren())
        {
            if (!sections.Contains(section.Key, StringComparer.OrdinalIgnoreCase))
            {
                string leaf = section.AsEnumerable().Select(pair => pair.Key).Last();
                throw new ConfigurationException(
                    $"{section.Path} (from {ServiceConfiguration.SourceOf(configuration, leaf)}) is no section of the configuration; allowed are {string.Join(", ", sections)}.");
            }
        }

        return options;
    }

    private static ModelOptions ReadModel(OptionReader reader)
    {
        var model = new ModelOptions
        {
            Path = reader.Text("Path", "", "a GGUF file or a Hugging Face folder")!,
            Context = reader.Whole("Context", 0, 0, 1 << 20),
            Threads = reader.Whole("Threads", 0, 0, 1024),
            Kernel = reader.Text("Kernel", null, "one of " + string.Join(", ", CpuKernels.Names), value => CpuKernels.Names.Contains(value)),
            Kv = ReadKv(reader),
            Head = ReadHead(reader),
            Activations = ActivationFormats.Parse(
                reader.Text("Activations", ActivationFormats.NameOf(ActivationFormat.Auto), "one of " + string.Join(", ", ActivationFormats.Names), ActivationFormats.Names.Contains)!),
            SkipShared = reader.Flag("SkipShared", true),
            Sessions = reader.Whole("Sessions", 8, 1, 1024),
            System = reader.Text("System", null),
        };
        reader.RefuseOthers();
        return model.Path.Length > 0 ? model : throw new ConfigurationException(
            "Model:Path is missing; expected a GGUF file or a Hugging Face folder: set it in the configuration, or start with --model.");
    }

    private static KvCacheFormat ReadKv(OptionReader reader)
    {
        string name = reader.Text("Kv", KvCacheFormat.Auto, "one of " + string.Join(", ", KvCacheFormat.Names), value => KvCacheFormat.TryFromName(value, out _))!;
        KvCacheFormat.TryFromName(name, out KvCacheFormat? format);
        return format!.With(reader.List("KvLayers", [], KvCacheFormat.LayerSyntax, value => KvCacheFormat.TryParseLayer(value, out _, out _)));
    }

    private static HeadMode ReadHead(OptionReader reader)
    {
        string name = reader.Text("Head", HeadModes.NameOf(HeadMode.Auto), "one of " + string.Join(", ", HeadModes.Names), value => HeadModes.TryFromName(value, out _))!;
        HeadModes.TryFromName(name, out HeadMode head);
        return head;
    }

    private static MqttOptions ReadMqtt(OptionReader reader)
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

    private static QueueOptions ReadQueue(OptionReader reader)
    {
        var queue = new QueueOptions
        {
            Capacity = reader.Whole("Capacity", new QueueOptions().Capacity, 1, 1024),
            DefaultDeadlineSeconds = reader.Whole("DefaultDeadlineSeconds", new QueueOptions().DefaultDeadlineSeconds, 1, 86400),
        };
        reader.RefuseOthers();
        return queue;
    }

    private static SamplingDefaults ReadSampling(OptionReader reader)
    {
        var sampling = new SamplingDefaults
        {
            MaxTokens = reader.Whole("MaxTokens", new SamplingDefaults().MaxTokens, 1, 1 << 20),
            Temperature = reader.Number("Temperature", 0, 10),
            TopK = reader.Number("TopK", 0, 1 << 20) is null ? null : reader.Whole("TopK", 0, 0, 1 << 20),
            TopP = reader.Number("TopP", 0.0001f, 1),
            MinP = reader.Number("MinP", 0, 1),
            Thinking = reader.Flag("Thinking", false),
        };
        reader.RefuseOthers();
        return sampling;
    }

    private static ToolsOptions ReadTools(OptionReader reader)
    {
        var tools = new ToolsOptions { Path = reader.Text("Path", null, "a JSON file or a folder of *.json", value => File.Exists(value) || Directory.Exists(value)) };
        reader.RefuseOthers();
        return tools;
    }

    private static TelemetryOptions ReadTelemetry(OptionReader reader)
    {
        var telemetry = new TelemetryOptions { IntervalSeconds = reader.Whole("IntervalSeconds", new TelemetryOptions().IntervalSeconds, 1, 86400) };
        reader.RefuseOthers();
        return telemetry;
    }

    private static bool IsNodeName(string value) => NodeName().IsMatch(value) && value is not ("fleet" or "reply");

    [GeneratedRegex(@"\A[a-zA-Z0-9_-]{1,64}\z")]
    private static partial Regex NodeName();
}

/// <summary>Section Model.</summary>
public sealed record ModelOptions
{
    /// <summary>A GGUF file or a Hugging Face folder.</summary>
    public required string Path { get; init; }

    /// <summary>Longest sequence in tokens; 0 = the engine's default.</summary>
    public int Context { get; init; }

    /// <summary>Compute threads; 0 = one per core.</summary>
    public int Threads { get; init; }

    /// <summary>Instruction set of the kernels; null = the best of this CPU.</summary>
    public string? Kernel { get; init; }

    /// <summary>How keys and values are kept.</summary>
    public KvCacheFormat Kv { get; init; } = KvCacheFormat.Default;

    /// <summary>How the LM head is computed for sampling.</summary>
    public HeadMode Head { get; init; }

    /// <summary>How activations enter the products with the weights.</summary>
    public ActivationFormat Activations { get; init; }

    /// <summary>Whether prompt tokens skip the layers that write no keys and values.</summary>
    public bool SkipShared { get; init; } = true;

    /// <summary>Most conversations that are kept.</summary>
    public int Sessions { get; init; } = 8;

    /// <summary>System text of requests that bring none; null = none.</summary>
    public string? System { get; init; }
}

/// <summary>Section Mqtt.</summary>
public sealed record MqttOptions
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
}

/// <summary>Section Queue.</summary>
public sealed record QueueOptions
{
    /// <summary>Most requests that may wait.</summary>
    public int Capacity { get; init; } = 16;

    /// <summary>How long a request may wait that brings no deadline.</summary>
    public int DefaultDeadlineSeconds { get; init; } = 300;
}

/// <summary>Section Sampling. Null = the model's own value.</summary>
public sealed record SamplingDefaults
{
    /// <summary>Most tokens of an answer.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>Divides the logits; 0 = greedy.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keeps the k largest logits; 0 = all.</summary>
    public int? TopK { get; init; }

    /// <summary>Keeps the smallest set of tokens whose probability reaches p; 1 = all.</summary>
    public float? TopP { get; init; }

    /// <summary>Drops tokens less likely than this share of the likeliest.</summary>
    public float? MinP { get; init; }

    /// <summary>Whether the model may think before it answers.</summary>
    public bool Thinking { get; init; }

    /// <summary>These values over the model's.</summary>
    public SamplingOptions Over(SamplingOptions model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return model with
        {
            Temperature = Temperature ?? model.Temperature,
            TopK = TopK ?? model.TopK,
            TopP = TopP ?? model.TopP,
            MinP = MinP ?? model.MinP,
        };
    }
}

/// <summary>Section Tools.</summary>
public sealed record ToolsOptions
{
    /// <summary>A folder of *.json files or one file; null = no tools.</summary>
    public string? Path { get; init; }
}

/// <summary>Section Telemetry.</summary>
public sealed record TelemetryOptions
{
    /// <summary>Seconds between two telemetry messages.</summary>
    public int IntervalSeconds { get; init; } = 10;
}
