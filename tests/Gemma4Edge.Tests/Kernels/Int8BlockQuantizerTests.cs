using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed unsafe class Int8BlockQuantizerTests
{
    [Theory]
    [InlineData(1, 32)]
    [InlineData(1, 1536)]
    [InlineData(7, 96)]
    public void Quantize_GivesEachBlockItsScale_TokensSideBySide(int tokens, int columns)
    {
        float[] x = EncodedMatrix.Gaussian(tokens * columns, columns, 3);
        Array.Clear(x, 0, 32);
        using var pool = new WorkerPool(2);
        fixed (float* start = x)
        {
            Int8Block* blocks = new Int8BlockQuantizer(pool).Quantize(start, tokens, columns);
            for (int block = 0; block < columns / 32; block++)
            {
                for (int token = 0; token < tokens; token++)
                {
                    ReadOnlySpan<float> part = x.AsSpan((token * columns) + (block * 32), 32);
                    Int8Block quantized = blocks[(block * tokens) + token];
                    float largest = MathF.Abs(System.Numerics.Tensors.TensorPrimitives.MaxMagnitude(part));
                    Assert.Equal(largest / 127, quantized.Scale);
                    int sum = 0;
                    for (int i = 0; i < 32; i++)
                    {
                        Assert.Equal(largest == 0 ? 0 : MathF.Round(part[i] * (127 / largest), MidpointRounding.ToEven), quantized.Values[i]);
                        sum += quantized.Values[i];
                    }

                    Assert.Equal(8 * sum, quantized.EightSums);
                }
            }
        }
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1e-38f, 0)]
    [InlineData(-3e38f, 3e38f / 127)]
    [InlineData(float.NaN, float.NaN)]
    [InlineData(float.NegativeInfinity, float.NaN)]
    public void Quantize_Scales_AtTheExtremes(float value, float scale)
    {
        var x = new float[32];
        x[17] = value;
        Int8Block block = default;
        fixed (float* start = x)
        {
            Int8BlockQuantizer.Quantize(start, &block);
        }

        Assert.Equal(scale, block.Scale);
        Assert.Equal(scale > 0 ? -127 : 0, block.Values[17]);
        Assert.Equal(scale > 0 ? -8 * 127 : 0, block.EightSums);
    }
}
