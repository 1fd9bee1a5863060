namespace Gemma4Edge.Runtime;

/// <summary>A prompt that leaves no room for an answer.</summary>
public sealed class ContextOverflowException(int promptTokens, int context)
    : Exception($"The prompt has {promptTokens} tokens, but the context holds {context}, and an answer needs room too: shorten it, clear the session, or run with a larger context.")
{
    /// <summary>Tokens of the prompt.</summary>
    public int PromptTokens { get; } = promptTokens;

    /// <summary>Tokens the context holds.</summary>
    public int Context { get; } = context;
}
