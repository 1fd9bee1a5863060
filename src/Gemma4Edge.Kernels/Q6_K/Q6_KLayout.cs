namespace Gemma4Edge.Kernels;

/// <summary>Q6_K: 16 groups of 16 weights; w[i] = d · scale[i / 16] · (q[i] − 32), q in [0, 63].</summary>
/// <remarks>
/// Two halves of 128 weights; in half h, quarter k of 32 weights (k in [0, 3]), weight i:
/// <code>
/// byte   0  low     128 bytes   byte 64·h + 32·(k mod 2) + i: bits 0…3 of q, in the low nibble for k &lt; 2, else in the high one
///      128  high    64 bytes    byte 32·h + i, bits 2k and 2k + 1: bits 4 and 5 of q
///      192  scales  16 × int8
///      208  d       half        scale of the scales
///      210
/// </code>
/// </remarks>
internal static unsafe class Q6_KLayout
{
    internal const int Columns = 256;
    internal const int Bytes = 210;
    internal const int High = 128;
    internal const int Scales = 192;

    /// <summary>d.</summary>
    internal static float Scale(byte* block) => HalfBits.ReadScale(block + 208);
}
