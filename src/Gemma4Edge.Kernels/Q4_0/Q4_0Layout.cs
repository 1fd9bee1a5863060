namespace Gemma4Edge.Kernels;

/// <summary>Q4_0: w[i] = d · (q[i] − 8), q in [0, 15].</summary>
/// <remarks>
/// <code>
/// byte  0  d   half           scale
///       2  q   16 bytes       byte j: low nibble q[j], high nibble q[j + 16]
///      18
/// </code>
/// </remarks>
internal static unsafe class Q4_0Layout
{
    internal const int Columns = 32;
    internal const int Bytes = 18;
    internal const int Quants = 2;

    internal static float Scale(byte* block) => HalfBits.ReadScale(block);
}
