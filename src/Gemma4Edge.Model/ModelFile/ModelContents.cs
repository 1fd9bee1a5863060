namespace Gemma4Edge.Model.ModelFile;

/// <summary>What a reader found in a model file or folder, before the weights are looked up.</summary>
internal sealed record ModelContents
{
    /// <summary><c>gguf</c> or <c>safetensors</c>.</summary>
    public required string Format { get; init; }

    /// <summary>What the model calls itself.</summary>
    public required string Name { get; init; }

    /// <summary>The shape of the network; checked.</summary>
    public required Gemma4Config Config { get; init; }

    /// <summary>The tensors.</summary>
    public required TensorTable Tensors { get; init; }

    /// <summary>Whether full layers use the raw key projection as values; null = they do where the file has no value projection.</summary>
    public bool? AttentionKEqV { get; init; }

    /// <summary>Share of a full layer's head that rotates; null = the file has the factors themselves.</summary>
    public float? PartialRotaryFactor { get; init; }

    /// <summary>How its makers would sample it.</summary>
    public required GenerationDefaults Generation { get; init; }

    /// <summary>The chat template it brings, in Jinja; null = none.</summary>
    public string? ChatTemplate { get; init; }
}
