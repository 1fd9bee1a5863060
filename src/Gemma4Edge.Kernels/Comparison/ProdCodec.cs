using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>TurboQuant_prod: 3-bit codes of a rotated vector, and for what they miss one sign per coordinate of its projection (QJL).</summary>
/// <remarks>
/// Per block of B coordinates: x̂ = t·level[code] with t = rms(x) / κ; r = x − x̂; the signs of S·r with S = H·σ₂, orthonormal; then
/// x ≈ x̂ + √(π / 2B)·‖r‖·Sᵀ·signs, which is right on average. Codes first, then signs (1 = negative), both lowest bit first.
/// It exists for comparison: that correction costs more error than a fourth bit of code, and a scale removes the bias for nothing.
/// Source: Zandieh et al., "TurboQuant", arXiv 2504.19874, with the projection made orthonormal.
/// </remarks>
internal sealed class ProdCodec
{
    private const int CodeBits = 3;

    private readonly int _blockLength;
    private readonly HadamardRotation _projection;

    /// <param name="length">Coordinates of a vector.</param>
    /// <param name="blockLength">Coordinates of a block; divides the length.</param>
    /// <param name="signSeed">Seed of the vector's rotation; the projection's is the next.</param>
    public ProdCodec(int length, int blockLength, ulong signSeed)
    {
        _blockLength = blockLength;
        _projection = new HadamardRotation(length, blockLength, signSeed + 1);
    }

    /// <summary>Bytes of a vector's codes and signs.</summary>
    public static int CodeBytes(int length) => length * (CodeBits + 1) / 8;

    /// <summary>Codes of one vector.</summary>
    /// <param name="x">(length), rotated.</param>
    /// <param name="codes">Codes, then signs, of each block in turn; overwritten.</param>
    /// <param name="scales">t and ‖r‖ of each block in turn; overwritten.</param>
    public void Encode(ReadOnlySpan<float> x, Span<byte> codes, Span<Half> scales)
    {
        LloydMaxTable table = LloydMaxTable.Bits3;
        Span<float> residual = stackalloc float[x.Length];
        codes.Clear();
        for (int block = 0; block < x.Length / _blockLength; block++)
        {
            ReadOnlySpan<float> values = x.Slice(block * _blockLength, _blockLength);
            Span<float> missed = residual.Slice(block * _blockLength, _blockLength);
            Half scale = (Half)(TensorPrimitives.Norm(values) / (MathF.Sqrt(_blockLength) * table.UnitsPerSigma));
            for (int i = 0; i < values.Length; i++)
            {
                int code = table.NearestCode(values[i] / (float)scale); // zeros: any code will do
                BitPacking.Write(codes, FirstBitOf(block) + (i * CodeBits), CodeBits, code);
                missed[i] = values[i] - ((float)scale * table.Levels[code]);
            }

            scales[2 * block] = scale;
            scales[(2 * block) + 1] = (Half)TensorPrimitives.Norm(missed);
        }

        _projection.Apply(residual);
        for (int i = 0; i < x.Length; i++)
        {
            BitPacking.Write(codes, SignBitOf(i), 1, residual[i] < 0 ? 1 : 0);
        }
    }

    /// <summary>The vector that codes and scales stand for.</summary>
    /// <param name="codes">What <see cref="Encode"/> wrote.</param>
    /// <param name="scales">What <see cref="Encode"/> wrote.</param>
    /// <param name="x">(length), rotated.</param>
    public void Decode(ReadOnlySpan<byte> codes, ReadOnlySpan<Half> scales, Span<float> x)
    {
        float perNorm = MathF.Sqrt(MathF.PI / (2 * _blockLength));
        for (int i = 0; i < x.Length; i++)
        {
            float size = perNorm * (float)scales[(2 * (i / _blockLength)) + 1];
            x[i] = BitPacking.Read(codes, SignBitOf(i), 1) == 1 ? -size : size;
        }

        _projection.Undo(x);
        for (int i = 0; i < x.Length; i++)
        {
            int code = BitPacking.Read(codes, FirstBitOf(i / _blockLength) + (i % _blockLength * CodeBits), CodeBits);
            x[i] += (float)scales[2 * (i / _blockLength)] * LloydMaxTable.Bits3.Levels[code];
        }
    }

    private int FirstBitOf(int block) => block * CodeBytes(_blockLength) * 8;

    private int SignBitOf(int i) => FirstBitOf(i / _blockLength) + (_blockLength * CodeBits) + (i % _blockLength);
}
