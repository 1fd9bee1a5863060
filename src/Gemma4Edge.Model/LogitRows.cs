namespace Gemma4Edge.Model;

/// <summary>Which rows of a forward pass get logits.</summary>
public enum LogitRows
{
    /// <summary>None: a prefill chunk that is not the last.</summary>
    None,

    /// <summary>The last row as far as sampling needs it: with a two-stage head all but its shortlist are −∞. See <see cref="Sampler.Wants"/>.</summary>
    Shortlist,

    /// <summary>The last row, every logit exact: probabilities, checks, choices among few tokens.</summary>
    Last,

    /// <summary>Every row, exact: checks and perplexity; at most <see cref="Gemma4Transformer.MaxLogitRows"/>.</summary>
    All,
}
