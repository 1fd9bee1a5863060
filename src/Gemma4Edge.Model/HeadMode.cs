namespace Gemma4Edge.Model;

/// <summary>How the LM head gives the logits that sampling needs.</summary>
public enum HeadMode
{
    /// <summary>Two stages where the head is nested and they read fewer bytes than the whole of it, which a small vocabulary does not allow; else full.</summary>
    Auto,

    /// <summary>Every logit, exactly.</summary>
    Full,

    /// <summary>The logits of a shortlist, exactly; the others are −∞.</summary>
    TwoStage,
}
