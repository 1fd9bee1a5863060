namespace Gemma4Edge.Kernels;

/// <summary>Rotated head vectors in a comparison format, in blocks of at most 128 coordinates.</summary>
internal sealed class KvPlaneBlocks : KvPlaneRotated
{
    private readonly IBlockCodec _codec;

    /// <param name="format"><see cref="KvFormat.Polar4"/> or <see cref="KvFormat.Prod4"/>.</param>
    /// <param name="shape">What a row holds.</param>
    /// <param name="capacity">Rows in the ring.</param>
    public KvPlaneBlocks(KvFormat format, KvPlaneShape shape, int capacity)
        : this(format, shape, capacity, CodecOf(format, shape))
    {
    }

    private KvPlaneBlocks(KvFormat format, KvPlaneShape shape, int capacity, IBlockCodec codec)
        : base(format, shape, capacity, Blocks(codec, shape) * codec.CodeBytes, Blocks(codec, shape) * codec.ScaleCount) => _codec = codec;

    /// <summary>Bytes of one head vector: scales and codes.</summary>
    public static int BytesPerHead(KvFormat format, KvPlaneShape shape)
    {
        IBlockCodec codec = CodecOf(format, shape);
        return Blocks(codec, shape) * ((2 * codec.ScaleCount) + codec.CodeBytes);
    }

    private protected override void Encode(ReadOnlySpan<float> y, Span<byte> codes, Span<Half> scales)
    {
        for (int first = 0; first < y.Length; first += _codec.BlockLength)
        {
            int block = first / _codec.BlockLength;
            _codec.Encode(first, y.Slice(first, _codec.BlockLength), scales.Slice(block * _codec.ScaleCount, _codec.ScaleCount), codes.Slice(block * _codec.CodeBytes, _codec.CodeBytes));
        }
    }

    private protected override void Decode(ReadOnlySpan<byte> codes, ReadOnlySpan<Half> scales, Span<float> y)
    {
        for (int first = 0; first < y.Length; first += _codec.BlockLength)
        {
            int block = first / _codec.BlockLength;
            _codec.Decode(first, scales.Slice(block * _codec.ScaleCount, _codec.ScaleCount), codes.Slice(block * _codec.CodeBytes, _codec.CodeBytes), y.Slice(first, _codec.BlockLength));
        }
    }

    private static int Blocks(IBlockCodec codec, KvPlaneShape shape) => shape.HeadDim / codec.BlockLength;

    private static IBlockCodec CodecOf(KvFormat format, KvPlaneShape shape)
    {
        int block = Math.Min(shape.HeadDim, 128);
        return format == KvFormat.Polar4 ? PolarCodec.Bits4(block) : new ProdCodec(shape.HeadDim, block, shape.SignSeed);
    }
}
