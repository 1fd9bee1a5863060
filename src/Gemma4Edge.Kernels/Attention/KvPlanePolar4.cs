namespace Gemma4Edge.Kernels;

/// <summary>Rotated head vectors as radii and angles, in blocks of at most 128 coordinates; see <see cref="PolarCodec"/>.</summary>
internal sealed class KvPlanePolar4(KvPlaneShape shape, int capacity)
    : KvPlaneRotated(KvFormat.Polar4, shape, capacity, CodeBytes(shape.HeadDim), scaleCount: shape.HeadDim / BlockLength(shape.HeadDim))
{
    private readonly PolarCodec _codec = CodecOf(shape.HeadDim);

    /// <summary>Bytes of one head vector: angles and radii.</summary>
    public static int BytesPerHead(int headDim) => CodeBytes(headDim) + (2 * headDim / BlockLength(headDim));

    private protected override void Encode(ReadOnlySpan<float> y, Span<byte> codes, Span<Half> scales)
    {
        for (int block = 0; block < scales.Length; block++)
        {
            scales[block] = _codec.Encode(y.Slice(block * _codec.BlockLength, _codec.BlockLength), codes.Slice(block * _codec.CodeBytes, _codec.CodeBytes));
        }
    }

    private protected override void Decode(ReadOnlySpan<byte> codes, ReadOnlySpan<Half> scales, Span<float> y)
    {
        for (int block = 0; block < scales.Length; block++)
        {
            _codec.Decode(codes.Slice(block * _codec.CodeBytes, _codec.CodeBytes), scales[block], y.Slice(block * _codec.BlockLength, _codec.BlockLength));
        }
    }

    private static int BlockLength(int headDim) => Math.Min(headDim, 128);

    private static PolarCodec CodecOf(int headDim) => PolarCodec.Bits4(BlockLength(headDim));

    private static int CodeBytes(int headDim) => CodecOf(headDim).CodeBytes * (headDim / BlockLength(headDim));
}
