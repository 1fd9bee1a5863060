using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>The dot product of four bytes in each 32-bit lane, by the instructions at hand.</summary>
internal unsafe interface IAvx2Dot
{
    /// <summary>The kernel's name.</summary>
    static abstract string Name { get; }

    /// <summary>Whether this CPU has the instructions.</summary>
    static abstract bool IsSupported { get; }

    /// <summary>sum[lane] + Σ w·x over the lane's four bytes. w·x + w·x of neighbours must fit 16 bits.</summary>
    static abstract Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x);

    /// <summary>Σ w·x over 32 bytes in each lane: w[k] with the four activations at <paramref name="x"/> + 4k. w is at most 15.</summary>
    static abstract Vector256<int> SumNibbles(
        Vector256<byte> w0, Vector256<byte> w1, Vector256<byte> w2, Vector256<byte> w3,
        Vector256<byte> w4, Vector256<byte> w5, Vector256<byte> w6, Vector256<byte> w7, sbyte* x);
}

/// <summary>Two steps over 16 bits: (level + 64)·127 twice is at most 2·127·127 = 32258, so nothing saturates. Nibbles stay there for longer: 16·15·127 = 30480.</summary>
internal readonly unsafe struct Avx2Dot : IAvx2Dot
{
    public static string Name => "avx2";

    public static bool IsSupported => Avx2.IsSupported && Fma.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x) =>
        sum + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(w, x), Vector256.Create((short)1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> SumNibbles(
        Vector256<byte> w0, Vector256<byte> w1, Vector256<byte> w2, Vector256<byte> w3,
        Vector256<byte> w4, Vector256<byte> w5, Vector256<byte> w6, Vector256<byte> w7, sbyte* x)
    {
        Vector256<short> even = Pairs(w0, x), odd = Pairs(w1, x + 4);
        even += Pairs(w2, x + 8);
        odd += Pairs(w3, x + 12);
        even += Pairs(w4, x + 16);
        odd += Pairs(w5, x + 20);
        even += Pairs(w6, x + 24);
        odd += Pairs(w7, x + 28);
        return Avx2.MultiplyAddAdjacent(even + odd, Vector256.Create((short)1));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Pairs(Vector256<byte> w, sbyte* x) => Avx2.MultiplyAddAdjacent(w, Vector256.Create(*(int*)x).AsSByte());
}

/// <summary>One instruction.</summary>
internal readonly unsafe struct AvxVnniDot : IAvx2Dot
{
    public static string Name => "avx-vnni";

    public static bool IsSupported => AvxVnni.IsSupported && Avx2Dot.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x) => AvxVnni.MultiplyWideningAndAdd(sum, w, x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> SumNibbles(
        Vector256<byte> w0, Vector256<byte> w1, Vector256<byte> w2, Vector256<byte> w3,
        Vector256<byte> w4, Vector256<byte> w5, Vector256<byte> w6, Vector256<byte> w7, sbyte* x)
    {
        Vector256<int> even = Add(default, w0, Broadcast(x)), odd = Add(default, w1, Broadcast(x + 4));
        even = Add(even, w2, Broadcast(x + 8));
        odd = Add(odd, w3, Broadcast(x + 12));
        even = Add(even, w4, Broadcast(x + 16));
        odd = Add(odd, w5, Broadcast(x + 20));
        even = Add(even, w6, Broadcast(x + 24));
        odd = Add(odd, w7, Broadcast(x + 28));
        return even + odd;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<sbyte> Broadcast(sbyte* x) => Vector256.Create(*(int*)x).AsSByte();
}
