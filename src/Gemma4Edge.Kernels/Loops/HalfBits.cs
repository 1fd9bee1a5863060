using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Half to single precision with integer operations: .NET offers no F16C and no FCVTL, and its own cast is a call.</summary>
/// <remarks>A half is s eeeee mmmmmmmmmm; moved up by 13 bits its fields stand where a single has them, with the exponent 112 too small.</remarks>
internal static unsafe class HalfBits
{
    private const uint ExponentGap = 112u << 23;
    private const uint Exponent = 31u << 23;

    /// <summary>The scale at <paramref name="half"/>, which needs no alignment. Exact for every finite value; infinity and NaN, which no encoder writes, read as ±65536 or more.</summary>
    /// <remarks>Five instructions in the middle of a loop, where a call would spill every accumulator (Q4_0 matvec in L2: 7 → 17 GB/s).</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static float ReadScale(byte* half)
    {
        const int SignAndFields = unchecked((int)0x8FFFE000);
        const float TwoTo112 = 5192296858534827628530496329220096f;
        return BitConverter.Int32BitsToSingle((Unsafe.ReadUnaligned<short>(half) << 13) & SignAndFields) * TwoTo112;
    }

    /// <summary>Eight halves, one in the lower 16 bits of each lane; the upper bits are zero. Exact for every value, infinities and NaN included.</summary>
    internal static Vector256<float> ToSingle(Vector256<uint> bits)
    {
        Vector256<uint> shifted = (bits & Vector256.Create(0x7FFFu)) << 13;
        Vector256<uint> exponent = shifted & Vector256.Create(Exponent);
        Vector256<uint> value = shifted + Vector256.Create(ExponentGap);

        // Exponent 31 (infinity, NaN) becomes 255: twice the gap.
        value += Vector256.Equals(exponent, Vector256.Create(Exponent)) & Vector256.Create(ExponentGap);

        // Exponent 0 (zero, subnormal) is m · 2⁻²⁴: written as 2⁻¹⁴ + m · 2⁻²⁴ and the 2⁻¹⁴ taken off again.
        Vector256<float> subnormal = (value + Vector256.Create(1u << 23)).AsSingle() - Vector256.Create(113u << 23).AsSingle();
        value = Vector256.ConditionalSelect(Vector256.Equals(exponent, Vector256<uint>.Zero), subnormal.AsUInt32(), value);
        return (value | ((bits & Vector256.Create(0x8000u)) << 16)).AsSingle();
    }

    /// <inheritdoc cref="ToSingle(Vector256{uint})"/>
    internal static Vector128<float> ToSingle(Vector128<uint> bits)
    {
        Vector128<uint> shifted = (bits & Vector128.Create(0x7FFFu)) << 13;
        Vector128<uint> exponent = shifted & Vector128.Create(Exponent);
        Vector128<uint> value = shifted + Vector128.Create(ExponentGap);
        value += Vector128.Equals(exponent, Vector128.Create(Exponent)) & Vector128.Create(ExponentGap);
        Vector128<float> subnormal = (value + Vector128.Create(1u << 23)).AsSingle() - Vector128.Create(113u << 23).AsSingle();
        value = Vector128.ConditionalSelect(Vector128.Equals(exponent, Vector128<uint>.Zero), subnormal.AsUInt32(), value);
        return (value | ((bits & Vector128.Create(0x8000u)) << 16)).AsSingle();
    }
}
