namespace Gemma4Edge.Model;

/// <summary>Which rows of a forward pass get logits.</summary>
public enum LogitRows
{
    /// <summary>None: a prefill chunk that is not the last.</summary>
    None,

    /// <summary>The last row: sampling.</summary>
    Last,

    /// <summary>Every row: checks and perplexity; at most <see cref="Gemma4Transformer.MaxLogitRows"/>.</summary>
    All,
}
