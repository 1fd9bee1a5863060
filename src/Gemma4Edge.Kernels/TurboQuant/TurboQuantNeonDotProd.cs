using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Panels on ARMv8.2 with dot product (Pi 5, phones): 4 rows in the lanes of a register, four columns in the bytes of a lane.</summary>
/// <remarks>
/// <code>
///   w  [r0: c0 c1 c2 c3][r1: …][r2: …][r3: …]   a tile, signed levels
///   x  16 activations                           SDOT by lane k takes columns 4k … 4k+3 for all four rows
///   sum[r] += Σ w·x                             4 quarters of 4 rows, even and odd tiles: 8 chains
/// </code>
/// Sums of 32 bits hold any row: 127·127·2¹⁶ &lt; 2³¹. No tail: a panel has 16 rows, a group whole steps of 32 columns; only the store is shorter.
/// </remarks>
internal sealed unsafe class TurboQuantNeonDotProd : ITurboQuantKernel
{
    private const int Step = TurboQuantLayout.StepColumns;
    private const int Quarter = 16;

    /// <inheritdoc/>
    public string Name => "neon-dotprod";

    /// <inheritdoc/>
    public bool IsSupported => Dp.IsSupported;

    /// <inheritdoc/>
    public void Multiply(in PanelProduct product, int first, int count)
    {
        switch (product.Bits)
        {
            case 2: Multiply<NeonCodes2>(product, first, count); break;
            case 3: Multiply<NeonCodes3>(product, first, count); break;
            case 4: Multiply<NeonCodes4>(product, first, count); break;
            default: Multiply<NeonCodes8>(product, first, count); break;
        }
    }

    private static void Multiply<TCodes>(in PanelProduct product, int first, int count)
        where TCodes : struct, INeonCodes<TCodes>
    {
        for (int panel = first; panel < first + count; panel++)
        {
            for (int token = 0; token < product.Tokens; token++)
            {
                MatVec<TCodes>(product, panel, token);
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void MatVec<TCodes>(in PanelProduct product, int panel, int token)
        where TCodes : struct, INeonCodes<TCodes>
    {
        TCodes codes = TCodes.Open(product.Levels);
        byte* step = product.Panels + (panel * product.PanelBytes);
        byte* scales = step + product.ScaleOffset;
        sbyte* x = product.X.Values + ((long)token * product.X.Stride);
        sbyte* end = x + product.Columns;
        int group = product.Group;
        bool wide = product.WideScales;
        int scaleBytes = NeonPanel.ScaleBytes(product);
        Vector128<float> y0 = default, y1 = default, y2 = default, y3 = default;
        while (x < end)
        {
            Vector128<int> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            for (sbyte* groupEnd = x + group; x < groupEnd; x += Step)
            {
                Vector128<sbyte> x0 = Vector128.Load(x), x1 = Vector128.Load(x + 16);
                Columns16(codes, step, 0, x0, ref a0, ref b0);
                Columns16(codes, step + Quarter, 0, x0, ref a1, ref b1);
                Columns16(codes, step + (2 * Quarter), 0, x0, ref a2, ref b2);
                Columns16(codes, step + (3 * Quarter), 0, x0, ref a3, ref b3);
                Columns16(codes, step, 16, x1, ref a0, ref b0);
                Columns16(codes, step + Quarter, 16, x1, ref a1, ref b1);
                Columns16(codes, step + (2 * Quarter), 16, x1, ref a2, ref b2);
                Columns16(codes, step + (3 * Quarter), 16, x1, ref a3, ref b3);
                step += TCodes.StepBytes;
            }

            y0 = NeonPanel.Accumulate(scales, wide, 0, a0 + b0, y0);
            y1 = NeonPanel.Accumulate(scales, wide, 4, a1 + b1, y1);
            y2 = NeonPanel.Accumulate(scales, wide, 8, a2 + b2, y2);
            y3 = NeonPanel.Accumulate(scales, wide, 12, a3 + b3, y3);
            scales += scaleBytes;
        }

        NeonPanel.Store(product, panel, token, y0, y1, y2, y3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Columns16<TCodes>(TCodes codes, byte* step, int column, Vector128<sbyte> x, ref Vector128<int> even, ref Vector128<int> odd)
        where TCodes : struct, INeonCodes<TCodes>
    {
        codes.Load(step, column, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3);
        even = Dp.DotProductBySelectedQuadruplet(even, t0, x, 0);
        odd = Dp.DotProductBySelectedQuadruplet(odd, t1, x, 1);
        even = Dp.DotProductBySelectedQuadruplet(even, t2, x, 2);
        odd = Dp.DotProductBySelectedQuadruplet(odd, t3, x, 3);
    }
}
