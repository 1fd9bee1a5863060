using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>What <see cref="GgmlInt8Avx2{TDot,TBlock,TScalar}"/> needs to know of a format: how to load a block of eight rows, and how to multiply it.</summary>
/// <remarks>Everything is inlined into the loops: a call would spill their accumulators.</remarks>
internal unsafe interface IAvx2Int8Block
{
    /// <summary>Bytes per block.</summary>
    static abstract int Bytes { get; }

    /// <summary>Offset of the quants; the scale, a half, is at 0.</summary>
    static abstract int Quants { get; }

    /// <summary>A block of eight rows, the first row's at <paramref name="quants"/>, rows <paramref name="stride"/> bytes apart. Tile k: the columns 4k … 4k + 3, rows in the lanes.</summary>
    static abstract void Load(
        byte* quants, long stride,
        out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3,
        out Vector256<byte> t4, out Vector256<byte> t5, out Vector256<byte> t6, out Vector256<byte> t7);

    /// <summary>The exact sums of a block's products with 32 activations, one per row.</summary>
    static abstract Vector256<int> Sums<TDot>(
        Vector256<byte> t0, Vector256<byte> t1, Vector256<byte> t2, Vector256<byte> t3,
        Vector256<byte> t4, Vector256<byte> t5, Vector256<byte> t6, Vector256<byte> t7, Int8Block* x)
        where TDot : struct, IAvx2Dot;
}

/// <summary>What the formats share.</summary>
internal static unsafe class Avx2Int8
{
    /// <summary>16 bytes of each of eight rows: c[k] holds bytes 4k … 4k + 3 of every row.</summary>
    /// <remarks>
    /// <code>
    ///   loads    [r0: d0 d1 d2 d3 | r4: d0 d1 d2 d3] …      four vectors, d = 4 bytes
    ///   unpack   [d0: r0 r1, d1: r0 r1 | r4 r5 …]           by 32 bits, then by 64
    ///   c[0]     [d0: r0 r1 r2 r3 | r4 r5 r6 r7]
    /// </code>
    /// </remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void LoadRows(byte* bytes, long stride, out Vector256<byte> c0, out Vector256<byte> c1, out Vector256<byte> c2, out Vector256<byte> c3)
    {
        byte* lower = bytes, upper = bytes + (4 * stride);
        Vector256<int> r0 = Pair(lower, upper), r1 = Pair(lower + stride, upper + stride);
        Vector256<int> r2 = Pair(lower + (2 * stride), upper + (2 * stride)), r3 = Pair(lower + (3 * stride), upper + (3 * stride));
        Vector256<long> low01 = Avx2.UnpackLow(r0, r1).AsInt64(), low23 = Avx2.UnpackLow(r2, r3).AsInt64();
        Vector256<long> high01 = Avx2.UnpackHigh(r0, r1).AsInt64(), high23 = Avx2.UnpackHigh(r2, r3).AsInt64();
        c0 = Avx2.UnpackLow(low01, low23).AsByte();
        c1 = Avx2.UnpackHigh(low01, low23).AsByte();
        c2 = Avx2.UnpackLow(high01, high23).AsByte();
        c3 = Avx2.UnpackHigh(high01, high23).AsByte();
    }

    /// <summary>The halves at eight addresses <paramref name="stride"/> bytes apart, as <see cref="HalfBits.ReadScale"/> reads one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<float> LoadScales(byte* half, long stride)
    {
        byte* upper = half + (4 * stride);
        Vector128<short> halves = Vector128.Create(
            Half(half), Half(half + stride), Half(half + (2 * stride)), Half(half + (3 * stride)),
            Half(upper), Half(upper + stride), Half(upper + (2 * stride)), Half(upper + (3 * stride)));
        return HalfBits.Scales(Avx2.ConvertToVector256Int32(halves));
    }

    /// <summary>Four activations in every lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<sbyte> Broadcast(sbyte* x) => Vector256.Create(*(int*)x).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Pair(byte* lower, byte* upper) => Vector256.Create(Vector128.Load(lower), Vector128.Load(upper)).AsInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static short Half(byte* half) => Unsafe.ReadUnaligned<short>(half);
}
