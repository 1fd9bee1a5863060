namespace Gemma4Edge.Model.ModelFile;

/// <summary>How the model's makers would sample it, as far as the file says; null = it does not say.</summary>
public sealed record GenerationDefaults
{
    /// <summary>Divides the logits; finite, ≥ 0.</summary>
    public float? Temperature { get; init; }

    /// <summary>Number of candidates kept; 0 = all.</summary>
    public int? TopK { get; init; }

    /// <summary>Probability mass kept, in (0, 1].</summary>
    public float? TopP { get; init; }

    /// <summary>Whether to sample at all; false = greedy.</summary>
    public bool? DoSample { get; init; }

    /// <summary>Token ids that end an answer, each below the vocabulary's size.</summary>
    public IReadOnlyList<int> EosTokenIds { get; init; } = [];
}
