namespace Gemma4Edge.Model;

/// <summary>How the next token is chosen from the logits.</summary>
/// <remarks>The fields are applied in this order: top-k, temperature's softmax, top-p, min-p, then one draw. Temperature 0 takes the largest logit and ignores the rest.</remarks>
public sealed record SamplingOptions
{
    /// <summary>Gemma 4's published defaults, for a model that brings none of its own.</summary>
    public static SamplingOptions Gemma4 { get; } = new() { Temperature = 1, TopK = 64, TopP = 0.95f };

    /// <summary>The hottest temperature that is accepted: beyond it nothing but noise is drawn.</summary>
    public const float MaxTemperature = 10;

    /// <summary>Always the largest logit.</summary>
    public static SamplingOptions Greedy { get; } = new() { Temperature = 0 };

    /// <summary>Divides the logits; 0 = greedy. In [0, 10].</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Keeps the k largest logits; 0 = all.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps the smallest set of tokens whose probability reaches p; 1 = all. In (0, 1].</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Drops tokens less likely than this share of the likeliest; 0 = none. In [0, 1].</summary>
    public float MinP { get; init; }

    /// <summary>Seed of the draws; null = a new one each time.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Refuses values outside their ranges.</summary>
    /// <exception cref="ArgumentException">Names the option, its value and what is allowed.</exception>
    public void Check()
    {
        Require(Temperature is >= 0 and <= MaxTemperature, "temperature", Temperature, "0 (greedy) to 10");
        Require(TopK >= 0, "top_k", TopK, "0 (all) or more");
        Require(TopP is > 0 and <= 1, "top_p", TopP, "above 0, up to 1 (all)");
        Require(MinP is >= 0 and <= 1, "min_p", MinP, "0 (none) to 1");
    }

    private static void Require(bool holds, string name, float value, string allowed)
    {
        if (!holds)
        {
            throw new ArgumentException(FormattableString.Invariant($"{name} is {value}; allowed is {allowed}."));
        }
    }
}
