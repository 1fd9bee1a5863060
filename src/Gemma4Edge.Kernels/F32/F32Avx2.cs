using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>F32 on AVX2: the weights are the vectors.</summary>
internal readonly unsafe struct F32Avx2 : IAvx2Block<F32Avx2>
{
    private readonly float* _weights;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private F32Avx2(byte* block) => _weights = (float*)block;

    public static int Columns => 32;

    public static int Bytes => 128;

    public static F32Avx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        w0 = Vector256.Load(_weights + column);
        w1 = Vector256.Load(_weights + column + 8);
        w2 = Vector256.Load(_weights + column + 16);
        w3 = Vector256.Load(_weights + column + 24);
    }
}
