using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>What <see cref="MatrixMultiplier"/> makes of each format of activations.</summary>
public sealed unsafe class ActivationFormatTests
{
    public static TheoryData<string> GgmlFormats() => [.. QuantFormats.All.Select(format => format.Name)];

    public static TheoryData<string> TurboQuantNames() => TurboQuantEncoderTests.Formats();

    [Fact]
    public void Names_AreTheWordsOfTheOption()
    {
        Assert.Equal(["auto", "float", "int8"], ActivationFormats.Names);
        Assert.Equal([ActivationFormat.Auto, ActivationFormat.Float, ActivationFormat.Int8], ActivationFormats.Names.Select(ActivationFormats.Parse));
        Assert.Equal("int8", ActivationFormats.NameOf(ActivationFormat.Int8));
    }

    [Theory]
    [MemberData(nameof(GgmlFormats))]
    public void Auto_RoundsActivations_WhereTheFormatTakesThem(string format)
    {
        Assert.True(QuantFormats.TryFromName(format, out QuantFormat? f));
        Assert.Equal(format is "q4_0" or "q8_0", f.TakesInt8);
        const int Rows = 19, Columns = 512, Tokens = 3;
        using var weights = new RandomWeights(f, Rows, Columns, seed: 1);
        float[] x = EncodedMatrix.Gaussian(Tokens * Columns, seed: 2);
        float[] exact = Multiply(weights.Matrix, x, Tokens, ActivationFormat.Float);
        float[] rounded = Multiply(weights.Matrix, x, Tokens, ActivationFormat.Auto);
        Assert.Equal(rounded, Multiply(weights.Matrix, x, Tokens, ActivationFormat.Int8));
        if (!f.TakesInt8)
        {
            Assert.Equal(exact, rounded);
            return;
        }

        for (int i = 0; i < exact.Length; i++)
        {
            (double largest, double rounding) = Bound(weights.Matrix, i % Rows, x.AsSpan(i / Rows * Columns, Columns));
            Assert.InRange(Math.Abs(exact[i] - rounded[i]), 1e-7 * largest, largest + rounding);
        }
    }

    [Theory]
    [MemberData(nameof(TurboQuantNames))]
    public void Float_IsTheProductOfTheDecodedRows(string format)
    {
        const int Rows = 37, Columns = 256, Tokens = 3;
        TurboQuantDescriptor descriptor = TurboQuantEncoderTests.Find(format, Columns);
        Assert.Equal(descriptor.Layout != TurboQuantStorage.Row, descriptor.TakesInt8);
        using var matrix = new EncodedMatrix(descriptor, EncodedMatrix.WeightsFor(descriptor, Rows * Columns, Rows), Columns);
        float[] w = matrix.Decode();
        float[] x = EncodedMatrix.Gaussian(Tokens * Columns, seed: 4);
        float[] y = Multiply(matrix.Matrix, x, Tokens, ActivationFormat.Float);
        for (int i = 0; i < y.Length; i++)
        {
            (double sum, double magnitude) = Dot(w.AsSpan(i % Rows * Columns, Columns), x.AsSpan(i / Rows * Columns, Columns));
            Assert.InRange(Math.Abs(y[i] - sum), 0, Math.ScaleB(magnitude, -24) * (8 + (2 * Math.Sqrt(Columns))));
        }

        float[] threaded = Multiply(matrix.Matrix, x, Tokens, ActivationFormat.Float, threads: 3);
        Assert.Equal(y, threaded);
    }

    [Fact]
    public void Float_SelectedRows_EqualThoseOfTheWholeHead()
    {
        TurboQuantDescriptor nest = TurboQuantEncoderTests.Find("tq4-nest", 192);
        using var matrix = new EncodedMatrix(nest, EncodedMatrix.WeightsFor(nest, 83 * 192, 5), 192);
        float[] x = EncodedMatrix.Gaussian(192, seed: 6);
        float[] whole = Multiply(matrix.Matrix, x, 1, ActivationFormat.Float);
        int[] rows = [82, 0, 17, 17, 80];
        var selected = new float[rows.Length];
        using var pool = new WorkerPool(1);
        new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Float).MultiplyRows(matrix.Matrix, rows, x, selected);
        Assert.Equal(rows.Select(row => whole[row]), selected);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 7)]
    public void Int8_GivesTheSameFloats_WhateverTheThreadsAndTokens(int threads, int tokens)
    {
        using var weights = new RandomWeights(QuantFormats.Q4_0, 2051, 96, seed: 7);
        float[] x = EncodedMatrix.Gaussian(tokens * 96, seed: 8);
        float[] y = Multiply(weights.Matrix, x, tokens, ActivationFormat.Auto, threads);
        Assert.Equal(Multiply(weights.Matrix, x, tokens, ActivationFormat.Auto, kernel: "scalar"), y);
        Assert.Equal(Enumerable.Range(0, tokens).SelectMany(token => Multiply(weights.Matrix, x[(token * 96)..((token + 1) * 96)], 1, ActivationFormat.Auto)), y);
    }

    [Fact]
    public void Float_AllocatesNothing()
    {
        TurboQuantDescriptor tq4 = TurboQuantEncoderTests.Find("tq4", 256);
        using var matrix = new EncodedMatrix(tq4, EncodedMatrix.WeightsFor(tq4, 64 * 256, 9), 256);
        using var pool = new WorkerPool(2);
        var multiplier = new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Float);
        float[] x = EncodedMatrix.Gaussian(2 * 256, seed: 10);
        var y = new float[2 * 64];
        multiplier.Multiply(matrix.Matrix, x, y, 2);
        long before = GC.GetAllocatedBytesForCurrentThread();
        multiplier.Multiply(matrix.Matrix, x, y, 2);
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocatedBytes);
    }

    /// <summary>Rounding moves an activation by at most half a step of its block: |error| ≤ Σ_b a_b/2·Σ|w|. The second: the floats' own rounding.</summary>
    private static (double Largest, double Rounding) Bound(WeightMatrix w, int row, ReadOnlySpan<float> x)
    {
        var decoded = new float[w.Columns];
        using var pool = new WorkerPool(1);
        new MatrixMultiplier(CpuKernels.Select("scalar"), pool, ActivationFormat.Float).DecodeRow(w, row, decoded);
        double largest = 0;
        for (int column = 0; column < x.Length; column += 32)
        {
            double step = Math.Abs(System.Numerics.Tensors.TensorPrimitives.MaxMagnitude(x.Slice(column, 32))) / 127;
            largest += step / 2 * decoded.AsSpan(column, 32).ToArray().Sum(weight => Math.Abs((double)weight));
        }

        return (largest, Math.ScaleB(Dot(decoded, x).Magnitude, -24) * (16 + (2 * Math.Sqrt(x.Length))));
    }

    private static (double Sum, double Magnitude) Dot(ReadOnlySpan<float> w, ReadOnlySpan<float> x)
    {
        (double sum, double magnitude) = (0, 0);
        for (int i = 0; i < w.Length; i++)
        {
            double product = (double)w[i] * x[i];
            sum += product;
            magnitude += Math.Abs(product);
        }

        return (sum, magnitude);
    }

    private static float[] Multiply(WeightMatrix w, float[] x, int tokens, ActivationFormat activations, int threads = 1, string? kernel = null)
    {
        using var pool = new WorkerPool(threads);
        var y = new float[tokens * w.Rows];
        Array.Fill(y, float.NaN);
        new MatrixMultiplier(CpuKernels.Select(kernel), pool, activations).Multiply(w, x, y, tokens);
        return y;
    }
}
