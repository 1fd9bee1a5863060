namespace Gemma4Edge.Kernels;

/// <summary>One of ggml's weight formats: its name, its block in bytes and its kernels. Every instance is a row of <see cref="QuantFormats"/>.</summary>
public sealed class QuantFormat(string name) : WeightFormat
{
    /// <inheritdoc/>
    public override string Name => name;

    /// <summary>The format's type number in a GGUF tensor entry.</summary>
    public required int GgmlType { get; init; }

    /// <summary>Weights per block; the columns of a matrix are a multiple of it.</summary>
    public required int BlockColumns { get; init; }

    /// <summary>Bytes per block, scales included.</summary>
    public required int BlockBytes { get; init; }

    /// <summary>This format's kernels, best first; the last is the scalar reference, which every CPU runs.</summary>
    public required IReadOnlyList<IWeightKernel> Kernels { get; init; }

    /// <summary>This format's kernels for 8-bit activations, best first, the scalar reference last; empty = it has none and multiplies floats.</summary>
    internal IReadOnlyList<IGgmlInt8Kernel> Int8Kernels { get; init; } = [];

    /// <inheritdoc/>
    public override bool TakesInt8 => Int8Kernels.Count > 0;

    /// <summary>Mean bits per weight, scales included.</summary>
    public double BitsPerWeight => 8.0 * BlockBytes / BlockColumns;

    /// <inheritdoc/>
    public override long RowBytes(int columns) => (long)columns / BlockColumns * BlockBytes;

    /// <inheritdoc/>
    public override void CheckColumns(int columns)
    {
        if (columns % BlockColumns != 0)
        {
            throw new ArgumentException($"{columns} columns are not a whole number of {Name} blocks of {BlockColumns}.", nameof(columns));
        }
    }
}
