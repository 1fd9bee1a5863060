using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class MatrixMultiplierTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 7)]
    public void Multiply_EqualsOneKernelCall_WhateverTheThreads(int threads, int tokens)
    {
        using var weights = new RandomWeights(QuantFormats.Q4_0, 2051, 96, seed: 3);
        float[] x = RandomWeights.Floats(tokens * 96, seed: 4);
        float[] one = Multiply(1, weights.Matrix, x, tokens, "scalar");
        Assert.Equal(one, Multiply(threads, weights.Matrix, x, tokens, "scalar"));
        float[] best = Multiply(threads, weights.Matrix, x, tokens, null);
        for (int i = 0; i < one.Length; i++)
        {
            Assert.Equal(one[i], best[i], 1e-5f);
        }
    }

    [Fact]
    public void Multiply_AllocatesNothing()
    {
        using var weights = new RandomWeights(QuantFormats.Q4_0, 512, 2048, seed: 5);
        using var pool = new WorkerPool(2);
        var multiplier = new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto);
        float[] x = RandomWeights.Floats(4 * 2048, seed: 6);
        var y = new float[4 * 512];
        multiplier.Multiply(weights.Matrix, x, y, 4);
        long before = GC.GetAllocatedBytesForCurrentThread();
        multiplier.Multiply(weights.Matrix, x, y, 1);
        multiplier.Multiply(weights.Matrix, x, y, 4);
        multiplier.DecodeRow(weights.Matrix, 7, x);
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocatedBytes);
    }

    [Fact]
    public void DecodeRow_GivesTheRow()
    {
        using var weights = new RandomWeights(QuantFormats.F32, 3, 5, seed: 7);
        using var pool = new WorkerPool(1);
        var multiplier = new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto);
        var row = new float[5];
        multiplier.DecodeRow(weights.Matrix, 2, row);
        var unit = new float[5];
        var y = new float[3];
        for (int column = 0; column < 5; column++)
        {
            Array.Clear(unit);
            unit[column] = 1;
            multiplier.Multiply(weights.Matrix, unit, y, 1);
            Assert.Equal(y[2], row[column]);
        }
    }

    [Fact]
    public void Multiply_NamesTheShortSpan()
    {
        using var weights = new RandomWeights(QuantFormats.F32, 3, 5, seed: 8);
        using var pool = new WorkerPool(1);
        var multiplier = new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto);
        Assert.Equal("x", Assert.Throws<ArgumentException>(() => multiplier.Multiply(weights.Matrix, new float[9], new float[6], 2)).ParamName);
        Assert.Equal("y", Assert.Throws<ArgumentException>(() => multiplier.Multiply(weights.Matrix, new float[10], new float[5], 2)).ParamName);
        Assert.Throws<ArgumentOutOfRangeException>(() => multiplier.DecodeRow(weights.Matrix, 3, new float[5]));
    }

    private static float[] Multiply(int threads, WeightMatrix w, float[] x, int tokens, string? kernel)
    {
        using var pool = new WorkerPool(threads);
        var y = new float[tokens * w.Rows];
        new MatrixMultiplier(CpuKernels.Select(kernel), pool, ActivationFormat.Float).Multiply(w, x, y, tokens);
        return y;
    }
}
