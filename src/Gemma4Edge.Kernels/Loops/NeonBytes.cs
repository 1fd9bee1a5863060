using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Sixteen signed bytes to floats: what every quantized format ends in on NEON.</summary>
internal static class NeonBytes
{
    /// <summary>w0 holds the first four. Exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void ToSingle(Vector128<sbyte> bytes, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3)
    {
        Vector128<short> upper = AdvSimd.SignExtendWideningUpper(bytes);
        Vector128<short> lower = AdvSimd.SignExtendWideningLower(bytes.GetLower());
        w3 = AdvSimd.ConvertToSingle(AdvSimd.SignExtendWideningUpper(upper));
        w2 = AdvSimd.ConvertToSingle(AdvSimd.SignExtendWideningLower(upper.GetLower()));
        w1 = AdvSimd.ConvertToSingle(AdvSimd.SignExtendWideningUpper(lower));
        w0 = AdvSimd.ConvertToSingle(AdvSimd.SignExtendWideningLower(lower.GetLower()));
    }
}
