using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>How a model is loaded and run.</summary>
public sealed record EngineOptions
{
    /// <summary>Most prompt tokens that go through the network at once, where nobody asks for another number.</summary>
    public const int DefaultPrefillChunk = 128;

    /// <summary>A GGUF file or a Hugging Face folder.</summary>
    public required string Model { get; init; }

    /// <summary>Compute threads; 0 = one for each core that the process may use.</summary>
    public int Threads { get; init; }

    /// <summary>Longest sequence in tokens; 0 = <see cref="ContextUnlessAsked"/>.</summary>
    public int Context { get; init; }

    /// <summary>Longest sequence where nobody asks for one, in tokens (or the model's own, if that is shorter).</summary>
    public int ContextUnlessAsked { get; init; } = 4096;

    /// <summary>Instruction set of the kernels; null = the best of this CPU.</summary>
    public string? Kernel { get; init; }

    /// <summary>How keys and values are kept.</summary>
    public KvCacheFormat Kv { get; init; } = KvCacheFormat.Default;

    /// <summary>How the LM head is computed for sampling.</summary>
    public HeadMode Head { get; init; }

    /// <summary>How activations enter the products with the weights.</summary>
    public ActivationFormat Activations { get; init; }

    /// <summary>Whether prompt tokens skip the KV-shared layers (the answer is the same, see <see cref="Gemma4Transformer"/>).</summary>
    public bool SkipShared { get; init; } = true;

    /// <summary>Most prompt tokens that go through the network at once.</summary>
    public int PrefillChunk { get; init; } = DefaultPrefillChunk;

    /// <summary>Which form of the chat template; null = by the model's shape.</summary>
    public TemplateForm? Form { get; init; }

    /// <summary>Longest sequence with a model, in tokens.</summary>
    /// <exception cref="ContextLengthException">More was asked for than the model was made for.</exception>
    public int ContextWith(Gemma4Config config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return Context > config.MaxPositionEmbeddings ? throw new ContextLengthException(Context, config.MaxPositionEmbeddings)
            : Context > 0 ? Context
            : Math.Min(ContextUnlessAsked, config.MaxPositionEmbeddings);
    }
}
