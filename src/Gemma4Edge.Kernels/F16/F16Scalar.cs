using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>F16: little-endian IEEE halves, one after the other.</summary>
internal readonly unsafe struct F16Scalar : IScalarBlock
{
    public static int Columns => 1;

    public static int Bytes => 2;

    public static void Decode(byte* block, float* destination) => *destination = (float)Unsafe.ReadUnaligned<Half>(block);
}
