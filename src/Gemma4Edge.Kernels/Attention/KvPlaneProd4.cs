namespace Gemma4Edge.Kernels;

/// <summary>Rotated head vectors as 3-bit codes and residual signs, in blocks of at most 128 coordinates; see <see cref="ProdCodec"/>.</summary>
internal sealed class KvPlaneProd4(KvPlaneShape shape, int capacity)
    : KvPlaneRotated(KvFormat.Prod4, shape, capacity, ProdCodec.CodeBytes(shape.HeadDim), scaleCount: 2 * shape.HeadDim / BlockLength(shape.HeadDim))
{
    private readonly ProdCodec _codec = new(shape.HeadDim, BlockLength(shape.HeadDim), shape.SignSeed);

    /// <summary>Bytes of one head vector: codes, signs, scales and norms.</summary>
    public static int BytesPerHead(int headDim) => ProdCodec.CodeBytes(headDim) + (4 * headDim / BlockLength(headDim));

    private protected override void Encode(ReadOnlySpan<float> y, Span<byte> codes, Span<Half> scales) => _codec.Encode(y, codes, scales);

    private protected override void Decode(ReadOnlySpan<byte> codes, ReadOnlySpan<Half> scales, Span<float> y) => _codec.Decode(codes, scales, y);

    private static int BlockLength(int headDim) => Math.Min(headDim, 128);
}
