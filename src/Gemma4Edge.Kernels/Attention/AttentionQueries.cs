namespace Gemma4Edge.Kernels;

/// <summary>Query heads that share a key/value head, of one token or several: their vectors in the keys' rotation, and the positions each sees.</summary>
/// <remarks>
/// Vectors are padded with zeros to whole SIMD vectors, their number to whole tiles; rows lie <see cref="Stride"/> floats apart, which is no
/// power of two: a column of many rows would fall into few sets of the cache. One thread at a time; grows, then allocates nothing.
/// </remarks>
public sealed class AttentionQueries
{
    private readonly List<(int From, int To)> _windows = [];
    private int _headDim;

    /// <summary>Number of queries.</summary>
    public int Count => _windows.Count;

    /// <summary>Whether all queries stand at one position.</summary>
    public bool IsOneToken { get; private set; }

    /// <summary>First position that any query sees.</summary>
    public int From { get; private set; }

    /// <summary>One past the last position that any query sees.</summary>
    public int To { get; private set; }

    /// <summary>(padded count, <see cref="Stride"/>).</summary>
    internal float[] Vectors { get; private set; } = [];

    /// <summary>Distance of two rows in floats.</summary>
    internal int Stride { get; private set; }

    /// <summary>Starts anew.</summary>
    /// <param name="headDim">Length of a query.</param>
    public void Clear(int headDim)
    {
        _headDim = headDim;
        Stride = AttentionTiles.Stride(headDim);
        _windows.Clear();
        (From, To) = (int.MaxValue, 0);
        IsOneToken = true;
    }

    /// <summary>Adds one token's queries.</summary>
    /// <param name="heads">(count, headDim).</param>
    /// <param name="keys">Keys they will meet: gives the rotation.</param>
    /// <param name="from">First visible position.</param>
    /// <param name="to">One past the last visible position, which is the token's own.</param>
    /// <exception cref="ArgumentException">The lengths do not fit, or nothing is visible.</exception>
    public void Add(ReadOnlySpan<float> heads, KvPlane keys, int from, int to)
    {
        ArgumentNullException.ThrowIfNull(keys);
        if (keys.Shape.HeadDim != _headDim || heads.Length % _headDim != 0)
        {
            throw new ArgumentException($"{heads.Length} floats in heads of {_headDim} for keys of {keys.Shape.HeadDim}: they do not fit each other.", nameof(heads));
        }

        if (from < 0 || to <= from || to - from > keys.Capacity)
        {
            throw new ArgumentException($"Positions [{from}, {to}) are empty or more than the ring of {keys.Capacity} holds.", nameof(to));
        }

        int count = heads.Length / _headDim;
        Reserve(Count + count);
        for (int head = 0; head < count; head++)
        {
            Span<float> row = Vectors.AsSpan(Count * Stride, Stride);
            heads.Slice(head * _headDim, _headDim).CopyTo(row);
            row[_headDim..].Clear();
            keys.Rotation?.Apply(row[.._headDim]);
            _windows.Add((from, to));
        }

        Vectors.AsSpan(Count * Stride, (AttentionTiles.PaddedQueries(Count) - Count) * Stride).Clear();
        IsOneToken &= To == 0 || To == to;
        (From, To) = (Math.Min(From, from), Math.Max(To, to));
    }

    /// <summary>The part of [first, end) that a query sees, counted from first; may be empty.</summary>
    internal (int From, int To) Visible(int query, int first, int end)
    {
        (int from, int to) = _windows[query];
        return (Math.Max(from, first) - first, Math.Min(to, end) - first);
    }

    private void Reserve(int count)
    {
        int floats = AttentionTiles.PaddedQueries(count) * Stride;
        if (Vectors.Length < floats)
        {
            float[] vectors = Vectors;
            Array.Resize(ref vectors, floats);
            Vectors = vectors;
        }
    }
}
