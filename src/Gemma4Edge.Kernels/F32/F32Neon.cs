using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>F32 on NEON: the weights are the vectors.</summary>
internal readonly unsafe struct F32Neon : INeonBlock<F32Neon>
{
    private readonly float* _weights;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private F32Neon(byte* block) => _weights = (float*)block;

    public static int Columns => 16;

    public static int Bytes => 64;

    public static F32Neon Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        w0 = Vector128.Load(_weights + column);
        w1 = Vector128.Load(_weights + column + 4);
        w2 = Vector128.Load(_weights + column + 8);
        w3 = Vector128.Load(_weights + column + 12);
    }
}
