using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>Attention of one token's query heads that share a key/value head: softmax(q·Kᵀ)·V, with scores not scaled.</summary>
/// <remarks>Stateless; safe on any thread as long as scratch and outputs do not overlap and nobody writes the rows that are read.</remarks>
public static class AttentionKernel
{
    /// <summary>Floats of scratch that <see cref="Attend"/> needs: the scores, rotated queries, and one head vector.</summary>
    public static int ScratchLength(int queryHeads, int positions, int headDim) => checked((queryHeads * positions) + ((queryHeads + 1) * headDim));

    /// <summary>output[h] = Σ_p a[h, p] · V[p] with a[h] = softmax over p in [from, to) of queries[h] · K[p]. Every row is read once for all query heads.</summary>
    /// <remarks>
    /// Planes that rotate are read as they are: queries follow the keys' rotation R, because ⟨Rq, Rk⟩ = ⟨q, k⟩, and the sum of rotated
    /// values is rotated back once per query head. The rotation is the plane's own, so a layer that reads a donor's planes cannot miss it.
    /// </remarks>
    /// <param name="queries">(queryHeads, d): the heads of one group.</param>
    /// <param name="keys">Rows of (key/value heads, d).</param>
    /// <param name="values">Same shape and positions as the keys.</param>
    /// <param name="kvHead">Which head of a row the group shares.</param>
    /// <param name="from">First visible position, still in the ring.</param>
    /// <param name="to">One past the last visible position, which is the queries' own; more than from, at most Capacity apart.</param>
    /// <param name="scratch"><see cref="ScratchLength"/> or longer; overwritten.</param>
    /// <param name="output">(queryHeads, d); must not overlap the queries.</param>
    /// <exception cref="ArgumentException">A length or a range does not fit. Checked once, before any work.</exception>
    public static void Attend(
        ReadOnlySpan<float> queries, KvPlane keys, KvPlane values, int kvHead, int from, int to, Span<float> scratch, Span<float> output)
    {
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(values);
        int headDim = keys.Shape.HeadDim;
        int positions = to - from;
        int heads = queries.Length / headDim;
        if (positions <= 0 || positions > Math.Min(keys.Capacity, values.Capacity) || from < 0)
        {
            ThrowRange(from, to);
        }

        if (queries.Length != output.Length || queries.Length % headDim != 0 || values.Shape.HeadDim != headDim
            || kvHead >= Math.Min(keys.Shape.Heads, values.Shape.Heads))
        {
            ThrowShape(queries.Length, output.Length, kvHead, headDim);
        }

        Span<float> scores = scratch[..(heads * positions)];
        Span<float> row = scratch.Slice(scores.Length, headDim);
        if (keys.Rotation is { } keyRotation)
        {
            Span<float> rotated = scratch.Slice(scores.Length + headDim, queries.Length);
            queries.CopyTo(rotated);
            keyRotation.Apply(rotated);
            queries = rotated;
        }

        for (int p = 0; p < positions; p++)
        {
            ReadOnlySpan<float> key = keys.Read(from + p, kvHead, to - 1, row);
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
            ReadOnlySpan<float> value = values.Read(from + p, kvHead, to - 1, row);
            for (int h = 0; h < heads; h++)
            {
                Span<float> sum = output.Slice(h * headDim, headDim);
                TensorPrimitives.MultiplyAdd(value, scores[(h * positions) + p], sum, sum);
            }
        }

        values.Rotation?.Undo(output);
    }

    [DoesNotReturn]
    private static void ThrowRange(int from, int to) =>
        throw new ArgumentException($"Positions [{from}, {to}) are empty or more than the ring holds.", nameof(to));

    [DoesNotReturn]
    private static void ThrowShape(int queries, int output, int kvHead, int headDim) =>
        throw new ArgumentException($"{queries} query floats, {output} output floats, key/value head {kvHead} of {headDim}: they do not fit each other or the rows.", nameof(queries));
}
