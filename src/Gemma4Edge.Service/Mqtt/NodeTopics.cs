namespace Gemma4Edge.Service.Mqtt;

/// <summary>The topics of one node.</summary>
internal sealed class NodeTopics(string node)
{
    private readonly string _base = $"gemma4edge/{node}";

    public string Node { get; } = node;

    public string Request => $"{_base}/request";

    public string PromptSet => $"{_base}/prompt/set";

    public string Prompt => $"{_base}/prompt";

    public string Answer => $"{_base}/answer";

    public string Cancel => $"{_base}/cancel";

    public string Response => $"{_base}/response";

    public string Availability => $"{_base}/availability";

    public string Info => $"{_base}/info";

    public string State => $"{_base}/state";

    public string Telemetry => $"{_base}/telemetry";

    public string Event => $"{_base}/event";

    public string SessionClear => $"{_base}/session/clear";

    public string ConfigSetFilter => $"{_base}/config/+/set";

    /// <summary>Where one key of the configuration is set.</summary>
    public string ConfigSet(string key) => $"{_base}/config/{key}/set";

    /// <summary>What the node listens to.</summary>
    public IReadOnlyList<string> Inbound => [Request, PromptSet, Cancel, SessionClear, ConfigSetFilter];

    /// <summary>Where the node speaks, beside replies.</summary>
    public IReadOnlyList<string> Outbound => [Response, Prompt, Answer, Availability, Info, State, Telemetry, Event];

    /// <summary>Where the jobs of a pool arrive.</summary>
    public static string PoolRequest(string pool) => $"gemma4edge/fleet/{pool}/request";

    /// <summary>Whether a topic is one that the node listens to.</summary>
    public bool IsInbound(string topic) => Inbound.Contains(topic) || ConfigKey(topic) is not null;

    /// <summary>A topic under each of <see cref="Inbound"/>, to prove by it that the node hears there.</summary>
    public IReadOnlyList<string> InboundProbes => [.. Inbound.Select(filter => filter.Replace("+", "probe", StringComparison.Ordinal))];

    /// <summary>What an access rule of Mosquitto must say that lets a user be this node.</summary>
    public string AclFor(string? user) => user == Node ? "pattern readwrite gemma4edge/%u/#"
        : $"{(user is null ? "" : $"user {user} / ")}topic readwrite {_base}/#";

    /// <summary>The key of <c>config/KEY/set</c>; null for any other topic.</summary>
    public string? ConfigKey(string topic) =>
        topic.StartsWith($"{_base}/config/", StringComparison.Ordinal) && topic.EndsWith("/set", StringComparison.Ordinal)
            ? topic[$"{_base}/config/".Length..^"/set".Length]
            : null;
}
