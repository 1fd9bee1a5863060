namespace Gemma4Edge.Runtime;

/// <summary>A context was asked for that is longer than the model was made for.</summary>
public sealed class ContextLengthException(int context, int most)
    : Exception($"this model was made for at most {most} tokens; ask for that or less, or for 0, which is as much as it can, at most 4096.")
{
    /// <summary>Tokens that were asked for.</summary>
    public int Context { get; } = context;

    /// <summary>Tokens that the model was made for.</summary>
    public int Most { get; } = most;
}
