namespace Gemma4Edge.Kernels;

/// <summary>PolarQuant: a block of 2^L rotated coordinates as one radius and 2^L − 1 angles. For comparison, not for speed.</summary>
/// <remarks>
/// Level 1 takes pairs of coordinates (a, b) to the angle atan2(b, a) in [−π, π) and the radius √(a² + b²); level ℓ takes pairs of the radii of level ℓ − 1 to
/// angles in [0, π/2]. The rotation makes the angles' distributions known: uniform on level 1, ∝ sin(2θ)^(2^(ℓ−1) − 1) above, hence the code books.
/// <code>
/// block of B columns:  byte 0  radius  half
///                           2  B/2 bytes: the angles of level 1 (B/2 × 5 bits), 2 (B/4 × 3 bits), 3 …, one <see cref="BitStream"/>
/// </code>
/// Source: "PolarQuant: Quantizing KV Caches with Polar Transformation" (arXiv 2502.02617). Its own bits are 4, 2, 2, 2 and a radius per 16; these spend the same
/// 4.125 bits where they help most.
/// </remarks>
internal static unsafe class PolarLayout
{
    private const int RadiusBytes = 2;

    private static readonly int[] s_bits = [5, 3, 3, 3, 3, 4, 4];

    /// <summary>Lloyd-Max code books of the levels 2 to 7 at 2, 3 and 4 bits; only those in use.</summary>
    private static readonly Dictionary<(int Level, int Bits), float[]> s_books = new()
    {
        [(2, 2)] = [0.309758f, 0.63398f, 0.936813f, 1.261038f],
        [(3, 2)] = [0.426249f, 0.674383f, 0.896406f, 1.144541f],
        [(4, 2)] = [0.524217f, 0.705909f, 0.86488f, 1.046574f],
        [(2, 3)] = [0.18846f, 0.380013f, 0.548266f, 0.707231f, 0.863557f, 1.022526f, 1.190783f, 1.382336f],
        [(3, 3)] = [0.307529f, 0.473194f, 0.606085f, 0.726752f, 0.844037f, 0.964703f, 1.097594f, 1.263261f],
        [(4, 3)] = [0.425773f, 0.555665f, 0.654809f, 0.742873f, 0.827916f, 0.915979f, 1.015123f, 1.145016f],
        [(5, 3)] = [0.523579f, 0.620055f, 0.691906f, 0.75502f, 0.815772f, 0.87889f, 0.950741f, 1.047217f],
        [(6, 4)] =
        [
            0.549185f, 0.605357f, 0.644091f, 0.675440f, 0.702797f, 0.727783f, 0.751354f, 0.774162f,
            0.796729f, 0.819537f, 0.843105f, 0.868088f, 0.895439f, 0.926783f, 0.965508f, 1.021668f,
        ],
        [(7, 4)] =
        [
            0.616500f, 0.657101f, 0.684892f, 0.707286f, 0.726770f, 0.744531f, 0.761264f, 0.777443f,
            0.793448f, 0.809627f, 0.826357f, 0.844115f, 0.863594f, 0.885982f, 0.913765f, 0.954354f,
        ],
    };

    /// <summary>The bits per level that the paper uses, for blocks of 16.</summary>
    internal static ReadOnlySpan<int> PaperBits => [4, 2, 2, 2];

    /// <summary>Bits per level of blocks of 32, 64 and 128.</summary>
    internal static ReadOnlySpan<int> Bits(int block) => s_bits.AsSpan(0, int.Log2(block));

    /// <summary>Bytes of a row.</summary>
    internal static long RowBytes(int columns, int block) => columns / block * (RadiusBytes + (block / 2L));

    /// <summary>Writes a row that is already rotated.</summary>
    internal static void EncodeRow(ReadOnlySpan<float> x, int block, byte* row)
    {
        new Span<byte>(row, (int)RowBytes(x.Length, block)).Clear();
        for (; !x.IsEmpty; x = x[block..])
        {
            Encode(x[..block], Bits(block), row);
            row += RadiusBytes + (block / 2);
        }
    }

    /// <summary>One row, in its rotated basis.</summary>
    internal static void DecodeRow(byte* row, int block, float* destination, int columns)
    {
        for (float* end = destination + columns; destination < end; destination += block)
        {
            Decode(row, Bits(block), new Span<float>(destination, block));
            row += RadiusBytes + (block / 2);
        }
    }

    /// <summary>Writes a block of 2^L coordinates, L the number of levels in <paramref name="bits"/>, to bytes that are zero.</summary>
    internal static void Encode(ReadOnlySpan<float> x, ReadOnlySpan<int> bits, byte* block)
    {
        Span<float> radii = stackalloc float[x.Length];
        x.CopyTo(radii);
        var angles = new BitStream(block + RadiusBytes);
        for (int level = 1; level <= bits.Length; level++)
        {
            for (int i = 0; i < x.Length >> level; i++)
            {
                float a = radii[2 * i], b = radii[(2 * i) + 1];
                angles.Write(Code(level, bits[level - 1], MathF.Atan2(b, a)), bits[level - 1]);
                radii[i] = MathF.Sqrt((a * a) + (b * b));
            }
        }

        *(Half*)block = (Half)radii[0];
    }

    /// <summary>Reads a block of 2^L coordinates.</summary>
    internal static void Decode(byte* block, ReadOnlySpan<int> bits, Span<float> x)
    {
        Span<float> angles = stackalloc float[x.Length];
        var stream = new BitStream(block + RadiusBytes);
        for (int level = 1; level <= bits.Length; level++)
        {
            Span<float> ofLevel = angles.Slice(x.Length >> level, x.Length >> level);
            for (int i = 0; i < ofLevel.Length; i++)
            {
                ofLevel[i] = Angle(level, bits[level - 1], stream.Read(bits[level - 1]));
            }
        }

        x[0] = (float)*(Half*)block;
        for (int level = bits.Length; level >= 1; level--)
        {
            int count = x.Length >> level;
            for (int i = count - 1; i >= 0; i--)
            {
                (float sine, float cosine) = MathF.SinCos(angles[count + i]);
                float radius = x[i];
                x[2 * i] = radius * cosine;
                x[(2 * i) + 1] = radius * sine;
            }
        }
    }

    private static int Code(int level, int bits, float angle)
    {
        if (level == 1)
        {
            int steps = 1 << bits;
            return (int)MathF.Floor((angle + MathF.PI) * steps / MathF.Tau) & (steps - 1);
        }

        float[] book = s_books[(level, bits)];
        int code = 0;
        while (code + 1 < book.Length && angle > (book[code] + book[code + 1]) / 2)
        {
            code++;
        }

        return code;
    }

    private static float Angle(int level, int bits, int code) =>
        level == 1 ? (((code + 0.5f) * MathF.Tau) / (1 << bits)) - MathF.PI : s_books[(level, bits)][code];
}
