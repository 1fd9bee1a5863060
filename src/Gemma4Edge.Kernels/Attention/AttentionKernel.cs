using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>Attention of one token's query heads that share a key/value head: softmax(q·Kᵀ)·V, with scores not scaled.</summary>
/// <remarks>Stateless; safe on any thread as long as scratch and outputs do not overlap and nobody writes the rows that are read.</remarks>
public static class AttentionKernel
{
    /// <summary>Floats of scratch that <see cref="Attend"/> needs: the scores, and one row.</summary>
    public static int ScratchLength(int queryHeads, int positions, int headDim) => checked((queryHeads * positions) + headDim);

    /// <summary>output[h] = Σ_p a[h, p] · V[p] with a[h] = softmax over p in [from, to) of queries[h] · K[p]. Every row is read once for all query heads.</summary>
    /// <param name="queries">(queryHeads, headDim): the heads of one group.</param>
    /// <param name="keys">Rows of (key/value heads, headDim).</param>
    /// <param name="values">Same shape and positions as the keys.</param>
    /// <param name="kvHead">Which head of a row the group shares.</param>
    /// <param name="headDim">Floats per head.</param>
    /// <param name="from">First visible position, still in the ring.</param>
    /// <param name="to">One past the last visible position; more than from, at most Capacity apart.</param>
    /// <param name="scratch"><see cref="ScratchLength"/> or longer; overwritten.</param>
    /// <param name="output">(queryHeads, headDim); must not overlap the queries.</param>
    /// <exception cref="ArgumentException">A length or a range does not fit. Checked once, before any work.</exception>
    public static void Attend(
        ReadOnlySpan<float> queries, KvPlane keys, KvPlane values, int kvHead, int headDim, int from, int to, Span<float> scratch, Span<float> output)
    {
        int positions = to - from;
        int heads = queries.Length / headDim;
        int column = kvHead * headDim;
        if (positions <= 0 || positions > Math.Min(keys.Capacity, values.Capacity) || from < 0)
        {
            ThrowRange(from, to);
        }

        if (queries.Length != output.Length || queries.Length % headDim != 0 || column + headDim > Math.Min(keys.RowLength, values.RowLength))
        {
            ThrowShape(queries.Length, output.Length, kvHead, headDim);
        }

        Span<float> scores = scratch[..(heads * positions)];
        Span<float> row = scratch.Slice(scores.Length, headDim);
        for (int p = 0; p < positions; p++)
        {
            ReadOnlySpan<float> key = keys.Read(from + p, column, row);
            for (int h = 0; h < heads; h++)
            {
                scores[(h * positions) + p] = TensorPrimitives.Dot(queries.Slice(h * headDim, headDim), key);
            }
        }

        for (int h = 0; h < heads; h++)
        {
            Softmax.Apply(scores.Slice(h * positions, positions));
        }

        output.Clear();
        for (int p = 0; p < positions; p++)
        {
            ReadOnlySpan<float> value = values.Read(from + p, column, row);
            for (int h = 0; h < heads; h++)
            {
                Span<float> sum = output.Slice(h * headDim, headDim);
                TensorPrimitives.MultiplyAdd(value, scores[(h * positions) + p], sum, sum);
            }
        }
    }

    [DoesNotReturn]
    private static void ThrowRange(int from, int to) =>
        throw new ArgumentException($"Positions [{from}, {to}) are empty or more than the ring holds.", nameof(to));

    [DoesNotReturn]
    private static void ThrowShape(int queries, int output, int kvHead, int headDim) =>
        throw new ArgumentException($"{queries} query floats, {output} output floats, key/value head {kvHead} of {headDim}: they do not fit each other or the rows.", nameof(queries));
}
