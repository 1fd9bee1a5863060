using System.Numerics;
using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>The two products of attention, in tiles that stay in registers: scores = Q·Kᵀ and O += A·V.</summary>
/// <remarks>All rows are <see cref="Stride"/> apart and padded with zeros to whole vectors, queries to whole tiles: no tails but an odd last key.</remarks>
internal static unsafe class AttentionTiles
{
    /// <summary>Positions of a block: keys or values of that many rows are decoded, then used by all queries.</summary>
    public const int Positions = 64;

    private const int Queries = 4;
    private const int MaxLanes = 16;

    private static int Lanes => Vector<float>.Count;

    /// <summary>Floats from one row to the next.</summary>
    public static int Stride(int headDim) => ((headDim + MaxLanes - 1) / MaxLanes * MaxLanes) + MaxLanes;

    /// <summary>Rows that hold so many queries.</summary>
    public static int PaddedQueries(int count) => (count + Queries - 1) / Queries * Queries;

    /// <summary>scores[q, p] = queries[q] · keys[p].</summary>
    /// <param name="queries">(padded queries, stride).</param>
    /// <param name="queryCount">A multiple of the tile.</param>
    /// <param name="keys">(<see cref="Positions"/>, stride); rows from count on may hold anything, and so do their scores.</param>
    /// <param name="count">Keys.</param>
    /// <param name="stride">Of both.</param>
    /// <param name="scores">(queries, <see cref="Positions"/>).</param>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void Scores(float* queries, int queryCount, float* keys, int count, int stride, float* scores)
    {
        for (int p = 0; p < count; p += 2)
        {
            float* k = keys + ((nint)p * stride);
            float* end = k + stride - MaxLanes;
            for (int query = 0; query < queryCount; query += Queries)
            {
                Vector<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
                float* q = queries + ((nint)query * stride);
                for (float* key = k; key < end; key += Lanes)
                {
                    Vector<float> ka = Vector.Load(key), kb = Vector.Load(key + stride);
                    Vector<float> x = Vector.Load(q);
                    a0 = Vector.MultiplyAddEstimate(x, ka, a0);
                    b0 = Vector.MultiplyAddEstimate(x, kb, b0);
                    x = Vector.Load(q + stride);
                    a1 = Vector.MultiplyAddEstimate(x, ka, a1);
                    b1 = Vector.MultiplyAddEstimate(x, kb, b1);
                    x = Vector.Load(q + (2 * stride));
                    a2 = Vector.MultiplyAddEstimate(x, ka, a2);
                    b2 = Vector.MultiplyAddEstimate(x, kb, b2);
                    x = Vector.Load(q + (3 * stride));
                    a3 = Vector.MultiplyAddEstimate(x, ka, a3);
                    b3 = Vector.MultiplyAddEstimate(x, kb, b3);
                    q += Lanes;
                }

                float* s = scores + (query * Positions) + p;
                (s[0], s[1]) = (Vector.Sum(a0), Vector.Sum(b0));
                (s[Positions], s[Positions + 1]) = (Vector.Sum(a1), Vector.Sum(b1));
                (s[2 * Positions], s[(2 * Positions) + 1]) = (Vector.Sum(a2), Vector.Sum(b2));
                (s[3 * Positions], s[(3 * Positions) + 1]) = (Vector.Sum(a3), Vector.Sum(b3));
            }
        }
    }

    /// <summary>outputs[q] += Σ_p weights[q, p] · values[p].</summary>
    /// <param name="weights">(queries, <see cref="Positions"/>).</param>
    /// <param name="queryCount">A multiple of the tile.</param>
    /// <param name="values">(count, stride).</param>
    /// <param name="count">Values.</param>
    /// <param name="stride">Of values and outputs.</param>
    /// <param name="outputs">(queries, stride).</param>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void Accumulate(float* weights, int queryCount, float* values, int count, int stride, float* outputs)
    {
        for (int column = 0; column < stride - MaxLanes; column += 2 * Lanes)
        {
            for (int query = 0; query < queryCount; query += Queries)
            {
                float* o = outputs + ((nint)query * stride) + column;
                Vector<float> a0 = Vector.Load(o), b0 = Vector.Load(o + Lanes), a1 = Vector.Load(o + stride), b1 = Vector.Load(o + stride + Lanes);
                Vector<float> a2 = Vector.Load(o + (2 * stride)), b2 = Vector.Load(o + (2 * stride) + Lanes);
                Vector<float> a3 = Vector.Load(o + (3 * stride)), b3 = Vector.Load(o + (3 * stride) + Lanes);
                float* w = weights + (query * Positions);
                float* v = values + column;
                for (float* end = w + count; w < end; w++)
                {
                    Vector<float> va = Vector.Load(v), vb = Vector.Load(v + Lanes);
                    var x = new Vector<float>(w[0]);
                    a0 = Vector.MultiplyAddEstimate(x, va, a0);
                    b0 = Vector.MultiplyAddEstimate(x, vb, b0);
                    x = new Vector<float>(w[Positions]);
                    a1 = Vector.MultiplyAddEstimate(x, va, a1);
                    b1 = Vector.MultiplyAddEstimate(x, vb, b1);
                    x = new Vector<float>(w[2 * Positions]);
                    a2 = Vector.MultiplyAddEstimate(x, va, a2);
                    b2 = Vector.MultiplyAddEstimate(x, vb, b2);
                    x = new Vector<float>(w[3 * Positions]);
                    a3 = Vector.MultiplyAddEstimate(x, va, a3);
                    b3 = Vector.MultiplyAddEstimate(x, vb, b3);
                    v += stride;
                }

                a0.Store(o);
                b0.Store(o + Lanes);
                a1.Store(o + stride);
                b1.Store(o + stride + Lanes);
                a2.Store(o + (2 * stride));
                b2.Store(o + (2 * stride) + Lanes);
                a3.Store(o + (3 * stride));
                b3.Store(o + (3 * stride) + Lanes);
            }
        }
    }
}
