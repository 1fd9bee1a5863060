using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>Every kernel for 8-bit activations against the scalar reference, float for float, and that against the same sums in double precision.</summary>
public sealed unsafe class GgmlInt8KernelTests
{
    private const int Columns = Int8Block.Columns;

    /// <summary>Rows and tokens around the kernels' tiles of 4 and 8 rows and 128 tokens.</summary>
    private static readonly (int Rows, int Columns, int Tokens)[] s_shapes =
    [
        (1, 32, 1), (3, 64, 2), (4, 96, 1), (5, 32, 3), (7, 64, 1), (8, 32, 1), (8, 64, 5), (9, 1536, 1), (12, 96, 2), (17, 128, 4),
        (16, 160, 129), (20, 64, 300), (24, 6144, 1), (16, 2048, 3),
    ];

    public static TheoryData<string, string> Kernels()
    {
        var data = new TheoryData<string, string>();
        foreach (QuantFormat format in QuantFormats.All)
        {
            foreach (IGgmlInt8Kernel kernel in format.Int8Kernels)
            {
                data.Add(format.Name, kernel.Name);
            }
        }

        return data;
    }

    public static TheoryData<string> Formats() => [.. QuantFormats.All.Where(format => format.TakesInt8).Select(format => format.Name)];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Multiply_EqualsScalar(string format, string kernel)
    {
        (QuantFormat f, IGgmlInt8Kernel k) = Find(format, kernel);
        foreach ((int rows, int columns, int tokens) in s_shapes)
        {
            foreach (int scaleExponent in (int[])[-5, -22, 14])       // the last two: subnormal halves, and close to the largest
            {
                using var weights = new RandomWeights(f, rows, columns, rows + columns, scaleExponent);
                Int8Block[] x = RandomBlocks(columns / Columns, tokens);
                Assert.Equal(Multiply(f.Int8Kernels[^1], weights.Matrix, x, tokens), Multiply(k, weights.Matrix, x, tokens));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Multiply_EqualsScalar_AtTheExtremes(string format, string kernel)
    {
        (QuantFormat f, IGgmlInt8Kernel k) = Find(format, kernel);
        using var weights = new RandomWeights(f, 16, 96, seed: 1);
        foreach (byte quants in (byte[])[0x00, 0xFF, 0x0F, 0xF0, 0x80, 0x7F])
        {
            foreach (ushort scale in (ushort[])[0x3C00, 0xBC00, 0, 1, 0x7BFF, 0x7C00, 0xFC00, 0x7E01])       // ±1, 0, least, largest, ±infinity, NaN
            {
                for (byte* block = weights.Matrix.Data; block < weights.Matrix.Data + weights.Matrix.Bytes; block += f.BlockBytes)
                {
                    new Span<byte>(block, f.BlockBytes).Fill(quants);
                    *(ushort*)block = scale;
                }

                foreach (sbyte value in (sbyte[])[127, -127])
                {
                    foreach (int tokens in (int[])[1, 2])
                    {
                        Int8Block[] x = RandomBlocks(3, tokens);
                        Fill(x, value);
                        Assert.Equal(Multiply(f.Int8Kernels[^1], weights.Matrix, x, tokens), Multiply(k, weights.Matrix, x, tokens));
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Scalar_IsTheProductOfDecodedWeightsAndActivations(string format)
    {
        (QuantFormat f, IGgmlInt8Kernel scalar) = Find(format, "scalar");
        const int Rows = 5, Tokens = 3, Blocks = 48;
        using var weights = new RandomWeights(f, Rows, Blocks * Columns, seed: 2);
        Int8Block[] x = RandomBlocks(Blocks, Tokens);
        float[] y = Multiply(scalar, weights.Matrix, x, Tokens);
        var w = new float[Blocks * Columns];
        for (int row = 0; row < Rows; row++)
        {
            fixed (float* start = w)
            {
                f.Kernels[^1].Decode(weights.Matrix.Data + (row * weights.Matrix.RowBytes), start, w.Length);
            }

            for (int token = 0; token < Tokens; token++)
            {
                (double sum, double magnitude) = (0, 0);
                for (int column = 0; column < w.Length; column++)
                {
                    Int8Block block = x[(column / Columns * Tokens) + token];
                    double product = (double)w[column] * block.Scale * block.Values[column % Columns];
                    sum += product;
                    magnitude += Math.Abs(product);
                }

                // A block's scale is rounded once, and so is each of the additions.
                Assert.InRange(Math.Abs(y[(token * Rows) + row] - sum), 0, Math.ScaleB(magnitude, -24) * (2 + Blocks));
            }
        }
    }

    [Fact]
    public void Multiply_GivesNaN_WhereActivationsAreNoNumbers()
    {
        using var weights = new RandomWeights(QuantFormats.Q4_0, 9, 64, seed: 3);
        using var pool = new WorkerPool(1);
        var y = new float[9];
        new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto).Multiply(weights.Matrix, [.. new float[40], float.PositiveInfinity, .. new float[23]], y, 1);
        Assert.All(y, value => Assert.True(float.IsNaN(value)));
    }

    private static Int8Block[] RandomBlocks(int blocks, int tokens)
    {
        var random = new Random(tokens);
        var x = new Int8Block[blocks * tokens];
        for (int i = 0; i < x.Length; i++)
        {
            bool isZero = random.Next(8) == 0;
            x[i].Scale = isZero ? 0 : (float)Math.ScaleB(random.NextDouble() + 0.5, random.Next(-20, 4));
            for (int column = 0; column < Columns; column++)
            {
                sbyte value = isZero ? (sbyte)0 : (sbyte)random.Next(-127, 128);
                x[i].Values[column] = value;
                x[i].EightSums += 8 * value;
            }
        }

        return x;
    }

    private static void Fill(Int8Block[] x, sbyte value)
    {
        for (int i = 0; i < x.Length; i++)
        {
            for (int column = 0; column < Columns; column++)
            {
                x[i].Values[column] = value;
            }

            x[i].EightSums = 8 * Columns * value;
        }
    }

    private static float[] Multiply(IGgmlInt8Kernel kernel, WeightMatrix w, Int8Block[] x, int tokens)
    {
        var y = new float[tokens * w.Rows];
        Array.Fill(y, float.NaN);
        fixed (Int8Block* xStart = x)
        fixed (float* yStart = y)
        {
            kernel.Multiply(
                new GgmlProduct { Weights = w.Data, RowBytes = w.RowBytes, Blocks = w.Columns / Columns, Tokens = tokens, X = xStart, Y = yStart, YStride = w.Rows },
                0,
                w.Rows);
        }

        return y;
    }

    private static (QuantFormat Format, IGgmlInt8Kernel Kernel) Find(string format, string kernel)
    {
        Assert.True(QuantFormats.TryFromName(format, out QuantFormat? f));
        IGgmlInt8Kernel k = f.Int8Kernels.Single(candidate => candidate.Name == kernel);
        Assert.SkipUnless(k.IsSupported, $"This CPU lacks {kernel}.");
        return (f, k);
    }
}
