using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>Every kernel of every format against the same sums in double precision, and its decoding against the scalar reference.</summary>
public sealed unsafe class WeightKernelTests
{
    private static readonly (int Rows, int Tokens)[] s_smallShapes =
        [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6), (8, 7), (9, 1), (9, 33), (2, 100)];

    public static TheoryData<string, string> Kernels()
    {
        var data = new TheoryData<string, string>();
        foreach (QuantFormat format in QuantFormats.All)
        {
            foreach (IWeightKernel kernel in format.Kernels)
            {
                data.Add(format.Name, kernel.Name);
            }
        }

        return data;
    }

    public static TheoryData<string> Names() => [.. QuantFormats.F16.Kernels.Select(k => k.Name)];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void MatMul_MatchesDoubleSums_OnSmallShapes(string format, string kernel)
    {
        (QuantFormat f, IWeightKernel k) = Find(format, kernel);
        int[] columnCounts = f.BlockColumns == 1 ? [1, 7, 31, 32, 33, 64, 95] : [f.BlockColumns, 3 * f.BlockColumns];
        foreach (int columns in columnCounts)
        {
            foreach ((int rows, int tokens) in s_smallShapes)
            {
                Check(f, k, rows, columns, tokens, -5);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void MatMul_MatchesDoubleSums_OnGemmaWidths(string format, string kernel)
    {
        (QuantFormat f, IWeightKernel k) = Find(format, kernel);
        foreach (int columns in (int[])[1536, 2048, 6144, 12288])
        {
            Check(f, k, 5, columns, 1, -5);
            Check(f, k, 5, columns, 4, -5);
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void MatMul_MatchesDoubleSums_WithExtremeScales(string format, string kernel)
    {
        (QuantFormat f, IWeightKernel k) = Find(format, kernel);
        Check(f, k, 5, 512, 1, -22);                    // scales are subnormal halves
        Check(f, k, 5, 512, 4, -22);
        Check(f, k, 5, 512, 1, 14);                     // and close to the largest half
        Check(f, k, 5, 512, 4, 14);
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void MatMul_GivesZero_WhenActivationsAreZero(string format, string kernel)
    {
        (QuantFormat f, IWeightKernel k) = Find(format, kernel);
        using var weights = new RandomWeights(f, 3, 512, seed: 1);
        foreach (int tokens in (int[])[1, 4])
        {
            float[] y = Multiply(k, weights.Matrix, new float[tokens * 512], tokens);
            Assert.All(y, value => Assert.Equal(0, value));
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Decode_EqualsScalar(string format, string kernel)
    {
        (QuantFormat f, IWeightKernel k) = Find(format, kernel);
        int[] columnCounts = f.BlockColumns == 1 ? [1, 7, 33, 96] : [f.BlockColumns, 4 * f.BlockColumns];
        foreach (int columns in columnCounts)
        {
            foreach (int exponent in (int[])[-22, -5, 14])
            {
                using var weights = new RandomWeights(f, 1, columns, columns, exponent);
                Assert.Equal(Decode(f.Kernels[^1], weights.Matrix), Decode(k, weights.Matrix));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Decode_IsExact_ForEveryHalf(string kernel)
    {
        IWeightKernel k = Find("f16", kernel).Kernel;
        var halves = new ushort[65536];
        for (int i = 0; i < halves.Length; i++)
        {
            halves[i] = (ushort)i;
        }

        var decoded = new float[halves.Length];
        fixed (ushort* source = halves)
        fixed (float* destination = decoded)
        {
            k.Decode((byte*)source, destination, halves.Length);
        }

        for (int i = 0; i < halves.Length; i++)
        {
            Assert.Equal((float)BitConverter.UInt16BitsToHalf((ushort)i), decoded[i]);
        }
    }

    /// <summary>Checks one product against Σ w·x in double precision: |error| ≤ 2⁻²⁴ · (8 + 2·√columns) · Σ|w·x|.</summary>
    private static void Check(QuantFormat format, IWeightKernel kernel, int rows, int columns, int tokens, int scaleExponent)
    {
        using var weights = new RandomWeights(format, rows, columns, rows + columns + tokens, scaleExponent);
        float[] x = RandomWeights.Floats(tokens * columns, columns);
        float[] w = Decode(format.Kernels[^1], weights.Matrix);
        float[] y = Multiply(kernel, weights.Matrix, x, tokens);
        for (int token = 0; token < tokens; token++)
        {
            for (int row = 0; row < rows; row++)
            {
                double sum = 0, magnitude = 0;
                for (int column = 0; column < columns; column++)
                {
                    double product = (double)w[(row * columns) + column] * x[(token * columns) + column];
                    sum += product;
                    magnitude += Math.Abs(product);
                }

                double bound = Math.ScaleB(magnitude, -24) * (8 + (2 * Math.Sqrt(columns)));
                double error = Math.Abs(y[(token * rows) + row] - sum);
                Assert.True(error <= bound, $"{format} {kernel.Name} {rows}×{columns}, {tokens} tokens, row {row}, token {token}: off by {error}, allowed {bound}.");
            }
        }
    }

    private static float[] Multiply(IWeightKernel kernel, WeightMatrix w, float[] x, int tokens)
    {
        var y = new float[tokens * w.Rows];
        Array.Fill(y, float.NaN);
        fixed (float* xStart = x, yStart = y)
        {
            kernel.MatMul(w.Data, w.RowBytes, w.Rows, w.Columns, xStart, w.Columns, tokens, yStart, w.Rows);
        }

        return y;
    }

    private static float[] Decode(IWeightKernel kernel, WeightMatrix w)
    {
        var floats = new float[w.Rows * w.Columns];
        fixed (float* start = floats)
        {
            for (int row = 0; row < w.Rows; row++)
            {
                kernel.Decode(w.Data + (row * w.RowBytes), start + (row * w.Columns), w.Columns);
            }
        }

        return floats;
    }

    private static (QuantFormat Format, IWeightKernel Kernel) Find(string format, string kernel)
    {
        Assert.True(QuantFormats.TryFromName(format, out QuantFormat? f));
        IWeightKernel k = f.Kernels.Single(candidate => candidate.Name == kernel);
        Assert.SkipUnless(k.IsSupported, $"This CPU lacks {kernel}.");
        return (f, k);
    }
}
