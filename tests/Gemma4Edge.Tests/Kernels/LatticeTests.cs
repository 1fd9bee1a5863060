using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>Checkpoints of quantization-aware training are taken over without any error, and nothing else is taken for one.</summary>
public sealed class LatticeTests
{
    private const int Columns = 256;
    private const int Rows = 48;

    [Theory]
    [InlineData(16, 0, "lat4-row")]
    [InlineData(16, 32, "lat4-g32")]
    [InlineData(4, 0, "lat2-row")]
    public void Import_IsExact_WhateverTheSource(int levels, int group, string name)
    {
        foreach (bool bfloat16 in (bool[])[false, true])
        {
            foreach (bool halfScales in (bool[])[true, false])
            {
                if (!halfScales && group > 0)
                {
                    continue;   // group scales are halves in every checkpoint format
                }

                float[] weights = Make(levels, group, halfScales, bfloat16);
                TurboQuantDescriptor format = Detect(weights, bfloat16)!;
                Assert.NotNull(format);
                Assert.Equal(name, format.Name);
                using var matrix = new EncodedMatrix(format, weights, Columns, bfloat16: bfloat16);
                Assert.InRange(matrix.RelativeError, 0, bfloat16 || halfScales ? 0 : 1e-13);
            }
        }
    }

    [Fact]
    public void Import_TakesTheHalfIntegerLattice()
    {
        var random = new Random(1);
        float[] weights = [.. Enumerable.Range(0, Rows * Columns).Select(_ => (random.Next(4) - 1.5f) * 0.03125f)];
        TurboQuantDescriptor format = Detect(weights, bfloat16: true)!;
        Assert.Equal([-3, -1, 1, 3], format.Levels);
        using var matrix = new EncodedMatrix(format, weights, Columns, bfloat16: true);
        Assert.Equal(0, matrix.RelativeError);
        Assert.Equal(weights, matrix.Decode());
    }

    [Fact]
    public void Import_TakesNegativeScales()
    {
        // 8 is the largest, so the scale that has it as −8 times itself is negative.
        float[] weights = [.. Enumerable.Range(0, Columns).Select(i => (8 - (i % 16)) * 0.25f)];
        TurboQuantDescriptor format = Detect(weights, bfloat16: false)!;
        using var matrix = new EncodedMatrix(format, weights, Columns);
        Assert.Equal(weights, matrix.Decode());
    }

    [Fact]
    public void NoLattice_InGaussianWeights()
    {
        float[] weights = EncodedMatrix.Gaussian(64 * Columns, seed: 2, 0.02f);
        float[] rounded = [.. weights.Select(Lattice.ToBFloat16)];
        for (int row = 0; row < 64; row++)
        {
            Assert.Null(Detect(weights.AsSpan(row * Columns, Columns), bfloat16: false));
            Assert.Null(Detect(rounded.AsSpan(row * Columns, Columns), bfloat16: true));
        }
    }

    [Fact]
    public void OneWeightBesideTheLattice_IsEnoughToRefuse()
    {
        float[] weights = Make(16, 32, true, true);
        weights[^5] *= 1.03125f;
        Assert.Null(Detect(weights, bfloat16: true));
        using var pool = new WorkerPool(1);
        Assert.Throws<InvalidOperationException>(() => new EncodedMatrix(TurboQuantFormats.All.First(f => f.Name == "lat4-g32").For(Columns, 0), weights, Columns, bfloat16: true));
    }

    private static TurboQuantDescriptor? Detect(ReadOnlySpan<float> weights, bool bfloat16)
    {
        var detector = new LatticeDetector(Columns, bfloat16);
        for (int row = 0; row < weights.Length / Columns; row++)
        {
            detector.Add(weights.Slice(row * Columns, Columns));
        }

        return detector.Format;
    }

    private static float[] Make(int levels, int group, bool halfScales, bool bfloat16)
    {
        var random = new Random(levels + group);
        var weights = new float[Rows * Columns];
        float scale = 0;
        for (int i = 0; i < weights.Length; i++)
        {
            if (i % (group == 0 ? Columns : group) == 0)
            {
                scale = (0.5f + (float)random.NextDouble()) * 0.01f;
                scale = halfScales ? (float)(Half)scale : scale;
            }

            float weight = scale * (random.Next(levels) - (levels / 2));
            weights[i] = bfloat16 ? Lattice.ToBFloat16(weight) : weight;
        }

        return weights;
    }
}
