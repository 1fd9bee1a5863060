namespace Gemma4Edge.Kernels;

/// <summary>Q5_K: 8 groups of 32 weights; w[g, i] = d · scale[g] · q[g, i] − dmin · min[g], q in [0, 31], scale and min in [0, 63].</summary>
/// <remarks>
/// <code>
/// byte  0  d       half       scale of the scales
///       2  dmin    half       scale of the minima
///       4  scales  12 bytes   see <see cref="KScales"/>
///      16  high    32 bytes   byte i, bit g: bit 4 of q[g, i]
///      48  q       128 bytes  32 bytes per pair of groups; byte i: low nibble bits 0…3 of q[2p, i], high nibble of q[2p + 1, i]
///     176
/// </code>
/// </remarks>
internal static class Q5_KLayout
{
    internal const int Columns = 256;
    internal const int Bytes = 176;
    internal const int High = 16;
    internal const int Quants = 48;
}
