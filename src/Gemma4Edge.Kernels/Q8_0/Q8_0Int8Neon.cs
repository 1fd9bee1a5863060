using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Q8_0 as integers on NEON: the bytes as they stand.</summary>
/// <inheritdoc cref="Q8_0Layout"/>
internal readonly unsafe struct Q8_0Int8Neon : INeonInt8Block
{
    public static int Bytes => Q8_0Layout.Bytes;

    public static bool AreNibbles => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* block, out Vector128<sbyte> w0, out Vector128<sbyte> w1)
    {
        w0 = Vector128.Load((sbyte*)block + Q8_0Layout.Quants);
        w1 = Vector128.Load((sbyte*)block + Q8_0Layout.Quants + 16);
    }
}
