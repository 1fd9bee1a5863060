namespace Gemma4Edge.Model.ModelFile;

/// <summary>What any plausible Gemma 4 text network satisfies. Sizes that no tensor confirms are limited here, the others by the tensors' shapes.</summary>
internal static class ConfigCheck
{
    /// <summary>Most layers.</summary>
    public const int MaxLayers = 512;

    /// <summary>Most attention heads of a layer.</summary>
    public const int MaxHeads = 1024;

    /// <summary>Largest head.</summary>
    public const int MaxHeadDim = 8192;

    /// <summary>Largest width of anything else.</summary>
    public const int MaxWidth = 1 << 20;

    /// <summary>Most token ids.</summary>
    public const int MaxVocabSize = 1 << 22;

    /// <summary>Longest context.</summary>
    public const int MaxContext = 1 << 24;

    /// <summary>Longest sliding window.</summary>
    public const int MaxWindow = 1 << 20;

    /// <summary>Most experts of a layer.</summary>
    public const int MaxExperts = 4096;

    private const float LargestEps = 1e-2f;
    private const float LargestTheta = 1e12f;
    private const float LargestSoftcap = 1e6f;

    /// <summary>Checks what spans several values.</summary>
    /// <param name="config">Its sizes are within the limits above, its lists have one entry a layer.</param>
    /// <param name="path">The file it was read from.</param>
    /// <exception cref="ModelFileException">The parts do not fit each other.</exception>
    public static void Check(Gemma4Config config, string path)
    {
        Require(config.RmsNormEps is > 0 and <= LargestEps, $"The ε of the norms is {config.RmsNormEps:R}; expected 0 < ε ≤ {LargestEps}.");
        Require(config.RopeThetaSliding is > 1 and <= LargestTheta, $"The rotary θ of sliding layers is {config.RopeThetaSliding:R}; expected 1 < θ ≤ {LargestTheta:R}.");
        Require(config.RopeThetaFull is > 1 and <= LargestTheta, $"The rotary θ of full layers is {config.RopeThetaFull:R}; expected 1 < θ ≤ {LargestTheta:R}.");
        Require(config.FinalLogitSoftcapping is >= 0 and <= LargestSoftcap, $"The softcap is {config.FinalLogitSoftcapping:R}; expected 0 to {LargestSoftcap:R}.");
        Require(config.HeadDim % 2 == 0 && config.GlobalHeadDim % 2 == 0, $"The head sizes are {config.HeadDim} and {config.GlobalHeadDim}; expected even numbers.");
        Require(config.NumKvSharedLayers < config.NumHiddenLayers, $"{config.NumKvSharedLayers} of {config.NumHiddenLayers} layers share keys and values; expected at least one that owns them.");
        Require(config.TopKExperts <= config.NumExperts, $"{config.TopKExperts} of {config.NumExperts} experts are used; expected no more than there are.");

        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            int kvHeads = config.NumKeyValueHeads[layer];
            Require(config.NumAttentionHeads % kvHeads == 0, $"Layer {layer} has {config.NumAttentionHeads} heads and {kvHeads} key/value heads; expected a divisor.");
            if (config.IsKvShared(layer))
            {
                int donor = config.LastOwner(config.LayerTypes[layer]);
                Require(donor >= 0, $"Layer {layer} shares keys and values, but no earlier layer of its type owns any.");
                Require(config.NumKeyValueHeads[donor] == kvHeads, $"Layer {layer} has {kvHeads} key/value heads, its donor {donor} has {config.NumKeyValueHeads[donor]}; expected the same.");
            }
        }

        void Require(bool holds, FormattableString problem)
        {
            if (!holds)
            {
                throw new ModelFileException(path, 0, FormattableString.Invariant(problem), ModelFileException.UseGemma4);
            }
        }
    }
}
