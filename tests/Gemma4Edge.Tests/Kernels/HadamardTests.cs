using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>The transform against its definition, and every kernel against the scalar reference, float for float.</summary>
public sealed unsafe class HadamardTests
{
    private static readonly int[] s_blocks = [32, 64, 128, 256, 512];

    public static TheoryData<string> Kernels() => [.. IHadamardKernel.All.Select(k => k.Name)];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Transform_IsTheWalshMatrix(string kernel)
    {
        foreach (int block in s_blocks)
        {
            float[] x = RandomWeights.Floats(block, block);
            float[] y = Transform(kernel, x, block);
            for (int row = 0; row < block; row++)
            {
                double sum = 0;
                for (int column = 0; column < block; column++)
                {
                    sum += int.IsOddInteger(int.PopCount(row & column)) ? -x[column] : x[column];
                }

                Assert.Equal(sum / Math.Sqrt(block), y[row], 1e-6);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Transform_IsItsOwnInverse(string kernel)
    {
        foreach (int block in s_blocks)
        {
            float[] x = RandomWeights.Floats(3 * block, block);
            float[] back = Transform(kernel, Transform(kernel, x, block), block);
            Assert.All(x.Zip(back), pair => Assert.Equal(pair.First, pair.Second, 1e-6f));
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Transform_EqualsScalar(string kernel)
    {
        foreach (int block in s_blocks)
        {
            float[] x = RandomWeights.Floats(3 * block, block, 1e3f);
            x[1] = 1e-6f;
            x[2] = 0;
            Assert.Equal(Transform("scalar", x, block), Transform(kernel, x, block));
        }
    }

    [Fact]
    public void Signs_AreTheTopBitsOfSplitMix64()
    {
        // The first outputs for seed 0: E220A839 7B1DCDAF, 6E789E6A A1B965F4, 06C45D18 8009454F, F88BB8A8 724C81EC.
        var signs = new float[4];
        SignVector.Fill(0, signs);
        Assert.Equal([-1, 1, 1, -1], signs);
    }

    private static float[] Transform(string name, float[] x, int block)
    {
        IHadamardKernel kernel = IHadamardKernel.All.First(k => k.Name == name);
        Assert.SkipUnless(kernel.IsSupported, $"This CPU has no {name}.");
        float[] y = [.. x];
        fixed (float* start = y)
        {
            kernel.Transform(start, y.Length, block);
        }

        return y;
    }
}
