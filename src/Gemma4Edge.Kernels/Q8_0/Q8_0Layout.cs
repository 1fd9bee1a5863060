namespace Gemma4Edge.Kernels;

/// <summary>Q8_0: w[i] = d · q[i].</summary>
/// <remarks>
/// <code>
/// byte  0  d   half           scale
///       2  q   32 × int8      q[i]
///      34
/// </code>
/// </remarks>
internal static unsafe class Q8_0Layout
{
    internal const int Columns = 32;
    internal const int Bytes = 34;
    internal const int Quants = 2;

    internal static float Scale(byte* block) => HalfBits.ReadScale(block);
}
