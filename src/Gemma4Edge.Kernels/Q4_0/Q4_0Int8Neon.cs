using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>Q4_0 as integers on NEON: low and high nibbles, unsigned.</summary>
/// <inheritdoc cref="Q4_0Layout"/>
internal readonly unsafe struct Q4_0Int8Neon : INeonInt8Block
{
    public static int Bytes => Q4_0Layout.Bytes;

    public static bool AreNibbles => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(byte* block, out Vector128<sbyte> w0, out Vector128<sbyte> w1)
    {
        Vector128<byte> quants = Vector128.Load(block + Q4_0Layout.Quants);
        w0 = (quants & Vector128.Create((byte)15)).AsSByte();
        w1 = (quants >>> 4).AsSByte();
    }
}
