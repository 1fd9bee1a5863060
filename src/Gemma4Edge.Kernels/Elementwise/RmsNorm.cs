using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>Root-mean-square norm: y = x · (mean(x²) + ε)^(−1/2) · w.</summary>
/// <remarks>Stateless; safe on any thread as long as outputs do not overlap.</remarks>
public static class RmsNorm
{
    /// <summary>Normalizes one row.</summary>
    /// <param name="x">(n).</param>
    /// <param name="weight">(n), used as it is (not 1 + w); empty = no weight.</param>
    /// <param name="eps">ε, inside the root.</param>
    /// <param name="y">Result, (n) or longer; may be x itself, must not overlap it otherwise.</param>
    /// <exception cref="ArgumentException">A length does not fit x.</exception>
    public static void Apply(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, float eps, Span<float> y)
    {
        float meanSquare = TensorPrimitives.SumOfSquares(x) / x.Length;
        TensorPrimitives.Multiply(x, 1 / MathF.Sqrt(meanSquare + eps), y);
        if (!weight.IsEmpty)
        {
            Span<float> row = y[..x.Length];
            TensorPrimitives.Multiply(row, weight, row);
        }
    }

    /// <summary>Normalizes each row of x, (x.Length / rowLength, rowLength), on its own: tokens, or the heads of one token.</summary>
    /// <exception cref="ArgumentException">x is not a whole number of rows, or another length does not fit.</exception>
    /// <inheritdoc cref="Apply"/>
    public static void ApplyRows(ReadOnlySpan<float> x, ReadOnlySpan<float> weight, float eps, Span<float> y, int rowLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rowLength);
        if (x.Length % rowLength != 0)
        {
            throw new ArgumentException($"{x.Length} floats are not a whole number of rows of {rowLength}.", nameof(x));
        }

        for (int start = 0; start < x.Length; start += rowLength)
        {
            Apply(x.Slice(start, rowLength), weight, eps, y.Slice(start, rowLength));
        }
    }
}
