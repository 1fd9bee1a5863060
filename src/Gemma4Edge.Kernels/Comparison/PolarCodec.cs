using System.Numerics;

namespace Gemma4Edge.Kernels;

/// <summary>PolarQuant: a block of 2^L rotated coordinates as one radius and the angles of L levels of pairs.</summary>
/// <remarks>
/// Level 1 turns coordinates 2i and 2i + 1 into an angle in [−π, π) and a radius; each further level does the same with the radii, whose
/// angles lie in [0, π/2]. On Gaussian data the angle of level 1 is uniform and the others have density ∝ sin(2θ)^(2^(ℓ−1) − 1): uniform
/// steps there, Lloyd-Max codebooks of these densities here. Angles are packed lowest bit first, level by level.
/// It exists for comparison: no int8 dot product, and no better than unequal levels at equal bits.
/// Source: Han et al., "PolarQuant", arXiv 2502.02617; bit allocation and codebooks are this project's.
/// </remarks>
internal sealed class PolarCodec : IBlockCodec
{
    private static readonly int[] s_bits4 = [5, 3, 3, 3, 3, 4, 4];

    private static readonly PolarCodec[] s_shared = [.. new[] { 32, 64, 128 }.Select(length => new PolarCodec(s_bits4.AsSpan(0, BitOperations.Log2((uint)length))))];

    private readonly PolarLevel[] _levels;

    /// <param name="bits">Bits of the angles of each level; a block has 2^(number of levels) coordinates.</param>
    public PolarCodec(params ReadOnlySpan<int> bits)
    {
        BlockLength = 1 << bits.Length;
        _levels = new PolarLevel[bits.Length];
        int bitCount = 0;
        for (int level = 0; level < bits.Length; level++)
        {
            _levels[level] = new PolarLevel(bitCount, bits[level], level == 0 ? null : Codebook(level + 1, bits[level]));
            bitCount += (BlockLength >> (level + 1)) * bits[level];
        }

        CodeBytes = BitPacking.BytesFor(bitCount);
    }

    /// <inheritdoc/>
    public int BlockLength { get; }

    /// <inheritdoc/>
    public int ScaleCount => 1;

    /// <inheritdoc/>
    public int CodeBytes { get; }

    /// <summary>The best allocation of 4 bits on blocks of <paramref name="length"/> = 32, 64 or 128.</summary>
    public static PolarCodec Bits4(int length) => Array.Find(s_shared, codec => codec.BlockLength == length)
        ?? throw new ArgumentOutOfRangeException(nameof(length), length, "Blocks have 32, 64 or 128 coordinates.");

    /// <inheritdoc/>
    public void Encode(int first, ReadOnlySpan<float> block, Span<Half> scales, Span<byte> codes)
    {
        Span<float> radii = stackalloc float[block.Length];
        block.CopyTo(radii);
        codes.Clear();
        for (int level = 0; level < _levels.Length; level++)
        {
            PolarLevel l = _levels[level];
            for (int i = 0; i < block.Length >> (level + 1); i++)
            {
                (float x, float y) = (radii[2 * i], radii[(2 * i) + 1]);
                BitPacking.Write(codes, l.FirstBit + (i * l.Bits), l.Bits, l.CodeOf(x, y));
                radii[i] = MathF.Sqrt((x * x) + (y * y));
            }
        }

        scales[0] = (Half)radii[0];
    }

    /// <inheritdoc/>
    public void Decode(int first, ReadOnlySpan<Half> scales, ReadOnlySpan<byte> codes, Span<float> block)
    {
        block[0] = (float)scales[0];
        for (int level = _levels.Length - 1; level >= 0; level--)
        {
            PolarLevel l = _levels[level];
            for (int i = (block.Length >> (level + 1)) - 1; i >= 0; i--) // downwards: a pair lands at or behind its radius
            {
                int code = BitPacking.Read(codes, l.FirstBit + (i * l.Bits), l.Bits);
                float r = block[i];
                block[2 * i] = r * l.Cos[code];
                block[(2 * i) + 1] = r * l.Sin[code];
            }
        }
    }

    /// <summary>Angles that stand for the codes above level 1, ascending. They mirror at π/4; the lower half is listed.</summary>
    private static double[] Codebook(int level, int bits)
    {
        double[] lower = (level, bits) switch
        {
            (2, 2) => [0.309758, 0.633980],
            (3, 2) => [0.426249, 0.674383],
            (4, 2) => [0.524217, 0.705909],
            (2, 3) => [0.188460, 0.380013, 0.548266, 0.707231],
            (3, 3) => [0.307529, 0.473194, 0.606085, 0.726752],
            (4, 3) => [0.425773, 0.555665, 0.654809, 0.742873],
            (5, 3) => [0.523579, 0.620055, 0.691906, 0.755020],
            (6, 4) => [0.549185, 0.605357, 0.644091, 0.675440, 0.702797, 0.727783, 0.751354, 0.774162],
            (7, 4) => [0.616500, 0.657101, 0.684892, 0.707286, 0.726770, 0.744531, 0.761264, 0.777443],
            _ => throw new ArgumentOutOfRangeException(nameof(bits), bits, $"There is no codebook of that size for level {level}."),
        };
        return [.. lower, .. lower.Reverse().Select(angle => (Math.PI / 2) - angle)];
    }
}
