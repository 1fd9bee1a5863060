namespace Gemma4Edge.Kernels;

/// <summary>One weight format: its name, its block in bytes and its kernels. Every instance is a row of <see cref="QuantFormats"/>.</summary>
public sealed class QuantFormat
{
    /// <summary>The format's name in commands, reports and telemetry, lower case: <c>q4_0</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The format's type number in a GGUF tensor entry.</summary>
    public required int GgmlType { get; init; }

    /// <summary>Weights per block; the columns of a matrix are a multiple of it.</summary>
    public required int BlockColumns { get; init; }

    /// <summary>Bytes per block, scales included.</summary>
    public required int BlockBytes { get; init; }

    /// <summary>This format's kernels, best first; the last is the scalar reference, which every CPU runs.</summary>
    public required IReadOnlyList<IWeightKernel> Kernels { get; init; }

    /// <summary>Mean bits per weight, scales included.</summary>
    public double BitsPerWeight => 8.0 * BlockBytes / BlockColumns;

    /// <summary>Bytes of one row of <paramref name="columns"/> weights.</summary>
    public long RowBytes(int columns) => (long)columns / BlockColumns * BlockBytes;

    /// <inheritdoc/>
    public override string ToString() => Name;
}
