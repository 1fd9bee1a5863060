using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Half to single precision with integer operations: .NET offers no F16C and no FCVTL.</summary>
/// <remarks>
/// A half is s eeeee mmmmmmmmmm; moved up by 13 bits its fields stand where a single has them, with the exponent 112 too small.
/// Exact for every value, subnormals, infinities and NaN included.
/// </remarks>
internal static unsafe class HalfBits
{
    private const uint ExponentGap = 112u << 23;
    private const uint Exponent = 31u << 23;

    /// <summary>The half at <paramref name="half"/>, which needs no alignment.</summary>
    internal static float Read(byte* half) => (float)Unsafe.ReadUnaligned<Half>(half);

    /// <summary>Eight halves, one in the lower 16 bits of each lane; the upper bits are zero.</summary>
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
