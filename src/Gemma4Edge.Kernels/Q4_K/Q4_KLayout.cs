using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>Q4_K: 8 groups of 32 weights; w[g, i] = d · scale[g] · q[g, i] − dmin · min[g], q in [0, 15], scale and min in [0, 63].</summary>
/// <remarks>
/// <code>
/// byte  0  d       half       scale of the scales
///       2  dmin    half       scale of the minima
///       4  scales  12 bytes   see <see cref="KScales"/>
///      16  q       128 bytes  32 bytes per pair of groups; byte i: low nibble q[2p, i], high nibble q[2p + 1, i]
///     144
/// </code>
/// </remarks>
internal static class Q4_KLayout
{
    internal const int Columns = 256;
    internal const int Bytes = 144;
    internal const int Quants = 16;
}

/// <summary>The first 16 bytes of a Q4_K or Q5_K block, opened: what its 8 groups of 32 weights are scaled by.</summary>
/// <remarks>
/// 6-bit numbers in 12 bytes b:
/// <code>
/// g &lt; 4:  scale[g] = b[g] &amp; 63                              min[g] = b[g + 4] &amp; 63
/// g ≥ 4:  scale[g] = b[g + 4] &amp; 15 | b[g − 4] &gt;&gt; 6 &lt;&lt; 4     min[g] = b[g + 4] &gt;&gt; 4 | b[g] &gt;&gt; 6 &lt;&lt; 4
/// </code>
/// </remarks>
internal readonly unsafe struct KScales
{
    private readonly float _d;
    private readonly float _dmin;
    private readonly ulong _scales;
    private readonly ulong _minima;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal KScales(byte* block)
    {
        _d = HalfBits.ReadScale(block);
        _dmin = HalfBits.ReadScale(block + 2);

        // Four groups at a time, a byte each.
        uint b0 = Unsafe.ReadUnaligned<uint>(block + 4);
        uint b4 = Unsafe.ReadUnaligned<uint>(block + 8);
        uint b8 = Unsafe.ReadUnaligned<uint>(block + 12);
        _scales = (b0 & 0x3F3F3F3F) | ((ulong)((b8 & 0x0F0F0F0F) | ((b0 >> 2) & 0x30303030)) << 32);
        _minima = (b4 & 0x3F3F3F3F) | ((ulong)(((b8 >> 4) & 0x0F0F0F0F) | ((b4 >> 2) & 0x30303030)) << 32);
    }

    /// <summary>d · scale[g]. Exact: 11 + 6 bits.</summary>
    internal float Scale(int group) => _d * (byte)(_scales >> (8 * group));

    /// <summary>dmin · min[g]. Exact: 11 + 6 bits.</summary>
    internal float Minimum(int group) => _dmin * (byte)(_minima >> (8 * group));
}
