using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>What attention has gathered so far, per query: m = max s, l = Σ exp(s − m), o = Σ exp(s − m)·V over the positions looked at. The answer is o / l.</summary>
/// <remarks>
/// Sums over different positions can be merged, so one token's positions may be split over threads (Dao et al., FlashAttention; Dao, Flash-Decoding).
/// One thread at a time; grows, then allocates nothing.
/// </remarks>
public sealed class AttentionSums
{
    private float[] _max = [];
    private float[] _sum = [];
    private int _count;
    private int _stride;

    /// <summary>o, (padded count, stride of the queries).</summary>
    internal float[] Outputs { get; private set; } = [];

    /// <summary>Forgets everything; makes room for <paramref name="queries"/>.</summary>
    public void Clear(AttentionQueries queries)
    {
        ArgumentNullException.ThrowIfNull(queries);
        _count = queries.Count;
        _stride = queries.Stride;
        int padded = AttentionTiles.PaddedQueries(_count);
        if (Outputs.Length < padded * _stride || _max.Length < padded)
        {
            Outputs = new float[padded * _stride];
            _max = new float[padded];
            _sum = new float[padded];
        }

        Outputs.AsSpan(0, padded * _stride).Clear();
        _max.AsSpan(0, padded).Fill(float.NegativeInfinity);
        _sum.AsSpan(0, padded).Clear();
    }

    /// <summary>Takes the scores of one query in, and leaves in their place the weights of the values: exp(s − m).</summary>
    /// <param name="query">Which one.</param>
    /// <param name="scores">Scores of the visible positions; not empty.</param>
    internal void Add(int query, Span<float> scores)
    {
        float max = Math.Max(_max[query], TensorPrimitives.Max<float>(scores));
        Rescale(query, max);
        TensorPrimitives.Subtract(scores, max, scores);
        TensorPrimitives.Exp<float>(scores, scores);
        _sum[query] += TensorPrimitives.Sum<float>(scores);
    }

    /// <summary>Adds what <paramref name="other"/> has gathered for the same queries over other positions.</summary>
    public void Merge(AttentionSums other)
    {
        ArgumentNullException.ThrowIfNull(other);
        for (int query = 0; query < _count; query++)
        {
            if (other._sum[query] != 0) // 0: it saw nothing; what is no number must stay none
            {
                float max = Math.Max(_max[query], other._max[query]);
                Rescale(query, max);
                float factor = MathF.Exp(other._max[query] - max);
                _sum[query] += factor * other._sum[query];
                TensorPrimitives.MultiplyAdd(other.Output(query), factor, Output(query), Output(query));
            }
        }
    }

    /// <summary>Writes the answers of some queries, rotated back.</summary>
    /// <param name="firstQuery">The first of them.</param>
    /// <param name="values">The values they were gathered from: gives the rotation.</param>
    /// <param name="output">(queries, headDim).</param>
    /// <exception cref="ArgumentException">There are not so many queries.</exception>
    public void Write(int firstQuery, KvPlane values, Span<float> output)
    {
        ArgumentNullException.ThrowIfNull(values);
        int headDim = values.Shape.HeadDim;
        if (output.Length % headDim != 0 || firstQuery + (output.Length / headDim) > _count)
        {
            ThrowLength(output.Length, headDim);
        }

        for (int head = 0; head < output.Length / headDim; head++)
        {
            TensorPrimitives.Multiply(Output(firstQuery + head)[..headDim], 1 / _sum[firstQuery + head], output.Slice(head * headDim, headDim));
        }

        values.Rotation?.Undo(output);
    }

    private void Rescale(int query, float max)
    {
        if (max > _max[query])
        {
            float factor = MathF.Exp(_max[query] - max); // 0 while nothing was gathered
            _max[query] = max;
            _sum[query] *= factor;
            TensorPrimitives.Multiply(Output(query), factor, Output(query));
        }
    }

    private Span<float> Output(int query) => Outputs.AsSpan(query * _stride, _stride);

    [DoesNotReturn]
    private void ThrowLength(int length, int headDim) =>
        throw new ArgumentException($"{length} floats in heads of {headDim} for {_count} queries: they do not fit each other.");
}
