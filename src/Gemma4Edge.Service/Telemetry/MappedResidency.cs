using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>How much of the model's mapping is in memory. Null = there is no such part.</summary>
internal readonly record struct MappedResidency(long? WeightsBytes, long? PleBytes)
{
    /// <summary>Counts the pages of <paramref name="model"/> that are in the page cache.</summary>
    public static MappedResidency Of(LoadedModel model) => new(Count(model, "weights"), Count(model, "ple"));

    private static long? Count(LoadedModel model, string name)
    {
        MappedRange[] ranges = [.. model.MappedRanges.Where(range => range.Name == name)];
        return ranges.Length == 0 ? null : ranges.Sum(range => range.CountResidentBytes());
    }
}
