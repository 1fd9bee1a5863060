using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model;

/// <summary>Every weight of the network. Matrices are views into the model's mapping; vectors are small copies as floats.</summary>
/// <remarks>Names are those of the Hugging Face checkpoint. Valid while the <see cref="ModelFile.LoadedModel"/> it came from is open. Immutable.</remarks>
public sealed class Gemma4Weights
{
    /// <summary>Token embedding, (VocabSize, HiddenSize).</summary>
    public required WeightMatrix EmbedTokens { get; init; }

    /// <summary>LM head, (VocabSize, HiddenSize): the token embedding itself unless the file brings its own.</summary>
    public required WeightMatrix LmHead { get; init; }

    /// <summary>Per-layer embedding table, (VocabSize, NumHiddenLayers · HiddenSizePerLayerInput), layer-major rows; null = none. Only rows of seen tokens are ever read.</summary>
    public WeightMatrix? EmbedTokensPerLayer { get; init; }

    /// <summary>(NumHiddenLayers · HiddenSizePerLayerInput, HiddenSize); null with <see cref="EmbedTokensPerLayer"/>.</summary>
    public WeightMatrix? PerLayerModelProjection { get; init; }

    /// <summary>(HiddenSizePerLayerInput); null with <see cref="EmbedTokensPerLayer"/>.</summary>
    public float[]? PerLayerProjectionNorm { get; init; }

    /// <summary>Final norm, (HiddenSize).</summary>
    public required float[] Norm { get; init; }

    /// <summary>Divides the rotary angle of pair j on full layers, (GlobalHeadDim / 2): 1 for rotated pairs, a huge number (≥ 1e30) for pairs that stay.</summary>
    public required float[] RopeFactorsFull { get; init; }

    /// <summary>The decoder layers, in order.</summary>
    public required IReadOnlyList<LayerWeights> Layers { get; init; }
}

/// <summary>The weights of one decoder layer; d = its head size, F = its feed-forward width.</summary>
public sealed class LayerWeights
{
    /// <summary>(HiddenSize).</summary>
    public required float[] InputLayerNorm { get; init; }

    /// <summary>(NumAttentionHeads · d, HiddenSize).</summary>
    public required WeightMatrix QProj { get; init; }

    /// <summary>(NumKeyValueHeads · d, HiddenSize); null on KV-shared layers (dead weights in a file are left unread).</summary>
    public WeightMatrix? KProj { get; init; }

    /// <summary>(NumKeyValueHeads · d, HiddenSize); null on KV-shared layers, and where values are the raw key projection (<c>attention_k_eq_v</c>).</summary>
    public WeightMatrix? VProj { get; init; }

    /// <summary>(HiddenSize, NumAttentionHeads · d).</summary>
    public required WeightMatrix OProj { get; init; }

    /// <summary>(d).</summary>
    public required float[] QNorm { get; init; }

    /// <summary>(d); null on KV-shared layers.</summary>
    public float[]? KNorm { get; init; }

    /// <summary>(HiddenSize).</summary>
    public required float[] PostAttentionLayerNorm { get; init; }

    /// <summary>(HiddenSize).</summary>
    public required float[] PreFeedForwardLayerNorm { get; init; }

    /// <summary>(F, HiddenSize).</summary>
    public required WeightMatrix GateProj { get; init; }

    /// <summary>(F, HiddenSize).</summary>
    public required WeightMatrix UpProj { get; init; }

    /// <summary>(HiddenSize, F).</summary>
    public required WeightMatrix DownProj { get; init; }

    /// <summary>(HiddenSize).</summary>
    public required float[] PostFeedForwardLayerNorm { get; init; }

    /// <summary>The mixture of experts beside the dense network; null on dense models.</summary>
    public ExpertWeights? Experts { get; init; }

    /// <summary>(HiddenSizePerLayerInput, HiddenSize); null without per-layer embeddings.</summary>
    public WeightMatrix? PerLayerInputGate { get; init; }

    /// <summary>(HiddenSize, HiddenSizePerLayerInput); null without per-layer embeddings.</summary>
    public WeightMatrix? PerLayerProjection { get; init; }

    /// <summary>(HiddenSize); null without per-layer embeddings.</summary>
    public float[]? PostPerLayerInputNorm { get; init; }

    /// <summary>Multiplies the whole residual stream as the layer's last step; 1 where a file has none.</summary>
    public float LayerScalar { get; init; } = 1;
}

/// <summary>The mixture-of-experts block of one layer (26B-A4B): E experts of width M.</summary>
public sealed class ExpertWeights
{
    /// <summary>(E, HiddenSize).</summary>
    public required WeightMatrix RouterProj { get; init; }

    /// <summary>(HiddenSize).</summary>
    public required float[] RouterScale { get; init; }

    /// <summary>(E).</summary>
    public required float[] PerExpertScale { get; init; }

    /// <summary>E matrices (2·M, HiddenSize): M gate rows, then M up rows.</summary>
    public required IReadOnlyList<WeightMatrix> GateUpProj { get; init; }

    /// <summary>E matrices (HiddenSize, M).</summary>
    public required IReadOnlyList<WeightMatrix> DownProj { get; init; }

    /// <summary>Norm of the experts' input, (HiddenSize).</summary>
    public required float[] PreFeedForwardLayerNorm2 { get; init; }

    /// <summary>Norm of the dense network's output, (HiddenSize).</summary>
    public required float[] PostFeedForwardLayerNorm1 { get; init; }

    /// <summary>Norm of the experts' output, (HiddenSize).</summary>
    public required float[] PostFeedForwardLayerNorm2 { get; init; }
}
