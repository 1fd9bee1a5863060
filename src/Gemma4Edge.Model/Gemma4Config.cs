namespace Gemma4Edge.Model;

/// <summary>How far back a layer's attention looks.</summary>
public enum LayerType
{
    /// <summary>Only the last <see cref="Gemma4Config.SlidingWindow"/> positions, the query's own included.</summary>
    Sliding,

    /// <summary>Every position.</summary>
    Full,
}

/// <summary>The shape of one Gemma 4 text network, in the words of the Hugging Face configuration.</summary>
/// <remarks>Checked by the reader that made it: sizes are positive and fit each other, arrays have one entry a layer. Immutable.</remarks>
public sealed record Gemma4Config
{
    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of decoder layers.</summary>
    public required int NumHiddenLayers { get; init; }

    /// <summary>Number of token ids; rows of the embedding and of the LM head.</summary>
    public required int VocabSize { get; init; }

    /// <summary>Attention type of each layer.</summary>
    public required IReadOnlyList<LayerType> LayerTypes { get; init; }

    /// <summary>Width of the dense feed-forward network of each layer (double on KV-shared layers of E2B).</summary>
    public required IReadOnlyList<int> IntermediateSizes { get; init; }

    /// <summary>Query heads of every layer.</summary>
    public required int NumAttentionHeads { get; init; }

    /// <summary>Key/value heads of each layer; divides <see cref="NumAttentionHeads"/>.</summary>
    public required IReadOnlyList<int> NumKeyValueHeads { get; init; }

    /// <summary>Head size of sliding layers; even.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Head size of full layers; even.</summary>
    public required int GlobalHeadDim { get; init; }

    /// <summary>Positions a sliding layer sees, the query's own included.</summary>
    public required int SlidingWindow { get; init; }

    /// <summary>How many of the last layers write no keys and values and read a donor's instead.</summary>
    public required int NumKvSharedLayers { get; init; }

    /// <summary>Width of the per-layer embedding; 0 = the model has none.</summary>
    public required int HiddenSizePerLayerInput { get; init; }

    /// <summary>ε of every RMSNorm.</summary>
    public required float RmsNormEps { get; init; }

    /// <summary>θ of the rotary embedding of sliding layers.</summary>
    public required float RopeThetaSliding { get; init; }

    /// <summary>θ of the rotary embedding of full layers.</summary>
    public required float RopeThetaFull { get; init; }

    /// <summary>c in c·tanh(logits/c); 0 = none.</summary>
    public required float FinalLogitSoftcapping { get; init; }

    /// <summary>Longest sequence the model was made for, in tokens.</summary>
    public required int MaxPositionEmbeddings { get; init; }

    /// <summary>Experts of the mixture in each layer; 0 = dense.</summary>
    public int NumExperts { get; init; }

    /// <summary>Experts used per token.</summary>
    public int TopKExperts { get; init; }

    /// <summary>Width of one expert.</summary>
    public int MoeIntermediateSize { get; init; }

    /// <summary>First layer that owns no keys and values; <see cref="NumHiddenLayers"/> when every layer does.</summary>
    public int FirstKvSharedLayer => NumHiddenLayers - NumKvSharedLayers;

    /// <summary>Whether the layer reads a donor's keys and values.</summary>
    public bool IsKvShared(int layer) => layer >= FirstKvSharedLayer;

    /// <summary>Head size of a layer, by its type.</summary>
    public int HeadDimOf(int layer) => LayerTypes[layer] == LayerType.Full ? GlobalHeadDim : HeadDim;

    /// <summary>The layer whose keys and values <paramref name="layer"/> reads: itself, or the last owner of the same type.</summary>
    /// <exception cref="InvalidOperationException">No owner of that type exists (a reader never makes such a configuration).</exception>
    public int DonorOf(int layer)
    {
        if (!IsKvShared(layer))
        {
            return layer;
        }

        int owner = LastOwner(LayerTypes[layer]);
        return owner >= 0 ? owner : throw new InvalidOperationException($"Layer {layer} shares keys and values, but no earlier layer of its type owns any.");
    }

    /// <summary>The last layer of <paramref name="type"/> that owns keys and values; -1 = there is none.</summary>
    internal int LastOwner(LayerType type)
    {
        int layer = FirstKvSharedLayer - 1;
        while (layer >= 0 && LayerTypes[layer] != type)
        {
            layer--;
        }

        return layer;
    }
}
