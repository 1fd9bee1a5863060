using Gemma4Edge.Model;

namespace Gemma4Edge.Service;

/// <summary>Section Sampling. Null = the model's own value.</summary>
public sealed record SamplingDefaults
{
    /// <summary>Most tokens of an answer.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>Divides the logits; 0 = greedy.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keeps the k largest logits; 0 = all.</summary>
    public int? TopK { get; init; }

    /// <summary>Keeps the smallest set of tokens whose probability reaches p; 1 = all.</summary>
    public float? TopP { get; init; }

    /// <summary>Drops tokens less likely than this share of the likeliest.</summary>
    public float? MinP { get; init; }

    /// <summary>Whether the model may think before it answers.</summary>
    public bool Thinking { get; init; }

    /// <summary>These values over the model's.</summary>
    public SamplingOptions Over(SamplingOptions model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return model with
        {
            Temperature = Temperature ?? model.Temperature,
            TopK = TopK ?? model.TopK,
            TopP = TopP ?? model.TopP,
            MinP = MinP ?? model.MinP,
        };
    }

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="ConfigurationException">A key or a value is wrong.</exception>
    internal static SamplingDefaults Read(OptionReader reader)
    {
        var sampling = new SamplingDefaults
        {
            MaxTokens = reader.Whole("MaxTokens", new SamplingDefaults().MaxTokens, 1, 1 << 20),
            Temperature = reader.Number("Temperature", 0, 10),
            TopK = reader.Number("TopK", 0, 1 << 20) is null ? null : reader.Whole("TopK", 0, 0, 1 << 20),
            TopP = reader.Number("TopP", 0.0001f, 1),
            MinP = reader.Number("MinP", 0, 1),
            Thinking = reader.Flag("Thinking", false),
        };
        reader.RefuseOthers();
        return sampling;
    }
}
