using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>Q6_K on AVX2: eight bytes of nibbles and eight of high pairs widened to 32 bits and put together; w = (q − 32)·scale.</summary>
/// <inheritdoc cref="Q6_KLayout"/>
internal readonly unsafe struct Q6_KAvx2 : IAvx2Block<Q6_KAvx2>
{
    private readonly byte* _block;
    private readonly float _d;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Q6_KAvx2(byte* block)
    {
        _block = block;
        _d = Q6_KLayout.Scale(block);
    }

    public static int Columns => Q6_KLayout.Columns;

    public static int Bytes => Q6_KLayout.Bytes;

    public static Q6_KAvx2 Open(byte* block) => new(block);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(int column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3)
    {
        sbyte* scales = (sbyte*)_block + Q6_KLayout.Scales + (column / 16);
        var first = Vector256.Create(_d * scales[0]);
        var second = Vector256.Create(_d * scales[1]);
        w0 = Eight(column, 0) * first;
        w1 = Eight(column, 8) * first;
        w2 = Eight(column, 16) * second;
        w3 = Eight(column, 24) * second;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector256<float> Eight(int column, int first)
    {
        int half = column / 128, quarter = column / 32 % 4;
        Vector256<int> nibbles = Avx2.ConvertToVector256Int32(_block + (64 * half) + (quarter % 2 * 32) + first);
        Vector256<int> high = Avx2.ConvertToVector256Int32(_block + Q6_KLayout.High + (32 * half) + first);
        Vector256<int> q = ((nibbles >>> (quarter / 2 * 4)) & Vector256.Create(15)) | (((high >>> (2 * quarter)) & Vector256.Create(3)) << 4);
        return Vector256.ConvertToSingle(q - Vector256.Create(32));
    }
}
