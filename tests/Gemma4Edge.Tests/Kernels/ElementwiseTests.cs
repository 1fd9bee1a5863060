using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>The elementwise functions against their formulas in double precision.</summary>
public sealed class ElementwiseTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(256)]
    [InlineData(1536)]
    public void RmsNorm_MatchesItsFormula(int length)
    {
        float[] x = RandomWeights.Floats(2 * length, length, 40);
        float[] weight = RandomWeights.Floats(length, length + 1, 3);
        var weighted = new float[2 * length];
        RmsNorm.ApplyRows(x, weight, 1e-6f, weighted, length);
        float[] inPlace = [.. x];
        RmsNorm.ApplyRows(inPlace, [], 1e-6f, inPlace, length);
        for (int row = 0; row < 2; row++)
        {
            double meanSquare = x.Skip(row * length).Take(length).Sum(v => (double)v * v) / length;
            for (int i = 0; i < length; i++)
            {
                double normed = x[(row * length) + i] / Math.Sqrt(meanSquare + 1e-6);
                AssertClose(normed * weight[i], weighted[(row * length) + i], 1e-6);
                AssertClose(normed, inPlace[(row * length) + i], 1e-6);
            }
        }
    }

    [Fact]
    public void RmsNorm_UsesEpsilon_WhenXIsSmall()
    {
        var y = new float[2];
        RmsNorm.Apply([1e-3f, -1e-3f], [], 1e-6f, y);
        AssertClose(1 / Math.Sqrt(2), y[0], 1e-6);
    }

    [Fact]
    public void Softmax_MatchesItsFormula_AndStandsLargeScores()
    {
        float[] scores = [.. RandomWeights.Floats(77, 1, 20), 1000, 999, -1000];
        float[] x = [.. scores];
        Softmax.Apply(x);
        double sum = scores.Sum(s => Math.Exp(s - 1000.0));
        for (int i = 0; i < x.Length; i++)
        {
            AssertClose(Math.Exp(scores[i] - 1000.0) / sum, x[i], 1e-6);
        }

        float[] equal = [-3e38f, -3e38f];
        Softmax.Apply(equal);
        Assert.Equal([0.5f, 0.5f], equal);
    }

    [Fact]
    public void Gelu_MatchesItsFormula()
    {
        const int Count = 4001;
        var gate = new float[Count];
        for (int i = 0; i < Count; i++)
        {
            gate[i] = (i - (Count / 2)) / 400f;         // −5 … 5
        }

        float[] up = RandomWeights.Floats(Count, 2, 3);
        float[] y = [.. gate];
        Gelu.ApplyTanhAndMultiply(y, up);
        for (int i = 0; i < Count; i++)
        {
            double x = gate[i];
            double u = Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x));
            double expected = x / (1 + Math.Exp(-2 * u)) * up[i];
            AssertClose(expected, y[i], Math.Abs(x) <= 3 ? 1e-6 : 3e-6);
        }
    }

    [Fact]
    public void Gelu_HasItsLimits()
    {
        float[] y = [float.MaxValue, -float.MaxValue, 1e10f, -1e10f, 0];
        Gelu.ApplyTanhAndMultiply(y, [1, 1, 1, 1, 1]);
        Assert.Equal([float.MaxValue, 0, 1e10f, 0, 0], y);
    }

    [Fact]
    public void SoftCap_MatchesItsFormula()
    {
        float[] logits = [.. RandomWeights.Floats(1000, 3, 100), 0, 1e-4f, 1e30f];
        float[] x = [.. logits];
        SoftCap.Apply(x, 30);
        for (int i = 0; i < x.Length; i++)
        {
            Assert.Equal(30 * Math.Tanh(logits[i] / 30.0), x[i], Math.ScaleB(30, -22));
        }
    }

    [Theory]
    [InlineData(2, 0)]
    [InlineData(10, 3)]
    [InlineData(256, 131071)]
    public void Rope_MatchesItsFormula(int headDim, int position)
    {
        int half = headDim / 2;
        var factors = new float[half];
        for (int j = 0; j < half; j++)
        {
            factors[j] = j % 2 == 0 ? 1 : 1e30f;
        }

        var rope = new RopeTable(headDim, 10000, factors);
        rope.Prepare(Math.Max(0, position - 2), 5);
        float[] x = RandomWeights.Floats(3 * headDim, headDim);
        float[] y = [.. x];
        rope.Apply(y, position);
        for (int head = 0; head < 3 * headDim; head += headDim)
        {
            for (int j = 0; j < half; j++)
            {
                double angle = position * Math.Pow(10000, -2.0 * j / headDim) / factors[j];
                (double low, double high) = (x[head + j], x[head + j + half]);
                Assert.Equal((low * Math.Cos(angle)) - (high * Math.Sin(angle)), y[head + j], 3e-7);
                Assert.Equal((high * Math.Cos(angle)) + (low * Math.Sin(angle)), y[head + j + half], 3e-7);
                if (j % 2 == 1)
                {
                    Assert.Equal((x[head + j], x[head + j + half]), (y[head + j], y[head + j + half]));
                }
            }
        }
    }

    [Fact]
    public void Rope_Refuses_WhatIsNotPrepared()
    {
        var rope = new RopeTable(4, 10000, []);
        rope.Prepare(10, 3);
        rope.Apply(new float[8], 12);
        Assert.Throws<ArgumentException>(() => rope.Apply(new float[8], 13));
        Assert.Throws<ArgumentException>(() => rope.Apply(new float[8], 9));
        Assert.Throws<ArgumentException>(() => rope.Apply(new float[6], 12));
        Assert.Throws<ArgumentException>(() => new RopeTable(5, 10000, []));
        Assert.Throws<ArgumentException>(() => new RopeTable(4, 10000, [1]));
    }

    private static void AssertClose(double expected, double actual, double relative) =>
        Assert.True(Math.Abs(expected - actual) <= (relative * Math.Abs(expected)) + 1e-37, $"{actual} where {expected} was expected.");
}
