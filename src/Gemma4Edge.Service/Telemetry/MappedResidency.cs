using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>How much of the model's mapping this process has in memory. Null = there is no such part, or the kernel does not tell.</summary>
/// <param name="WeightsBytes">All but the per-layer embeddings.</param>
/// <param name="PleBytes">The per-layer embeddings.</param>
/// <param name="HeadLowerBytes">Of the weights, the lower plane of a nested LM head.</param>
public readonly record struct MappedResidency(long? WeightsBytes, long? PleBytes, long? HeadLowerBytes = null)
{
    /// <summary>Counts the pages of <paramref name="model"/>; see <see cref="MappedRange.CountResidentBytes"/>.</summary>
    public static MappedResidency Of(LoadedModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        long? headLower = Count(model, "head_lower");
        return new MappedResidency(Count(model, "weights") + (headLower ?? 0), Count(model, "ple"), headLower);
    }

    private static long? Count(LoadedModel model, string name)
    {
        long?[] ranges = [.. model.MappedRanges.Where(range => range.Name == name).Select(range => range.CountResidentBytes())];
        return ranges.Length == 0 || ranges.Contains(null) ? null : ranges.Sum();
    }
}
