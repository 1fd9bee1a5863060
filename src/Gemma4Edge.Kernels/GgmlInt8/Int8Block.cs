using System.Runtime.InteropServices;

namespace Gemma4Edge.Kernels;

/// <summary>32 activations of one token as 8-bit integers with their own scale: x[i] ≈ Scale · Values[i].</summary>
/// <remarks>The blocks of a product lie (Columns / 32, tokens): a block of weights meets its activations of all tokens in one piece of memory.</remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Int8Block
{
    /// <summary>Activations per block, as many as weights in a block of Q4_0 and Q8_0.</summary>
    internal const int Columns = 32;

    /// <summary>max|x| / 127; 0 where the block counts as zeros, NaN where it holds an infinity or NaN.</summary>
    public float Scale;

    /// <summary>8·Σ Values: what a product with nibbles q has too much against one with q − 8.</summary>
    public int EightSums;

    /// <summary>In [−127, 127].</summary>
    public fixed sbyte Values[Columns];
}
