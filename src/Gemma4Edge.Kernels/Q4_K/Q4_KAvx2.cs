using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>Q4_K on AVX2: eight bytes widened to 32 bits, the group's nibble shifted down; w = q·scale − min in one FMA.</summary>
/// <remarks>q·scale needs 4 + 17 bits, so it is exact and the FMA rounds where the scalar reference does.</remarks>
/// <inheritdoc cref="Q4_KLayout"/>
internal readonly unsafe struct Q4_KAvx2 : IAvx2Block<Q4_KAvx2>
{
    private readonly byte* _block;
    private readonly KScales _scales;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q4_KAvx2(byte* block)
    {
        _block = block;
        _scales = new KScales(block);
    }

    public static int Columns => Q4_KLayout.Columns;

    public static int Bytes => Q4_KLayout.Bytes;

    public static Q4_KAvx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        int group = column / 32;
        byte* quants = _block + Q4_KLayout.Quants + (group / 2 * 32);
        int shift = group % 2 * 4;
        var scale = Vector256.Create(_scales.Scale(group));
        var minimum = Vector256.Create(_scales.Minimum(group));
        w0 = Eight(quants, shift, scale, minimum);
        w1 = Eight(quants + 8, shift, scale, minimum);
        w2 = Eight(quants + 16, shift, scale, minimum);
        w3 = Eight(quants + 24, shift, scale, minimum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Eight(byte* quants, int shift, Vector256<float> scale, Vector256<float> minimum)
    {
        Vector256<int> q = (Avx2.ConvertToVector256Int32(quants) >>> shift) & Vector256.Create(15);
        return Fma.MultiplySubtract(Vector256.ConvertToSingle(q), scale, minimum);
    }
}
