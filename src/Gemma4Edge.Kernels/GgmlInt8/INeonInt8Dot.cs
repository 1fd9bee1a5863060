using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>The products of a block of four rows with 32 activations, by the instructions at hand.</summary>
internal interface INeonInt8Dot
{
    /// <summary>The kernel's name.</summary>
    static abstract string Name { get; }

    /// <summary>Whether this CPU has the instructions.</summary>
    static abstract bool IsSupported { get; }

    /// <summary>The exact sums of four rows, one per lane: a0·x0 + a1·x1, and so on. <paramref name="areNibbles"/>, a constant where this is inlined: every weight is in [0, 15].</summary>
    static abstract Vector128<int> Sums(
        bool areNibbles,
        Vector128<sbyte> a0, Vector128<sbyte> a1, Vector128<sbyte> b0, Vector128<sbyte> b1,
        Vector128<sbyte> c0, Vector128<sbyte> c1, Vector128<sbyte> d0, Vector128<sbyte> d1,
        Vector128<sbyte> x0, Vector128<sbyte> x1);
}

/// <summary>ARMv8.2: two SDOT a row, then three pairwise additions for four rows.</summary>
internal readonly struct NeonDotProdInt8Dot : INeonInt8Dot
{
    public static string Name => "neon-dotprod";

    public static bool IsSupported => Dp.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Sums(
        bool areNibbles,
        Vector128<sbyte> a0, Vector128<sbyte> a1, Vector128<sbyte> b0, Vector128<sbyte> b1,
        Vector128<sbyte> c0, Vector128<sbyte> c1, Vector128<sbyte> d0, Vector128<sbyte> d1,
        Vector128<sbyte> x0, Vector128<sbyte> x1)
    {
        Vector128<int> a = Dp.DotProduct(default, a0, x0), b = Dp.DotProduct(default, b0, x0);
        Vector128<int> c = Dp.DotProduct(default, c0, x0), d = Dp.DotProduct(default, d0, x0);
        a = Dp.DotProduct(a, a1, x1);
        b = Dp.DotProduct(b, b1, x1);
        c = Dp.DotProduct(c, c1, x1);
        d = Dp.DotProduct(d, d1, x1);
        return AdvSimd.Arm64.AddPairwise(AdvSimd.Arm64.AddPairwise(a, b), AdvSimd.Arm64.AddPairwise(c, d));
    }
}

/// <summary>ARMv8.0: products added up in 16 bits: all of a row's nibbles to four lanes, 8·15·127 = 15240, of bytes two products, 2·128·127 = 32512.</summary>
internal readonly struct NeonInt8Dot : INeonInt8Dot
{
    public static string Name => "neon";

    public static bool IsSupported => AdvSimd.Arm64.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Sums(
        bool areNibbles,
        Vector128<sbyte> a0, Vector128<sbyte> a1, Vector128<sbyte> b0, Vector128<sbyte> b1,
        Vector128<sbyte> c0, Vector128<sbyte> c1, Vector128<sbyte> d0, Vector128<sbyte> d1,
        Vector128<sbyte> x0, Vector128<sbyte> x1)
    {
        if (areNibbles)
        {
            // Pairwise twice: every lane holds 16 products of one row, 16·15·127 = 30480.
            Vector128<short> ab = AdvSimd.Arm64.AddPairwise(Nibbles(a0, a1, x0, x1), Nibbles(b0, b1, x0, x1));
            Vector128<short> cd = AdvSimd.Arm64.AddPairwise(Nibbles(c0, c1, x0, x1), Nibbles(d0, d1, x0, x1));
            return AdvSimd.AddPairwiseWidening(AdvSimd.Arm64.AddPairwise(ab, cd));
        }

        return AdvSimd.Arm64.AddPairwise(
            AdvSimd.Arm64.AddPairwise(Bytes(a0, a1, x0, x1), Bytes(b0, b1, x0, x1)),
            AdvSimd.Arm64.AddPairwise(Bytes(c0, c1, x0, x1), Bytes(d0, d1, x0, x1)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<short> Nibbles(Vector128<sbyte> w0, Vector128<sbyte> w1, Vector128<sbyte> x0, Vector128<sbyte> x1)
    {
        Vector128<short> sum = AdvSimd.MultiplyWideningLower(w0.GetLower(), x0.GetLower());
        sum = AdvSimd.MultiplyWideningUpperAndAdd(sum, w0, x0);
        sum = AdvSimd.MultiplyWideningLowerAndAdd(sum, w1.GetLower(), x1.GetLower());
        return AdvSimd.MultiplyWideningUpperAndAdd(sum, w1, x1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Bytes(Vector128<sbyte> w0, Vector128<sbyte> w1, Vector128<sbyte> x0, Vector128<sbyte> x1)
    {
        Vector128<short> lower = AdvSimd.MultiplyWideningLower(w0.GetLower(), x0.GetLower());
        Vector128<short> upper = AdvSimd.MultiplyWideningUpper(w0, x0);
        lower = AdvSimd.MultiplyWideningLowerAndAdd(lower, w1.GetLower(), x1.GetLower());
        upper = AdvSimd.MultiplyWideningUpperAndAdd(upper, w1, x1);
        return AdvSimd.AddPairwiseWideningAndAdd(AdvSimd.AddPairwiseWidening(lower), upper);
    }
}
