using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model;

/// <summary>Keys, values and token ids of one sequence.</summary>
/// <remarks>
/// Position p of a layer stands in row p mod R of its planes. Full layers have a row for every position of the context. Sliding
/// layers have a ring of R = SlidingWindow − 1 + MaxChunk rows: a whole chunk is written before the upper layers read it, and its first
/// query still needs SlidingWindow − 1 older rows. Planes begin small and double until they have their R, so a short conversation costs
/// little; while they grow no position has wrapped around. KV-shared layers own nothing and read their donor's planes.
/// One thread writes; many may read during a pass.
/// </remarks>
public sealed class KvCache
{
    private const int FirstRows = 256;
    private readonly Gemma4Config _config;
    private readonly KvPlane[] _keys;
    private readonly KvPlane[] _values;
    private readonly int[] _tokens;
    private int _written; // highest position ever written since the last start from 0, plus one: what the rings may have lost counts from here

    /// <summary>An empty sequence of at most <paramref name="capacity"/> tokens.</summary>
    /// <param name="config">The network it belongs to.</param>
    /// <param name="format">How elements are kept.</param>
    /// <param name="capacity">Longest sequence.</param>
    /// <param name="maxChunk">Most tokens of one pass.</param>
    /// <exception cref="KvFormatException">The format does not fit the network.</exception>
    public KvCache(Gemma4Config config, KvCacheFormat format, int capacity, int maxChunk)
    {
        Check(config, format);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxChunk);
        _config = config;
        Capacity = capacity;
        MaxChunk = maxChunk;
        _tokens = new int[capacity];
        _keys = new KvPlane[config.FirstKvSharedLayer];
        _values = new KvPlane[config.FirstKvSharedLayer];
        for (int layer = 0; layer < _keys.Length; layer++)
        {
            int rows = Math.Min(FirstRows, RowsOf(layer));
            KvLayerFormat pair = format.Of(layer, config.LayerTypes[layer]);
            _keys[layer] = KvPlane.Create(pair.Keys, ShapeOf(config, layer, isValues: false, maxChunk), rows);
            _values[layer] = KvPlane.Create(pair.Values, ShapeOf(config, layer, isValues: true, maxChunk), rows);
        }
    }

    /// <summary>Longest sequence.</summary>
    public int Capacity { get; }

    /// <summary>Most tokens of one pass.</summary>
    public int MaxChunk { get; }

    /// <summary>Tokens of the sequence so far.</summary>
    public int Length { get; private set; }

    /// <summary>Their ids.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Length);

    /// <summary>Bytes that keys and values take now.</summary>
    public long Bytes => _keys.Concat(_values).Sum(plane => plane.Bytes);

    /// <summary>Cuts the sequence back to its first <paramref name="length"/> tokens.</summary>
    /// <returns>False, and nothing changed, when the rings have already lost a row that the next token would look at. Cutting back to 0 always succeeds.</returns>
    public bool TryTruncate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        int oldestNeeded = Math.Max(0, length - (_config.SlidingWindow - 1));
        bool slides = _config.LayerTypes.Contains(LayerType.Sliding);
        if (length > 0 && slides && oldestNeeded < _written - RingRows)
        {
            return false;
        }

        Length = length;
        _written = length == 0 ? 0 : _written;
        return true;
    }

    /// <summary>Cuts the sequence back to what it has in common with <paramref name="tokens"/>, the last of them left out: it must run for its logits.</summary>
    /// <returns>The tokens that are kept; 0 when the rings no longer hold the window before that place.</returns>
    public int KeepCommonPrefix(ReadOnlySpan<int> tokens)
    {
        int common = Math.Min(Tokens.CommonPrefixLength(tokens), tokens.Length - 1);
        if (!TryTruncate(common))
        {
            TryTruncate(0);
        }

        return Length;
    }

    /// <summary>Bytes that <see cref="Save"/> writes for a sequence of <paramref name="length"/> tokens.</summary>
    public long SavedBytes(int length) => Enumerable.Range(0, _keys.Length).Sum(layer => (long)(_keys[layer].RowBytes + _values[layer].RowBytes) * (length - FirstVisible(layer, length)));

    /// <summary>Writes keys and values of all positions that a next token sees: layer by layer, position by position, key and value as they are stored.</summary>
    /// <param name="destination">(<see cref="SavedBytes"/> of <see cref="Length"/>).</param>
    public void Save(Span<byte> destination)
    {
        for (int layer = 0; layer < _keys.Length; layer++)
        {
            for (int position = FirstVisible(layer, Length); position < Length; position++)
            {
                destination = Next(_keys[layer], position, destination);
                destination = Next(_values[layer], position, destination);
            }
        }

        static Span<byte> Next(KvPlane plane, int position, Span<byte> rows)
        {
            plane.CopyOut(position, rows[..plane.RowBytes]);
            return rows[plane.RowBytes..];
        }
    }

    /// <summary>Becomes the sequence that a cache of the same network, format and chunk saved; it goes on exactly as that one would have.</summary>
    /// <param name="tokens">Its tokens, at most <see cref="Capacity"/>.</param>
    /// <param name="saved">What <see cref="Save"/> wrote.</param>
    /// <exception cref="ArgumentException">The lengths do not fit; the sequence is as it was.</exception>
    public void Load(ReadOnlySpan<int> tokens, ReadOnlySpan<byte> saved)
    {
        if (tokens.Length > Capacity || saved.Length != SavedBytes(tokens.Length))
        {
            throw new ArgumentException($"{tokens.Length} tokens with {saved.Length} bytes do not fit a cache of {Capacity} tokens that saves {SavedBytes(tokens.Length)}.", nameof(saved));
        }

        TryTruncate(0);
        Reserve(tokens.Length);
        for (int layer = 0; layer < _keys.Length; layer++)
        {
            for (int position = FirstVisible(layer, tokens.Length); position < tokens.Length; position++)
            {
                saved = Next(_keys[layer], position, saved);
                saved = Next(_values[layer], position, saved);
            }
        }

        Commit(tokens);
        int oldest = Math.Max(0, Length - (_config.SlidingWindow - 1));
        _written = oldest > 0 ? Math.Max(_written, oldest + RingRows) : _written; // older rows are lost, as if they had been overwritten

        static ReadOnlySpan<byte> Next(KvPlane plane, int position, ReadOnlySpan<byte> rows)
        {
            plane.CopyIn(position, rows[..plane.RowBytes]);
            return rows[plane.RowBytes..];
        }
    }

    /// <summary>Checks that a network can keep its keys and values in a format.</summary>
    /// <exception cref="KvFormatException">A layer's heads cannot be rotated, or a format is given for a layer that owns no keys and values.</exception>
    public static void Check(Gemma4Config config, KvCacheFormat format)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(format);
        foreach (int layer in format.Layers.Keys)
        {
            if ((uint)layer >= (uint)config.FirstKvSharedLayer)
            {
                throw new KvFormatException($"Layer {layer} keeps no keys and values of its own; choose one from 0 to {config.FirstKvSharedLayer - 1}.");
            }
        }

        for (int layer = 0; layer < config.FirstKvSharedLayer; layer++)
        {
            int headDim = config.HeadDimOf(layer);
            KvLayerFormat pair = format.Of(layer, config.LayerTypes[layer]);
            if (!KvPlane.CanHold(pair.Keys, headDim) || !KvPlane.CanHold(pair.Values, headDim))
            {
                throw new KvFormatException($"Layer {layer} has heads of {headDim}, but {pair.Name} needs a power of two from 32 to 512; choose f16.");
            }
        }
    }

    /// <summary>Bytes that keys and values of a sequence of <paramref name="tokens"/> take, when chunks are at most <paramref name="maxChunk"/>.</summary>
    public static long BytesOf(Gemma4Config config, KvCacheFormat format, int tokens, int maxChunk)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(format);
        long bytes = 0;
        for (int layer = 0; layer < config.FirstKvSharedLayer; layer++)
        {
            int rows = RowsOf(config, layer, tokens, maxChunk);
            KvPlaneShape shape = ShapeOf(config, layer, isValues: false, maxChunk);
            KvLayerFormat pair = format.Of(layer, config.LayerTypes[layer]);
            bytes += KvPlane.BytesOf(pair.Keys, shape, rows) + KvPlane.BytesOf(pair.Values, shape, rows);
        }

        return bytes;
    }

    /// <summary>Keys of the layer, or of its donor.</summary>
    internal KvPlane Keys(int layer) => _keys[_config.DonorOf(layer)];

    /// <summary>Values of the layer, or of its donor.</summary>
    internal KvPlane Values(int layer) => _values[_config.DonorOf(layer)];

    /// <summary>First position that a query at <paramref name="position"/> sees in this layer.</summary>
    internal int FirstVisible(int layer, int position) =>
        _config.LayerTypes[layer] == LayerType.Full ? 0 : Math.Max(0, position - (_config.SlidingWindow - 1));

    /// <summary>Makes room for <paramref name="rows"/> more positions; planes grow here and nowhere else.</summary>
    internal void Reserve(int rows)
    {
        int needed = Length + rows;
        for (int layer = 0; layer < _keys.Length; layer++)
        {
            int most = RowsOf(layer);
            Grow(_keys[layer], most); // one by one: after a failure for lack of memory they may differ
            Grow(_values[layer], most);
        }

        _written = Math.Max(_written, needed);

        void Grow(KvPlane plane, int most)
        {
            if (needed > plane.Capacity && plane.Capacity < most)
            {
                plane.Grow((int)Math.Min(most, Math.Max(needed, 2L * plane.Capacity)));
            }
        }
    }

    /// <summary>Writes the rows of a pass, (positions, NumKeyValueHeads · d) each.</summary>
    internal void Write(int layer, ReadOnlySpan<int> positions, ReadOnlySpan<float> keys, ReadOnlySpan<float> values)
    {
        int width = keys.Length / positions.Length;
        for (int row = 0; row < positions.Length; row++)
        {
            _keys[layer].Write(positions[row], keys.Slice(row * width, width));
            _values[layer].Write(positions[row], values.Slice(row * width, width));
        }
    }

    /// <summary>The pass is complete: its tokens belong to the sequence.</summary>
    internal void Commit(ReadOnlySpan<int> tokens)
    {
        tokens.CopyTo(_tokens.AsSpan(Length));
        Length += tokens.Length;
    }

    private int RingRows => Math.Min(Capacity, _config.SlidingWindow - 1 + MaxChunk);

    private int RowsOf(int layer) => RowsOf(_config, layer, Capacity, MaxChunk);

    private static int RowsOf(Gemma4Config config, int layer, int capacity, int maxChunk) =>
        config.LayerTypes[layer] == LayerType.Full ? capacity : Math.Min(capacity, config.SlidingWindow - 1 + maxChunk);

    /// <summary>Every plane has signs of its own. The seeds lie two apart, because a format may need a second sign vector.</summary>
    private static KvPlaneShape ShapeOf(Gemma4Config config, int layer, bool isValues, int maxChunk) =>
        new(config.NumKeyValueHeads[layer], config.HeadDimOf(layer), (4UL * (ulong)layer) + (isValues ? 2UL : 0), maxChunk);
}
