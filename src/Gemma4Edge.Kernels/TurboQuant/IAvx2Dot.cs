using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>The dot product of four bytes in each 32-bit lane, by the instructions at hand.</summary>
internal interface IAvx2Dot
{
    /// <summary>The kernel's name.</summary>
    static abstract string Name { get; }

    /// <summary>Whether this CPU has the instructions.</summary>
    static abstract bool IsSupported { get; }

    /// <summary>sum[lane] + Σ w·x over the lane's four bytes. w·x + w·x of neighbours must fit 16 bits.</summary>
    static abstract Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x);
}

/// <summary>Two steps over 16 bits: (level + 64)·127 twice is at most 2·127·127 = 32258, so nothing saturates.</summary>
internal readonly struct Avx2Dot : IAvx2Dot
{
    public static string Name => "avx2";

    public static bool IsSupported => Avx2.IsSupported && Fma.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x) =>
        sum + Avx2.MultiplyAddAdjacent(Avx2.MultiplyAddAdjacent(w, x), Vector256.Create((short)1));
}

/// <summary>One instruction.</summary>
internal readonly struct AvxVnniDot : IAvx2Dot
{
    public static string Name => "avx-vnni";

    public static bool IsSupported => AvxVnni.IsSupported && Avx2Dot.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Add(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x) => AvxVnni.MultiplyWideningAndAdd(sum, w, x);
}
