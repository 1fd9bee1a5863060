using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>BF16: the upper 16 bits of little-endian IEEE singles, one after the other.</summary>
internal readonly unsafe struct BF16Scalar : IScalarBlock
{
    public static int Columns => 1;

    public static int Bytes => 2;

    public static void Decode(byte* block, float* destination) =>
        *destination = BitConverter.UInt32BitsToSingle((uint)Unsafe.ReadUnaligned<ushort>(block) << 16);
}
