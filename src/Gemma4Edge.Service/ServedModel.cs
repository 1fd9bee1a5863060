using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Telemetry;
using Gemma4Edge.Service.Tools;

namespace Gemma4Edge.Service;

/// <summary>What the service knows of the model that answers: the line in front of it, how it does, and what it is.</summary>
internal sealed record ServedModel(RequestQueue Queue, EngineMetrics Metrics, NodeInfo Info)
{
    /// <summary>How the model's makers would sample it.</summary>
    public SamplingOptions Sampling { get; init; } = SamplingOptions.Gemma4;

    /// <summary>The tools declared to it unless a request brings its own.</summary>
    public IReadOnlyList<ToolDefinition> Tools { get; init; } = [];

    /// <summary>A count that moves whenever the compute thread gets anywhere: a layer further, or back to the queue.</summary>
    public Func<long> Progress { get; init; } = () => Queue.Looks;

    /// <summary>Those of them that act.</summary>
    public IReadOnlyList<DeclaredTool> Acting { get; init; } = [];

    /// <summary>What holds it back just now, in a few words (<c>hot: 2 threads</c>), for <c>systemctl status</c>; null = nothing.</summary>
    public Func<string?> Hindrance { get; init; } = static () => null;

    /// <summary>Forgets one conversation, or all (null).</summary>
    public required Action<string?> ClearSessions { get; init; }

    /// <summary>How much of it is in memory.</summary>
    public required Func<MappedResidency> Residency { get; init; }

    /// <summary>Whether it has answered its self-test.</summary>
    public bool HasAnswered { get; init; }

    /// <summary>Sets how many of its threads compute.</summary>
    public Action<int> SetThreads { get; init; } = _ => { };

    /// <summary>Why no request is taken now; null = they are.</summary>
    public Func<GenerationFailure?> Refusal { get; init; } = () => null;

    /// <summary>What the device's firmware holds back; null = it does not tell.</summary>
    public Func<Throttling?> Throttled { get; init; } = () => null;
}
