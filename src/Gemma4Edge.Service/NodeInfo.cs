using System.Reflection;

namespace Gemma4Edge.Service;

/// <summary>What does not change while the service runs: the payload of the <c>info</c> topic. Null = cannot be had.</summary>
internal sealed record NodeInfo
{
    /// <summary>Version of the program.</summary>
    public static string ProgramVersion { get; } =
        typeof(NodeInfo).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    public required string Model { get; init; }

    public required int Context { get; init; }

    /// <summary>Format that most of the weight bytes are in.</summary>
    public string? Weights { get; init; }

    public string? Kv { get; init; }

    public string? Kernel { get; init; }

    public int? Threads { get; init; }

    public long? BytesPerToken { get; init; }

    /// <summary>Memory it will take when all conversations are full, the weights that each token reads included.</summary>
    public long? PlannedBytes { get; init; }

    /// <summary>Memory it may take.</summary>
    public long? BudgetBytes { get; init; }

    /// <summary>SHA-256 of the model's file, lower-case hex.</summary>
    public string? ModelSha256 { get; init; }
}
