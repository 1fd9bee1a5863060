using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>Q8_0 on AVX2: eight bytes widened to 32 bits, to floats, times d.</summary>
/// <inheritdoc cref="Q8_0Layout"/>
internal readonly unsafe struct Q8_0Avx2 : IAvx2Block<Q8_0Avx2>
{
    private readonly sbyte* _quants;
    private readonly Vector256<float> _scale;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q8_0Avx2(byte* block)
    {
        _quants = (sbyte*)block + Q8_0Layout.Quants;
        _scale = Vector256.Create(Q8_0Layout.Scale(block));
    }

    public static int Columns => Q8_0Layout.Columns;

    public static int Bytes => Q8_0Layout.Bytes;

    public static Q8_0Avx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        w0 = Eight(_quants);
        w1 = Eight(_quants + 8);
        w2 = Eight(_quants + 16);
        w3 = Eight(_quants + 24);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<float> Eight(sbyte* quants) => Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(quants)) * _scale;
}
