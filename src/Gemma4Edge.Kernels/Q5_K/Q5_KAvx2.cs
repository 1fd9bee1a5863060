using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>Q5_K on AVX2: eight bytes of nibbles and eight of high bits widened to 32 bits and put together; w = q·scale − min in one FMA.</summary>
/// <remarks>q·scale needs 5 + 17 bits, so it is exact and the FMA rounds where the scalar reference does.</remarks>
/// <inheritdoc cref="Q5_KLayout"/>
internal readonly unsafe struct Q5_KAvx2 : IAvx2Block<Q5_KAvx2>
{
    private readonly byte* _block;
    private readonly KScales _scales;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q5_KAvx2(byte* block)
    {
        _block = block;
        _scales = new KScales(block);
    }

    public static int Columns => Q5_KLayout.Columns;

    public static int Bytes => Q5_KLayout.Bytes;

    public static Q5_KAvx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        int group = column / 32;
        var scale = Vector256.Create(_scales.Scale(group));
        var minimum = Vector256.Create(_scales.Minimum(group));
        w0 = Eight(group, 0, scale, minimum);
        w1 = Eight(group, 8, scale, minimum);
        w2 = Eight(group, 16, scale, minimum);
        w3 = Eight(group, 24, scale, minimum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<float> Eight(int group, int first, Vector256<float> scale, Vector256<float> minimum)
    {
        Vector256<int> nibbles = Avx2.ConvertToVector256Int32(_block + Q5_KLayout.Quants + (group / 2 * 32) + first);
        Vector256<int> high = Avx2.ConvertToVector256Int32(_block + Q5_KLayout.High + first);
        Vector256<int> q = ((nibbles >>> (group % 2 * 4)) & Vector256.Create(15)) | (((high >>> group) & Vector256.Create(1)) << 4);
        return Fma.MultiplySubtract(Vector256.ConvertToSingle(q), scale, minimum);
    }
}
