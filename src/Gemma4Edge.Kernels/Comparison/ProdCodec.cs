namespace Gemma4Edge.Kernels;

/// <summary>TurboQuant_prod: 3-bit codes of a rotated block, and for what they miss one sign per coordinate of its projection (QJL).</summary>
/// <remarks>
/// Per block of B coordinates: x̂ = t·level[code] with t = rms(x) / κ; r = x − x̂; the signs of S·r with S = H·σ₂, orthonormal; then
/// x ≈ x̂ + √(π / 2B)·‖r‖·Sᵀ·signs, which is right on average. Scales are t and ‖r‖; codes first, then signs (1 = negative), lowest bit first.
/// It exists for comparison: that correction costs more error than a fourth bit of code, and a scale removes the bias for nothing.
/// Source: Zandieh et al., "TurboQuant", arXiv 2504.19874, with the projection made orthonormal.
/// </remarks>
internal sealed class ProdCodec : IBlockCodec
{
    private const int CodeBits = 3;

    private readonly HadamardRotation _projection;

    /// <param name="length">Coordinates of a vector.</param>
    /// <param name="blockLength">Coordinates of a block; divides the length.</param>
    /// <param name="signSeed">Seed of the vector's rotation; the projection's is the next.</param>
    public ProdCodec(int length, int blockLength, ulong signSeed)
    {
        BlockLength = blockLength;
        _projection = new HadamardRotation(length, blockLength, signSeed + 1);
    }

    /// <inheritdoc/>
    public int BlockLength { get; }

    /// <inheritdoc/>
    public int ScaleCount => 2;

    /// <inheritdoc/>
    public int CodeBytes => BitPacking.BytesFor(BlockLength * (CodeBits + 1));

    private int FirstSignBit => BlockLength * CodeBits;

    /// <inheritdoc/>
    public void Encode(int first, ReadOnlySpan<float> block, Span<Half> scales, Span<byte> codes)
    {
        LloydMaxTable table = LloydMaxTable.Bits3;
        Span<float> missed = stackalloc float[block.Length];
        codes.Clear();
        scales[0] = (Half)(OrderedSum.Norm(block) / (MathF.Sqrt(block.Length) * table.UnitsPerSigma));
        float scale = (float)scales[0];
        for (int i = 0; i < block.Length; i++)
        {
            int code = table.NearestCode(block[i] / scale); // zeros: any code will do
            BitPacking.Write(codes, i * CodeBits, CodeBits, code);
            missed[i] = block[i] - (scale * table.Levels[code]);
        }

        scales[1] = (Half)OrderedSum.Norm(missed);
        _projection.Apply(missed, first);
        for (int i = 0; i < missed.Length; i++)
        {
            BitPacking.Write(codes, FirstSignBit + i, 1, missed[i] < 0 ? 1 : 0);
        }
    }

    /// <inheritdoc/>
    public void Decode(int first, ReadOnlySpan<Half> scales, ReadOnlySpan<byte> codes, Span<float> block)
    {
        float scale = (float)scales[0], size = MathF.Sqrt(MathF.PI / (2 * block.Length)) * (float)scales[1];
        for (int i = 0; i < block.Length; i++)
        {
            block[i] = BitPacking.Read(codes, FirstSignBit + i, 1) == 1 ? -size : size;
        }

        _projection.Undo(block, first);
        for (int i = 0; i < block.Length; i++)
        {
            block[i] += scale * LloydMaxTable.Bits3.Levels[BitPacking.Read(codes, i * CodeBits, CodeBits)];
        }
    }
}
