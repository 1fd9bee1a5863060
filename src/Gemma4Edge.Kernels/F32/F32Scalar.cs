using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>F32: little-endian IEEE singles, one after the other.</summary>
internal readonly unsafe struct F32Scalar : IScalarBlock
{
    public static int Columns => 1;

    public static int Bytes => 4;

    public static void Decode(byte* block, float* destination) => *destination = Unsafe.ReadUnaligned<float>(block);
}
