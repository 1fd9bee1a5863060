using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Half to single precision with integer operations: .NET offers no F16C and no FCVTL, and its own cast is a call.</summary>
/// <remarks>
/// A half is s eeeee mmmmmmmmmm; moved up by 13 bits its fields stand where a single has them, with the exponent 112 too
/// small. Times 2¹¹² is exact, and makes subnormals right too.
/// </remarks>
internal static unsafe class HalfBits
{
    /// <summary>How far a half's fields are moved.</summary>
    internal const byte FieldShift = 13;

    private const float TwoTo112 = 5192296858534827628530496329220096f;

    /// <summary>Clears the copies of the sign that shifting a sign-extended half leaves above the exponent.</summary>
    private const int SignAndFields = unchecked((int)0x8FFFE000);

    /// <summary>Fields of 65504 before the exponent is set right; above it are infinity and NaN.</summary>
    private const int LargestFinite = 0x7BFF << FieldShift;

    private const int InfinityBits = 0x7F800000;

    /// <summary>The scale at <paramref name="half"/>, which needs no alignment. Exact for every finite value; infinity and NaN, which no encoder writes, read as ±65536 or more.</summary>
    /// <remarks>Five instructions in the middle of a loop, where a call would spill every accumulator (Q4_0 matvec in L2 on an EPYC: 7 → 12 GB/s).</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static float ReadScale(byte* half)
    {
        return BitConverter.Int32BitsToSingle((Unsafe.ReadUnaligned<short>(half) << FieldShift) & SignAndFields) * TwoTo112;
    }

    /// <summary>Eight scales, sign-extended to 32 bits, as <see cref="ReadScale"/> reads one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<float> Scales(Vector256<int> halves) =>
        ((halves << FieldShift) & Vector256.Create(SignAndFields)).AsSingle() * Vector256.Create(TwoTo112);

    /// <summary>Four scales, sign-extended to 32 bits, as <see cref="ReadScale"/> reads one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<float> Scales(Vector128<int> halves) => WidenedScales(halves << FieldShift);

    /// <summary>Four scales, sign-extended to 32 bits and moved up by <see cref="FieldShift"/>, as <see cref="ReadScale"/> reads one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<float> WidenedScales(Vector128<int> shifted) =>
        (shifted & Vector128.Create(SignAndFields)).AsSingle() * Vector128.Create(TwoTo112);

    /// <summary>Eight halves, sign-extended to 32 bits. Exact for every value, infinities and NaN included.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<float> ToSingle(Vector256<int> halves)
    {
        Vector256<int> fields = (halves << FieldShift) & Vector256.Create(SignAndFields);
        Vector256<float> value = fields.AsSingle() * Vector256.Create(TwoTo112);
        Vector256<int> special = Vector256.GreaterThan(fields & Vector256.Create(int.MaxValue), Vector256.Create(LargestFinite)) & Vector256.Create(InfinityBits);
        return (value.AsInt32() | special).AsSingle();
    }

    /// <summary>Four halves, sign-extended to 32 bits. Exact for every value, infinities and NaN included.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<float> ToSingle(Vector128<int> halves)
    {
        Vector128<int> fields = (halves << FieldShift) & Vector128.Create(SignAndFields);
        Vector128<float> value = fields.AsSingle() * Vector128.Create(TwoTo112);
        Vector128<int> special = Vector128.GreaterThan(fields & Vector128.Create(int.MaxValue), Vector128.Create(LargestFinite)) & Vector128.Create(InfinityBits);
        return (value.AsInt32() | special).AsSingle();
    }
}
