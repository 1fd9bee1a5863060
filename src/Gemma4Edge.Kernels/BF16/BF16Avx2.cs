using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>BF16 on AVX2: eight weights widened to 32 bits and moved to the upper half.</summary>
internal readonly unsafe struct BF16Avx2 : IAvx2Block<BF16Avx2>
{
    private readonly ushort* _weights;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private BF16Avx2(byte* block) => _weights = (ushort*)block;

    public static int Columns => 32;

    public static int Bytes => 64;

    public static BF16Avx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        w0 = Eight(_weights + column);
        w1 = Eight(_weights + column + 8);
        w2 = Eight(_weights + column + 16);
        w3 = Eight(_weights + column + 24);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Eight(ushort* weights) => (Avx2.ConvertToVector256Int32(weights) << 16).AsSingle();
}
