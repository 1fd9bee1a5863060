using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>What <see cref="GgmlInt8Neon{TDot,TBlock,TScalar}"/> needs to know of a format: how to load a block's integers.</summary>
/// <remarks>Everything is inlined into the loops: a call would spill their accumulators.</remarks>
internal unsafe interface INeonInt8Block
{
    /// <summary>Bytes per block; the scale, a half, is at 0.</summary>
    static abstract int Bytes { get; }

    /// <summary>Whether the integers are nibbles, q in [0, 15] for q − 8; otherwise they are signed bytes as they stand.</summary>
    static abstract bool AreNibbles { get; }

    /// <summary>A block's 32 integers, the first half of the columns in <paramref name="w0"/>.</summary>
    static abstract void Load(byte* block, out Vector128<sbyte> w0, out Vector128<sbyte> w1);
}
