namespace Gemma4Edge.Model.ModelFile;

/// <summary>Sizes for people.</summary>
public static class ByteSize
{
    /// <summary><c>2.40 GB</c>, <c>14.78 MB</c>, <c>0.5 kB</c>.</summary>
    public static string Text(long bytes) => bytes switch
    {
        >= 1_000_000_000 => $"{bytes / 1e9:F2} GB",
        >= 1_000_000 => $"{bytes / 1e6:F2} MB",
        _ => $"{bytes / 1e3:F1} kB",
    };
}
