using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>F16 on AVX2: eight halves widened to 32 bits, then turned into singles by <see cref="HalfBits"/>.</summary>
internal readonly unsafe struct F16Avx2 : IAvx2Block<F16Avx2>
{
    private readonly short* _weights;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private F16Avx2(byte* block) => _weights = (short*)block;

    public static int Columns => 32;

    public static int Bytes => 64;

    public static F16Avx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        w0 = Eight(_weights + column);
        w1 = Eight(_weights + column + 8);
        w2 = Eight(_weights + column + 16);
        w3 = Eight(_weights + column + 24);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Eight(short* weights) => HalfBits.ToSingle(Avx2.ConvertToVector256Int32(weights));
}
