using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>The stages 1, 2 and 4 inside a vector of 8, the rest two at a time between vectors.</summary>
/// <remarks>
/// Inside a vector a butterfly is partner + (±1)·own: [a b] → [b a] + [a −b]. The product is exact, so the sum is rounded
/// as a + b and a − b are. No tail: a block is a whole number of vectors.
/// </remarks>
internal sealed unsafe class HadamardAvx2 : IHadamardKernel
{
    private const int Lanes = 8;

    /// <inheritdoc/>
    public string Name => "avx2";

    /// <inheritdoc/>
    public bool IsSupported => Avx.IsSupported;

    /// <inheritdoc/>
    public void Transform(float* x, int count, int block)
    {
        WithinVectors(x, count, 1 / MathF.Sqrt(block));
        for (float* end = x + count; x < end; x += block)
        {
            int h = Lanes;
            for (; 4 * h <= block; h *= 4)
            {
                TwoStages(x, block, h);
            }

            if (h < block)
            {
                LastStage(x, h);
            }
        }
    }

    /// <summary>The stages h and 2h.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void TwoStages(float* x, int block, int h)
    {
        for (float* end = x + block; x < end; x += 3 * h)
        {
            for (float* group = x + h; x < group; x += Lanes)
            {
                Vector256<float> a = Vector256.Load(x), b = Vector256.Load(x + h), c = Vector256.Load(x + (2 * h)), d = Vector256.Load(x + (3 * h));
                (a, b) = (a + b, a - b);
                (c, d) = (c + d, c - d);
                (a + c).Store(x);
                (b + d).Store(x + h);
                (a - c).Store(x + (2 * h));
                (b - d).Store(x + (3 * h));
            }
        }
    }

    /// <summary>The stage h = B/2, where the stages above the vectors are odd in number.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void LastStage(float* x, int h)
    {
        for (float* end = x + h; x < end; x += Lanes)
        {
            Vector256<float> a = Vector256.Load(x), b = Vector256.Load(x + h);
            (a + b).Store(x);
            (a - b).Store(x + h);
        }
    }

    /// <summary>Scales, then the stages 1, 2 and 4.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void WithinVectors(float* x, int count, float scale)
    {
        const byte Neighbours = 0b10_11_00_01, Pairs = 0b01_00_11_10, Halves = 0b0000_0001;
        Vector256<float> signs1 = Vector256.Create(1f, -1, 1, -1, 1, -1, 1, -1);
        Vector256<float> signs2 = Vector256.Create(1f, 1, -1, -1, 1, 1, -1, -1);
        Vector256<float> signs4 = Vector256.Create(1f, 1, 1, 1, -1, -1, -1, -1);
        for (float* end = x + count; x < end; x += Lanes)
        {
            Vector256<float> v = Vector256.Load(x) * Vector256.Create(scale);
            v = Avx.Permute(v, Neighbours) + (v * signs1);
            v = Avx.Permute(v, Pairs) + (v * signs2);
            v = Avx.Permute2x128(v, v, Halves) + (v * signs4);
            v.Store(x);
        }
    }
}
