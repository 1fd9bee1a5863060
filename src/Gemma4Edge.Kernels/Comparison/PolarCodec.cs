using System.Numerics;

namespace Gemma4Edge.Kernels;

/// <summary>PolarQuant: a block of 2^L rotated coordinates as one radius and the angles of L levels of pairs.</summary>
/// <remarks>
/// Level 1 turns coordinates 2i and 2i + 1 into an angle in [−π, π) and a radius; each further level does the same with the radii, whose
/// angles lie in [0, π/2]. On Gaussian data the angle of level 1 is uniform and the others have density ∝ sin(2θ)^(2^(ℓ−1) − 1): uniform
/// steps there, Lloyd-Max codebooks of these densities here. Angles are packed lowest bit first, level by level.
/// It exists for comparison: no int8 dot product, a sine and a cosine for every angle, and no better than unequal levels at equal bits.
/// Source: Han et al., "PolarQuant", arXiv 2502.02617; bit allocation and codebooks are this project's.
/// </remarks>
internal sealed class PolarCodec
{
    private static readonly int[] s_bits4 = [5, 3, 3, 3, 3, 4, 4];

    private readonly Level[] _levels;

    /// <param name="bits">Bits of the angles of each level; a block has 2^(number of levels) coordinates.</param>
    public PolarCodec(params ReadOnlySpan<int> bits)
    {
        BlockLength = 1 << bits.Length;
        _levels = new Level[bits.Length];
        int bitCount = 0;
        for (int level = 0; level < bits.Length; level++)
        {
            _levels[level] = new Level(bitCount, bits[level], Codebook(level + 1, bits[level]));
            bitCount += (BlockLength >> (level + 1)) * bits[level];
        }

        CodeBytes = BitPacking.BytesFor(bitCount);
    }

    /// <summary>Coordinates of a block.</summary>
    public int BlockLength { get; }

    /// <summary>Bytes of a block's angles.</summary>
    public int CodeBytes { get; }

    /// <summary>The best allocation of 4 bits on blocks of <paramref name="length"/> = 32, 64 or 128.</summary>
    public static PolarCodec Bits4(int length) => new(s_bits4.AsSpan(0, BitOperations.Log2((uint)length)));

    /// <summary>Codes of one block.</summary>
    /// <param name="block">(BlockLength).</param>
    /// <param name="codes">(CodeBytes), overwritten.</param>
    /// <returns>The radius: the block's norm.</returns>
    public Half Encode(ReadOnlySpan<float> block, Span<byte> codes)
    {
        Span<float> radii = stackalloc float[block.Length];
        block.CopyTo(radii);
        codes.Clear();
        for (int level = 0; level < _levels.Length; level++)
        {
            Level l = _levels[level];
            for (int i = 0; i < block.Length >> (level + 1); i++)
            {
                (float x, float y) = (radii[2 * i], radii[(2 * i) + 1]);
                BitPacking.Write(codes, l.FirstBit + (i * l.Bits), l.Bits, l.NearestCode(MathF.Atan2(y, x)));
                radii[i] = MathF.Sqrt((x * x) + (y * y));
            }
        }

        return (Half)radii[0];
    }

    /// <summary>The block that codes and radius stand for.</summary>
    /// <param name="codes">(CodeBytes).</param>
    /// <param name="radius">What <see cref="Encode"/> returned.</param>
    /// <param name="block">(BlockLength).</param>
    public void Decode(ReadOnlySpan<byte> codes, Half radius, Span<float> block)
    {
        block[0] = (float)radius;
        for (int level = _levels.Length - 1; level >= 0; level--)
        {
            Level l = _levels[level];
            for (int i = (block.Length >> (level + 1)) - 1; i >= 0; i--) // downwards: a pair lands at or behind its radius
            {
                int code = BitPacking.Read(codes, l.FirstBit + (i * l.Bits), l.Bits);
                float r = block[i];
                block[2 * i] = r * l.Cos[code];
                block[(2 * i) + 1] = r * l.Sin[code];
            }
        }
    }

    /// <summary>Angles that stand for the codes, ascending. Above level 1 they mirror at π/4; the lower half is listed.</summary>
    private static float[] Codebook(int level, int bits)
    {
        if (level == 1)
        {
            int steps = 1 << bits;
            return [.. Enumerable.Range(0, steps).Select(code => (float)(((2 * code) + 1 - steps) * Math.PI / steps))]; // middles of steps
        }

        float[] lower = (level, bits) switch
        {
            (2, 2) => [0.309758f, 0.633980f],
            (3, 2) => [0.426249f, 0.674383f],
            (4, 2) => [0.524217f, 0.705909f],
            (2, 3) => [0.188460f, 0.380013f, 0.548266f, 0.707231f],
            (3, 3) => [0.307529f, 0.473194f, 0.606085f, 0.726752f],
            (4, 3) => [0.425773f, 0.555665f, 0.654809f, 0.742873f],
            (5, 3) => [0.523579f, 0.620055f, 0.691906f, 0.755020f],
            (6, 4) => [0.549185f, 0.605357f, 0.644091f, 0.675440f, 0.702797f, 0.727783f, 0.751354f, 0.774162f],
            (7, 4) => [0.616500f, 0.657101f, 0.684892f, 0.707286f, 0.726770f, 0.744531f, 0.761264f, 0.777443f],
            _ => throw new ArgumentOutOfRangeException(nameof(bits), bits, $"There is no codebook of that size for level {level}."),
        };
        return [.. lower, .. lower.Reverse().Select(angle => (MathF.PI / 2) - angle)];
    }

    private sealed class Level(int firstBit, int bits, float[] angles)
    {
        public int FirstBit { get; } = firstBit;

        public int Bits { get; } = bits;

        public float[] Cos { get; } = Array.ConvertAll(angles, MathF.Cos);

        public float[] Sin { get; } = Array.ConvertAll(angles, MathF.Sin);

        /// <summary>Rank of the nearest angle.</summary>
        public int NearestCode(float angle)
        {
            int code = 0;
            while (code < angles.Length - 1 && 2 * angle >= angles[code] + angles[code + 1])
            {
                code++;
            }

            return code;
        }
    }
}
