using System.Diagnostics.CodeAnalysis;

namespace Gemma4Edge.Kernels;

/// <summary>Attention of query heads that share a key/value head: softmax(q·Kᵀ)·V, with scores not scaled.</summary>
/// <remarks>
/// Keys and values are decoded once per block of positions, for all queries. Planes that rotate are read as they are: queries follow the keys'
/// rotation R, because ⟨Rq, Rk⟩ = ⟨q, k⟩, and the sum of rotated values is rotated back once per query. The rotation is the plane's own, so a layer
/// that reads a donor's planes cannot miss it. Blocks begin at multiples of <see cref="BlockPositions"/>, so what a query gets depends neither on
/// the other queries nor on threads. One per thread: it owns the blocks under way, 300 KB at most, and allocates nothing after its largest use.
/// </remarks>
public sealed unsafe class AttentionKernel
{
    /// <summary>Where the positions may be cut: at multiples of this.</summary>
    public const int BlockPositions = AttentionTiles.Positions;

    private float[] _rows = [];
    private float[] _scores = [];

    /// <summary>Adds the positions [<paramref name="first"/>, <paramref name="end"/>) to what the queries have gathered.</summary>
    /// <param name="queries">The queries.</param>
    /// <param name="keys">Rows of (key/value heads, d).</param>
    /// <param name="values">Same shape and positions as the keys.</param>
    /// <param name="kvHead">Which head of a row they share.</param>
    /// <param name="first">A multiple of <see cref="BlockPositions"/>, or the first that a query sees.</param>
    /// <param name="end">Another one, or the end of what a query sees.</param>
    /// <param name="sums">Made ready for these queries by <see cref="AttentionSums.Clear"/>.</param>
    /// <exception cref="ArgumentException">Keys, values and head do not fit each other, or the queries cannot be served together.</exception>
    public void Attend(AttentionQueries queries, KvPlane keys, KvPlane values, int kvHead, int first, int end, AttentionSums sums)
    {
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(keys);
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(sums);
        if (values.Shape.HeadDim != keys.Shape.HeadDim || kvHead >= Math.Min(keys.Shape.Heads, values.Shape.Heads))
        {
            ThrowShape(keys, values, kvHead);
        }

        if ((keys.DependsOnReader || values.DependsOnReader) && !queries.IsOneToken)
        {
            throw new ArgumentException("What is read depends on the reader, so the queries must be those of one token.", nameof(queries));
        }

        int padded = AttentionTiles.PaddedQueries(queries.Count);
        Reserve(padded, queries.Stride);
        fixed (float* vectors = queries.Vectors, rows = _rows, scores = _scores, outputs = sums.Outputs)
        {
            for (int block = first; block < end;)
            {
                int next = Math.Min(end, (block / BlockPositions * BlockPositions) + BlockPositions);
                int count = next - block;
                Decode(keys, kvHead, block, count, queries);
                AttentionTiles.Scores(vectors, padded, rows, count, queries.Stride, scores);
                for (int query = 0; query < padded; query++)
                {
                    Weigh(queries, query, block, new Span<float>(scores + (query * BlockPositions), count), sums);
                }

                Decode(values, kvHead, block, count, queries);
                AttentionTiles.Accumulate(scores, padded, rows, count, queries.Stride, outputs);
                block = next;
            }
        }
    }

    /// <summary>Scores to weights; what the query does not see weighs nothing.</summary>
    private static void Weigh(AttentionQueries queries, int query, int block, Span<float> scores, AttentionSums sums)
    {
        (int from, int to) = query < queries.Count ? queries.Visible(query, block, block + scores.Length) : (0, 0);
        if (from >= to)
        {
            scores.Clear();
            return;
        }

        scores[..from].Clear();
        scores[to..].Clear();
        sums.Add(query, scores[from..to]);
    }

    private void Decode(KvPlane plane, int head, int position, int count, AttentionQueries queries)
    {
        for (int i = 0; i < count; i++)
        {
            Span<float> row = _rows.AsSpan(i * queries.Stride, queries.Stride);
            plane.Read(position + i, head, queries.To - 1, row[..plane.Shape.HeadDim]);
            row[plane.Shape.HeadDim..].Clear();
        }
    }

    private void Reserve(int paddedQueries, int stride)
    {
        if (_scores.Length < paddedQueries * BlockPositions)
        {
            _scores = new float[paddedQueries * BlockPositions];
        }

        if (_rows.Length < BlockPositions * stride)
        {
            _rows = new float[BlockPositions * stride];
        }
    }

    [DoesNotReturn]
    private static void ThrowShape(KvPlane keys, KvPlane values, int kvHead) =>
        throw new ArgumentException($"Key/value head {kvHead} of {keys.Shape.Heads} × {keys.Shape.HeadDim} keys and {values.Shape.Heads} × {values.Shape.HeadDim} values: they do not fit each other.", nameof(kvHead));
}
