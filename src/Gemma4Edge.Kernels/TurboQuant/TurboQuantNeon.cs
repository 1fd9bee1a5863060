using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Panels on ARMv8.0 (Pi 4), which has no dot product: 8-bit products added up in 16 bits, then pairwise in 32.</summary>
/// <remarks>
/// <code>
///   w  [r0: c0 c1 c2 c3][r1: …] | [r2: …][r3: …]    a tile; its halves are multiplied apart
///   x  [c0 c1 c2 c3] in every lane                  four activations, broadcast
///   p  SMULL, SMLAL over four tiles: 4·63·127 = 32004 fits 16 bits; 8-bit levels: two, 2·127·127 = 32258
///   sum += SADALP(p)                                two lanes per row, joined by ADDP at the end of a group
/// </code>
/// No tail: a panel has 16 rows, a group whole steps of 32 columns; only the store is shorter.
/// </remarks>
internal sealed unsafe class TurboQuantNeon : ITurboQuantKernel
{
    private const int Step = TurboQuantLayout.StepColumns;
    private const int Quarter = 16;

    /// <inheritdoc/>
    public string Name => "neon";

    /// <inheritdoc/>
    public bool IsSupported => AdvSimd.Arm64.IsSupported;

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
                Vector128<sbyte> x0 = Broadcast(x), x1 = Broadcast(x + 4), x2 = Broadcast(x + 8), x3 = Broadcast(x + 12);
                Columns16(codes, step, 0, x0, x1, x2, x3, ref a0, ref b0);
                Columns16(codes, step + Quarter, 0, x0, x1, x2, x3, ref a1, ref b1);
                Columns16(codes, step + (2 * Quarter), 0, x0, x1, x2, x3, ref a2, ref b2);
                Columns16(codes, step + (3 * Quarter), 0, x0, x1, x2, x3, ref a3, ref b3);
                (x0, x1, x2, x3) = (Broadcast(x + 16), Broadcast(x + 20), Broadcast(x + 24), Broadcast(x + 28));
                Columns16(codes, step, 16, x0, x1, x2, x3, ref a0, ref b0);
                Columns16(codes, step + Quarter, 16, x0, x1, x2, x3, ref a1, ref b1);
                Columns16(codes, step + (2 * Quarter), 16, x0, x1, x2, x3, ref a2, ref b2);
                Columns16(codes, step + (3 * Quarter), 16, x0, x1, x2, x3, ref a3, ref b3);
                step += TCodes.StepBytes;
            }

            y0 = NeonPanel.Accumulate(scales, wide, 0, AdvSimd.Arm64.AddPairwise(a0, b0), y0);
            y1 = NeonPanel.Accumulate(scales, wide, 4, AdvSimd.Arm64.AddPairwise(a1, b1), y1);
            y2 = NeonPanel.Accumulate(scales, wide, 8, AdvSimd.Arm64.AddPairwise(a2, b2), y2);
            y3 = NeonPanel.Accumulate(scales, wide, 12, AdvSimd.Arm64.AddPairwise(a3, b3), y3);
            scales += scaleBytes;
        }

        NeonPanel.Store(product, panel, token, y0, y1, y2, y3);
    }

    /// <summary>Adds 16 columns of four rows: two lanes each of rows 0, 1 to <paramref name="low"/> and of rows 2, 3 to <paramref name="high"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Columns16<TCodes>(
        TCodes codes, byte* step, int column, Vector128<sbyte> x0, Vector128<sbyte> x1, Vector128<sbyte> x2, Vector128<sbyte> x3, ref Vector128<int> low, ref Vector128<int> high)
        where TCodes : struct, INeonCodes<TCodes>
    {
        codes.Load(step, column, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3);
        Vector128<short> upper = AdvSimd.MultiplyWideningUpper(t0, x0);
        Vector128<short> lower = AdvSimd.MultiplyWideningLower(t0.GetLower(), x0.GetLower());
        upper = AdvSimd.MultiplyWideningUpperAndAdd(upper, t1, x1);
        lower = AdvSimd.MultiplyWideningLowerAndAdd(lower, t1.GetLower(), x1.GetLower());
        if (TCodes.ProductsPerSum == 2)
        {
            high = AdvSimd.AddPairwiseWideningAndAdd(high, upper);
            low = AdvSimd.AddPairwiseWideningAndAdd(low, lower);
            upper = AdvSimd.MultiplyWideningUpper(t2, x2);
            lower = AdvSimd.MultiplyWideningLower(t2.GetLower(), x2.GetLower());
        }
        else
        {
            upper = AdvSimd.MultiplyWideningUpperAndAdd(upper, t2, x2);
            lower = AdvSimd.MultiplyWideningLowerAndAdd(lower, t2.GetLower(), x2.GetLower());
        }

        upper = AdvSimd.MultiplyWideningUpperAndAdd(upper, t3, x3);
        lower = AdvSimd.MultiplyWideningLowerAndAdd(lower, t3.GetLower(), x3.GetLower());
        high = AdvSimd.AddPairwiseWideningAndAdd(high, upper);
        low = AdvSimd.AddPairwiseWideningAndAdd(low, lower);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<sbyte> Broadcast(sbyte* x) => AdvSimd.LoadAndReplicateToVector128((int*)x).AsSByte();
}
