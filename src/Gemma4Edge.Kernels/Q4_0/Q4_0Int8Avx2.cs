using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Q4_0 as integers on AVX2: the nibbles stay unsigned, q instead of q − 8; 8·Σx comes off the sum.</summary>
/// <inheritdoc cref="Q4_0Layout"/>
internal readonly unsafe struct Q4_0Int8Avx2 : IAvx2Int8Block
{
    public static int Bytes => Q4_0Layout.Bytes;

    public static int Quants => Q4_0Layout.Quants;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(
        byte* quants, long stride,
        out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3,
        out Vector256<byte> t4, out Vector256<byte> t5, out Vector256<byte> t6, out Vector256<byte> t7)
    {
        Avx2Int8.LoadRows(quants, stride, out Vector256<byte> c0, out Vector256<byte> c1, out Vector256<byte> c2, out Vector256<byte> c3);
        (t0, t4) = (Avx2Codes.Low(c0), Avx2Codes.High(c0));
        (t1, t5) = (Avx2Codes.Low(c1), Avx2Codes.High(c1));
        (t2, t6) = (Avx2Codes.Low(c2), Avx2Codes.High(c2));
        (t3, t7) = (Avx2Codes.Low(c3), Avx2Codes.High(c3));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Sums<TDot>(
        Vector256<byte> t0, Vector256<byte> t1, Vector256<byte> t2, Vector256<byte> t3,
        Vector256<byte> t4, Vector256<byte> t5, Vector256<byte> t6, Vector256<byte> t7, Int8Block* x)
        where TDot : struct, IAvx2Dot =>
        TDot.SumNibbles(t0, t1, t2, t3, t4, t5, t6, t7, x->Values) - Vector256.Create(x->EightSums);
}
