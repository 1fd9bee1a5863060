using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>Q8_0 as integers on AVX2: |q|·(±x), exact for |q| ≤ 128 and |x| ≤ 127: neighbours add up to 2·128·127 = 32512, which fits 16 bits.</summary>
/// <inheritdoc cref="Q8_0Layout"/>
internal readonly unsafe struct Q8_0Int8Avx2 : IAvx2Int8Block
{
    public static int Bytes => Q8_0Layout.Bytes;

    public static int Quants => Q8_0Layout.Quants;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(
        byte* quants, long stride,
        out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3,
        out Vector256<byte> t4, out Vector256<byte> t5, out Vector256<byte> t6, out Vector256<byte> t7)
    {
        Avx2Int8.LoadRows(quants, stride, out t0, out t1, out t2, out t3);
        Avx2Int8.LoadRows(quants + 16, stride, out t4, out t5, out t6, out t7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Sums<TDot>(
        Vector256<byte> t0, Vector256<byte> t1, Vector256<byte> t2, Vector256<byte> t3,
        Vector256<byte> t4, Vector256<byte> t5, Vector256<byte> t6, Vector256<byte> t7, Int8Block* x)
        where TDot : struct, IAvx2Dot
    {
        sbyte* values = x->Values;
        Vector256<int> even = Add<TDot>(default, t0, values), odd = Add<TDot>(default, t1, values + 4);
        even = Add<TDot>(even, t2, values + 8);
        odd = Add<TDot>(odd, t3, values + 12);
        even = Add<TDot>(even, t4, values + 16);
        odd = Add<TDot>(odd, t5, values + 20);
        even = Add<TDot>(even, t6, values + 24);
        odd = Add<TDot>(odd, t7, values + 28);
        return even + odd;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Add<TDot>(Vector256<int> sum, Vector256<byte> w, sbyte* x)
        where TDot : struct, IAvx2Dot =>
        TDot.Add(sum, Avx2.Abs(w.AsSByte()), Avx2.Sign(Avx2Int8.Broadcast(x), w.AsSByte()));
}
