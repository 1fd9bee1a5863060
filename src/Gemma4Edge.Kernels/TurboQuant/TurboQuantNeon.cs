using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Panels on ARMv8.0 (Pi 4), which has no dot product: 8-bit products added up in 16 bits, then pairwise in 32.</summary>
/// <remarks>
/// <code>
///   w  [r0: c0 c1 c2 c3][r1: …]     half a tile: 64 bits, two rows
///   x  [c0 c1 c2 c3] twice           four activations, broadcast
///   p  SMULL, SMLAL over four tiles: 4·63·127 = 32004 fits 16 bits; 8-bit levels: two, 2·127·127 = 32258
///   sum += SADALP(p)                 two lanes per row, joined by ADDP at the end of a group
/// </code>
/// Half tiles because the A72 looks up and multiplies 64 bits at a time, and takes three steps for a look-up of 128.
/// Up to three tokens: codes are unpacked in registers. More: <see cref="NeonMatMul{TCodes, TTiles}"/>, two tokens to a load of levels.
/// No tail: a panel has 16 rows, a group whole steps of 32 columns; only the store is shorter.
/// </remarks>
internal sealed unsafe class TurboQuantNeon : ITurboQuantKernel
{
    private const int Step = TurboQuantLayout.StepColumns;

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
        TCodes codes = TCodes.Open(product.Levels);
        for (int panel = first; panel < first + count; panel++)
        {
            for (int token = NeonMatMul<TCodes, Tiles>.Multiply(product, codes, panel); token < product.Tokens; token++)
            {
                MatVec(codes, product, panel, token);
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void MatVec<TCodes>(TCodes codes, in PanelProduct product, int panel, int token)
        where TCodes : struct, INeonCodes<TCodes>
    {
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
            Vector128<int> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
            for (sbyte* groupEnd = x + group; x < groupEnd; x += Step)
            {
                Columns32<TCodes>(codes, step, x, ref a0, ref a1, ref a2, ref a3, ref a4, ref a5, ref a6, ref a7);
                step += TCodes.StepBytes;
            }

            NeonPanel.Accumulate(
                scales, wide, AdvSimd.Arm64.AddPairwise(a0, a1), AdvSimd.Arm64.AddPairwise(a2, a3), AdvSimd.Arm64.AddPairwise(a4, a5), AdvSimd.Arm64.AddPairwise(a6, a7),
                ref y0, ref y1, ref y2, ref y3);
            scales += scaleBytes;
        }

        NeonPanel.Store(product, panel, token, y0, y1, y2, y3);
    }

    /// <summary>Adds 32 columns, two lanes to each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Columns32<TCodes>(
        TCodes codes, byte* step, sbyte* x,
        ref Vector128<int> a0, ref Vector128<int> a1, ref Vector128<int> a2, ref Vector128<int> a3,
        ref Vector128<int> a4, ref Vector128<int> a5, ref Vector128<int> a6, ref Vector128<int> a7)
        where TCodes : struct, INeonCodes<TCodes>
    {
        Vector64<sbyte> x0 = Broadcast(x), x1 = Broadcast(x + 4), x2 = Broadcast(x + 8), x3 = Broadcast(x + 12);
        Vector64<sbyte> x4 = Broadcast(x + 16), x5 = Broadcast(x + 20), x6 = Broadcast(x + 24), x7 = Broadcast(x + 28);
        TwoRows<TCodes>(codes, step, x0, x1, x2, x3, x4, x5, x6, x7, ref a0);
        TwoRows<TCodes>(codes, step + 8, x0, x1, x2, x3, x4, x5, x6, x7, ref a1);
        TwoRows<TCodes>(codes, step + 16, x0, x1, x2, x3, x4, x5, x6, x7, ref a2);
        TwoRows<TCodes>(codes, step + 24, x0, x1, x2, x3, x4, x5, x6, x7, ref a3);
        TwoRows<TCodes>(codes, step + 32, x0, x1, x2, x3, x4, x5, x6, x7, ref a4);
        TwoRows<TCodes>(codes, step + 40, x0, x1, x2, x3, x4, x5, x6, x7, ref a5);
        TwoRows<TCodes>(codes, step + 48, x0, x1, x2, x3, x4, x5, x6, x7, ref a6);
        TwoRows<TCodes>(codes, step + 56, x0, x1, x2, x3, x4, x5, x6, x7, ref a7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TwoRows<TCodes>(
        TCodes codes, byte* step, Vector64<sbyte> x0, Vector64<sbyte> x1, Vector64<sbyte> x2, Vector64<sbyte> x3,
        Vector64<sbyte> x4, Vector64<sbyte> x5, Vector64<sbyte> x6, Vector64<sbyte> x7, ref Vector128<int> sum)
        where TCodes : struct, INeonCodes<TCodes>
    {
        codes.LoadTwoRows(
            step, out Vector64<sbyte> t0, out Vector64<sbyte> t1, out Vector64<sbyte> t2, out Vector64<sbyte> t3,
            out Vector64<sbyte> t4, out Vector64<sbyte> t5, out Vector64<sbyte> t6, out Vector64<sbyte> t7);
        Add<TCodes>(t0, t1, t2, t3, x0, x1, x2, x3, ref sum);
        Add<TCodes>(t4, t5, t6, t7, x4, x5, x6, x7, ref sum);
    }

    /// <summary>Adds the products of four half tiles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<TCodes>(
        Vector64<sbyte> t0, Vector64<sbyte> t1, Vector64<sbyte> t2, Vector64<sbyte> t3,
        Vector64<sbyte> x0, Vector64<sbyte> x1, Vector64<sbyte> x2, Vector64<sbyte> x3, ref Vector128<int> sum)
        where TCodes : struct, INeonCodes<TCodes>
    {
        Vector128<short> two = AdvSimd.MultiplyWideningLowerAndAdd(AdvSimd.MultiplyWideningLower(t0, x0), t1, x1);
        if (TCodes.ProductsPerSum == 2)
        {
            sum = AdvSimd.AddPairwiseWideningAndAdd(sum, two);
            sum = AdvSimd.AddPairwiseWideningAndAdd(sum, AdvSimd.MultiplyWideningLowerAndAdd(AdvSimd.MultiplyWideningLower(t2, x2), t3, x3));
        }
        else
        {
            sum = AdvSimd.AddPairwiseWideningAndAdd(sum, AdvSimd.MultiplyWideningLowerAndAdd(AdvSimd.MultiplyWideningLowerAndAdd(two, t2, x2), t3, x3));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector64<sbyte> Broadcast(sbyte* x) => AdvSimd.LoadAndReplicateToVector64((int*)x).AsSByte();

    /// <summary>Unpacked levels.</summary>
    private readonly struct Tiles : INeonTiles
    {
        public static void FourTokens<TCodes>(sbyte* tiles, int columns, sbyte* x, long stride, int* sums)
            where TCodes : struct, INeonCodes<TCodes>
        {
            TwoTokens<TCodes>(tiles, columns, x, x + stride, sums);
            TwoTokens<TCodes>(tiles, columns, x + (2 * stride), x + (3 * stride), sums + (2 * TurboQuantLayout.PanelRows));
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        private static void TwoTokens<TCodes>(sbyte* tiles, int columns, sbyte* xa, sbyte* xb, int* sums)
            where TCodes : struct, INeonCodes<TCodes>
        {
            Vector128<int> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
            Vector128<int> b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
            for (sbyte* end = xa + columns; xa < end; xa += Step)
            {
                Vector64<sbyte> xa0 = Broadcast(xa), xa1 = Broadcast(xa + 4), xa2 = Broadcast(xa + 8), xa3 = Broadcast(xa + 12);
                Vector64<sbyte> xb0 = Broadcast(xb), xb1 = Broadcast(xb + 4), xb2 = Broadcast(xb + 8), xb3 = Broadcast(xb + 12);
                TwoRows<TCodes>(tiles, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a0, ref b0);
                TwoRows<TCodes>(tiles + 8, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a1, ref b1);
                TwoRows<TCodes>(tiles + 128, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a2, ref b2);
                TwoRows<TCodes>(tiles + 136, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a3, ref b3);
                TwoRows<TCodes>(tiles + 256, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a4, ref b4);
                TwoRows<TCodes>(tiles + 264, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a5, ref b5);
                TwoRows<TCodes>(tiles + 384, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a6, ref b6);
                TwoRows<TCodes>(tiles + 392, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a7, ref b7);
                (xa0, xa1, xa2, xa3) = (Broadcast(xa + 16), Broadcast(xa + 20), Broadcast(xa + 24), Broadcast(xa + 28));
                (xb0, xb1, xb2, xb3) = (Broadcast(xb + 16), Broadcast(xb + 20), Broadcast(xb + 24), Broadcast(xb + 28));
                TwoRows<TCodes>(tiles + 64, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a0, ref b0);
                TwoRows<TCodes>(tiles + 72, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a1, ref b1);
                TwoRows<TCodes>(tiles + 192, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a2, ref b2);
                TwoRows<TCodes>(tiles + 200, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a3, ref b3);
                TwoRows<TCodes>(tiles + 320, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a4, ref b4);
                TwoRows<TCodes>(tiles + 328, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a5, ref b5);
                TwoRows<TCodes>(tiles + 448, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a6, ref b6);
                TwoRows<TCodes>(tiles + 456, xa0, xa1, xa2, xa3, xb0, xb1, xb2, xb3, ref a7, ref b7);
                tiles += TurboQuantLayout.PanelRows * Step;
                xb += Step;
            }

            AddTo(sums, a0, a1, a2, a3, a4, a5, a6, a7);
            AddTo(sums + TurboQuantLayout.PanelRows, b0, b1, b2, b3, b4, b5, b6, b7);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void TwoRows<TCodes>(
            sbyte* tiles, Vector64<sbyte> xa0, Vector64<sbyte> xa1, Vector64<sbyte> xa2, Vector64<sbyte> xa3,
            Vector64<sbyte> xb0, Vector64<sbyte> xb1, Vector64<sbyte> xb2, Vector64<sbyte> xb3, ref Vector128<int> a, ref Vector128<int> b)
            where TCodes : struct, INeonCodes<TCodes>
        {
            Vector64<sbyte> t0 = Vector64.Load(tiles), t1 = Vector64.Load(tiles + 16), t2 = Vector64.Load(tiles + 32), t3 = Vector64.Load(tiles + 48);
            Add<TCodes>(t0, t1, t2, t3, xa0, xa1, xa2, xa3, ref a);
            Add<TCodes>(t0, t1, t2, t3, xb0, xb1, xb2, xb3, ref b);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void AddTo(
            int* sums, Vector128<int> a0, Vector128<int> a1, Vector128<int> a2, Vector128<int> a3,
            Vector128<int> a4, Vector128<int> a5, Vector128<int> a6, Vector128<int> a7)
        {
            (Vector128.Load(sums) + AdvSimd.Arm64.AddPairwise(a0, a1)).Store(sums);
            (Vector128.Load(sums + 4) + AdvSimd.Arm64.AddPairwise(a2, a3)).Store(sums + 4);
            (Vector128.Load(sums + 8) + AdvSimd.Arm64.AddPairwise(a4, a5)).Store(sums + 8);
            (Vector128.Load(sums + 12) + AdvSimd.Arm64.AddPairwise(a6, a7)).Store(sums + 12);
        }
    }
}
