using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed unsafe class ActivationQuantizerTests
{
    [Theory]
    [InlineData(32, 32)]
    [InlineData(96, 32)]
    [InlineData(1536, 128)]
    [InlineData(1536, 1536)]
    public void Quantize_RoundsToTheNearest_AndAddsTheGroups(int columns, int group)
    {
        float[] x = EncodedMatrix.Gaussian(columns, columns, 3);
        float scale = Quantize(x, group, out sbyte[] values, out int[] sums);
        float largest = x.Max(MathF.Abs);
        Assert.Equal(largest / 127, scale);
        Assert.Equal(x.Select(value => (sbyte)MathF.Round(value * (127 / largest), MidpointRounding.ToEven)), values);
        Assert.Equal(values.Chunk(group).Select(chunk => chunk.Sum(value => value)), sums);
        Assert.Contains(values, value => Math.Abs((int)value) == 127);
    }

    [Fact]
    public void Quantize_RoundsHalvesToEven()
    {
        var x = new float[32];
        (x[0], x[1], x[2], x[3], x[4]) = (127, 0.5f, 1.5f, -2.5f, -127);
        Quantize(x, 32, out sbyte[] values, out _);
        Assert.Equal([127, 0, 2, -2, -127], values[..5]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1e-38f)]
    [InlineData(float.NaN)]
    public void Quantize_GivesZeros_WhenThereIsNothingToScale(float value)
    {
        var x = new float[32];
        x[3] = value;
        Assert.Equal(0, Quantize(x, 32, out sbyte[] values, out int[] sums));
        Assert.All(values, v => Assert.Equal(0, v));
        Assert.Equal([0], sums);
    }

    private static float Quantize(float[] x, int group, out sbyte[] values, out int[] sums)
    {
        values = new sbyte[x.Length];
        sums = new int[x.Length / group];
        fixed (sbyte* valuesStart = values)
        fixed (int* sumsStart = sums)
        {
            return ActivationQuantizer.Quantize(x, group, valuesStart, sumsStart);
        }
    }
}
