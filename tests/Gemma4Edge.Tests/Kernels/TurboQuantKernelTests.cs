using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>Every kernel against the scalar reference, float for float, and products against the decoded rows in double precision.</summary>
public sealed unsafe class TurboQuantKernelTests
{
    private static readonly (int Rows, int Columns, int[] Tokens)[] s_shapes =
        [
            (1, 32, [1, 2, 4]), (16, 64, [1, 4, 7]), (17, 96, [1, 3]), (33, 160, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (31, 256, [1, 5]), (40, 128, [1, 97]),
            (18, 1536, [1, 6]), (16, 6144, [1, 4]),
        ];

    public static TheoryData<string, string> Kernels()
    {
        var data = new TheoryData<string, string>();
        foreach (TurboQuantFormats.Row row in TurboQuantFormats.All)
        {
            foreach (ITurboQuantKernel kernel in ITurboQuantKernel.All)
            {
                if (row.For(32, 0).Layout != TurboQuantStorage.Row)
                {
                    data.Add(row.Name, kernel.Name);
                }
            }
        }

        return data;
    }

    public static TheoryData<string> Formats() => TurboQuantEncoderTests.Formats();

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Multiply_EqualsScalar(string format, string kernel)
    {
        SkipUnlessSupported(kernel);
        foreach ((int rows, int columns, int[] tokenCounts) in s_shapes)
        {
            using EncodedMatrix matrix = Encode(format, rows, columns);
            foreach (int tokens in tokenCounts)
            {
                float[] x = EncodedMatrix.Gaussian(tokens * columns, tokens);
                Array.Clear(x, 0, tokens == 1 ? 0 : columns);            // a row of zeros among others
                Assert.Equal(Multiply("scalar", matrix.Matrix, x, tokens), Multiply(kernel, matrix.Matrix, x, tokens));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Multiply_EqualsScalar_AtTheExtremes(string format, string kernel)
    {
        SkipUnlessSupported(kernel);
        const int Rows = 16, Columns = 512;
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find(format, Columns);
        using EncodedMatrix matrix = Encode(format, Rows, Columns);
        foreach (byte codes in (byte[])[0x00, 0xFF, 0xF0, 0x0F, 0x7F])    // largest levels of either sign, alone and side by side
        {
            var extreme = new Span<byte>(matrix.Matrix.Data, (int)TurboQuantLayout.CodeBytes(descriptor.Layout == TurboQuantStorage.Nest ? 2 : descriptor.Bits, Columns));
            extreme.Fill(codes);
            foreach (sbyte value in (sbyte[])[127, -127])
            {
                foreach (int tokens in (int[])[1, 5])
                {
                    Assert.Equal(MultiplyExtreme("scalar", matrix.Matrix, value, tokens), MultiplyExtreme(kernel, matrix.Matrix, value, tokens));
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Multiply_IsTheProductOfTheDecodedRows(string format)
    {
        foreach ((int rows, int columns, int[] tokenCounts) in s_shapes)
        {
            using EncodedMatrix matrix = Encode(format, rows, columns);
            float[] w = matrix.Decode();
            foreach (int tokens in tokenCounts)
            {
                float[] x = EncodedMatrix.Gaussian(tokens * columns, tokens);
                float[] y = Multiply(null, matrix.Matrix, x, tokens);
                for (int i = 0; i < y.Length; i++)
                {
                    CheckProduct(w.AsSpan(i % rows * columns, columns), x.AsSpan(i / rows * columns, columns), y[i]);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Multiply_DoesNotDependOnThreads(string format)
    {
        using EncodedMatrix matrix = Encode(format, 531, 96);
        float[] x = EncodedMatrix.Gaussian(7 * 96, seed: 1);
        Assert.Equal(Multiply(null, matrix.Matrix, x, 7), Multiply(null, matrix.Matrix, x, 7, threads: 3));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Multiply_AllocatesNothing(string format)
    {
        using EncodedMatrix matrix = Encode(format, 64, 256);
        using var pool = new WorkerPool(2);
        var multiplier = new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto);
        float[] x = EncodedMatrix.Gaussian(4 * 256, seed: 2);
        var y = new float[4 * 64];
        multiplier.Multiply(matrix.Matrix, x, y, 4);
        multiplier.DecodeRow(matrix.Matrix, 7, x);
        long before = GC.GetAllocatedBytesForCurrentThread();
        multiplier.Multiply(matrix.Matrix, x, y, 1);
        multiplier.Multiply(matrix.Matrix, x, y, 4);
        multiplier.DecodeRow(matrix.Matrix, 7, x);
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocatedBytes);
    }

    [Theory]
    [InlineData("tq4", 16, 32)]
    [InlineData("q8", 0, 16)]
    [InlineData("tq4-rows", 5, 9)]
    public void Slice_IsAMatrixOfItsOwn(string format, int first, int count)
    {
        using EncodedMatrix matrix = Encode(format, 50, 128);
        float[] x = EncodedMatrix.Gaussian(128, seed: 3);
        float[] whole = Multiply(null, matrix.Matrix, x, 1);
        Assert.Equal(whole[first..(first + count)], Multiply(null, matrix.Matrix.Slice(first, count), x, 1));
    }

    [Fact]
    public void Slice_RefusesToCutAPanel()
    {
        using EncodedMatrix matrix = Encode("tq4", 50, 128);
        Assert.Throws<ArgumentException>(() => matrix.Matrix.Slice(8, 16));
    }

    [Theory]
    [InlineData(32, 5)]
    [InlineData(192, 16)]
    [InlineData(1536, 700)] // more than one chunk
    public void SelectedRows_EqualThoseOfTheWholeHead(int columns, int count)
    {
        using EncodedMatrix matrix = Encode("tq4-nest", 83, columns);
        using var pool = new WorkerPool(2);
        var multiplier = new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto);
        float[] x = EncodedMatrix.Gaussian(columns, seed: 4);
        float[] whole = Multiply(null, matrix.Matrix, x, 1);
        var random = new Random(6);
        int[] rows = [82, 0, 17, 17, .. Enumerable.Range(4, count - 4).Select(_ => random.Next(83))];
        var selected = new float[count + 1];
        multiplier.MultiplyRows(matrix.Matrix, rows, x, selected);
        Assert.Equal([.. rows.Select(row => whole[row]), 0], selected);
        Assert.Throws<ArgumentOutOfRangeException>(() => multiplier.MultiplyRows(matrix.Matrix, [83], x, selected));
    }

    [Fact]
    public void UpperPlane_RanksTheRows()
    {
        const int Rows = 2000, Columns = 256;
        using EncodedMatrix matrix = Encode("tq4-nest", Rows, Columns);
        float[] x = EncodedMatrix.Gaussian(Columns, seed: 5);
        float[] whole = Multiply(null, matrix.Matrix, x, 1);
        float[] upper = Multiply(null, matrix.Matrix.UpperPlane(), x, 1);
        double product = 0, wholeSquare = 0, upperSquare = 0;
        for (int i = 0; i < Rows; i++)
        {
            product += whole[i] * upper[i];
            wholeSquare += whole[i] * whole[i];
            upperSquare += upper[i] * upper[i];
        }

        Assert.InRange(product / Math.Sqrt(wholeSquare * upperSquare), 0.92, 0.96);   // √(1 − 0.12) of the weights' energy
        Assert.InRange(Math.Sqrt(upperSquare / wholeSquare), 1.5, 1.7);
    }

    private static EncodedMatrix Encode(string format, int rows, int columns)
    {
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find(format, columns);
        return new EncodedMatrix(descriptor, EncodedMatrix.WeightsFor(descriptor, rows * columns, rows), columns);
    }

    /// <summary>Rounding activations to 8 bits moves each by at most half a step: |error| ≤ scale/2 · Σ|rotated w|, and the floats' own rounding.</summary>
    private static void CheckProduct(ReadOnlySpan<float> w, ReadOnlySpan<float> x, float y)
    {
        double sum = 0, norm = 0, largest = 0;
        for (int i = 0; i < w.Length; i++)
        {
            sum += (double)w[i] * x[i];
            norm += (double)w[i] * w[i];
            largest += (double)x[i] * x[i];
        }

        // Errors of rounding are spread evenly over [−½, ½] steps: six deviations of their sum, with a step of at most 6.5 times the activations' rms / 127.
        double step = Math.Min(6.5, Math.Sqrt(w.Length)) * Math.Sqrt(largest / w.Length) / 127;
        double bound = (6 * step * Math.Sqrt(norm / 12)) + (1e-5 * Math.Sqrt(norm * largest));
        Assert.True(Math.Abs(y - sum) <= bound, $"Off by {Math.Abs(y - sum)}, allowed {bound}.");
    }

    private static float[] MultiplyExtreme(string kernel, WeightMatrix w, sbyte value, int tokens)
    {
        var format = (TurboQuantDescriptor)w.Format;
        int group = format.Group == 0 ? w.Columns : format.Group;
        var values = new sbyte[tokens * w.Columns];
        Array.Fill(values, value);
        var sums = new int[tokens * w.Columns / group];
        Array.Fill(sums, value * group);
        var scales = new float[tokens];
        Array.Fill(scales, 1);
        var y = new float[tokens * w.Rows];
        WeightMatrix panels = format.Layout == TurboQuantStorage.Nest ? w.UpperPlane() : w;
        fixed (sbyte* valuesStart = values)
        fixed (int* sumsStart = sums)
        fixed (float* scalesStart = scales, yStart = y)
        {
            var product = new PanelProduct((TurboQuantDescriptor)panels.Format, w.Data, w.Rows, w.Columns)
            {
                X = new Int8Rows { Values = valuesStart, Stride = w.Columns, Scales = scalesStart, Sums = sumsStart, SumStride = w.Columns / group },
                Tokens = tokens,
                Y = yStart,
                YStride = w.Rows,
            };
            ITurboQuantKernel.All.First(k => k.Name == kernel).Multiply(product, 0, PanelProduct.Count(w.Rows));
        }

        return y;
    }

    private static float[] Multiply(string? kernel, WeightMatrix w, float[] x, int tokens, int threads = 1)
    {
        using var pool = new WorkerPool(threads);
        var y = new float[tokens * w.Rows];
        Array.Fill(y, float.NaN);
        new MatrixMultiplier(CpuKernels.Select(kernel), pool, ActivationFormat.Auto).Multiply(w, x, y, tokens);
        return y;
    }

    private static void SkipUnlessSupported(string kernel) =>
        Assert.SkipUnless(ITurboQuantKernel.All.First(k => k.Name == kernel).IsSupported, $"This CPU has no {kernel}.");
}
