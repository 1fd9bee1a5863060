using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>Panels on ARMv8.2 with dot product (Pi 5, phones): 4 rows in the lanes of a register, four columns in the bytes of a lane.</summary>
/// <remarks>
/// <code>
///   w  [r0: c0 c1 c2 c3][r1: …][r2: …][r3: …]   a tile, signed levels
///   x  16 activations                           SDOT by lane k takes columns 4k … 4k+3 for all four rows
///   sum[r] += Σ w·x                             4 quarters of 4 rows: 4 chains, each link two SDOTs apart
/// </code>
/// Up to three tokens: codes are unpacked in registers. More: <see cref="NeonMatMul{TCodes, TTiles}"/>, four tokens to a load of levels.
/// Sums of 32 bits hold any row: 127·127·2¹⁶ &lt; 2³¹. No tail: a panel has 16 rows, a group whole steps of 32 columns; only the store is shorter.
/// </remarks>
internal sealed unsafe class TurboQuantNeonDotProd : ITurboQuantKernel
{
    private const int Step = TurboQuantLayout.StepColumns;

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
            Vector128<int> a0 = default, a1 = default, a2 = default, a3 = default;
            for (sbyte* groupEnd = x + group; x < groupEnd; x += Step)
            {
                Columns32(codes, step, x, ref a0, ref a1, ref a2, ref a3);
                step += TCodes.StepBytes;
            }

            NeonPanel.Accumulate(scales, wide, a0, a1, a2, a3, ref y0, ref y1, ref y2, ref y3);
            scales += scaleBytes;
        }

        NeonPanel.Store(product, panel, token, y0, y1, y2, y3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Columns32<TCodes>(TCodes codes, byte* step, sbyte* x, ref Vector128<int> a0, ref Vector128<int> a1, ref Vector128<int> a2, ref Vector128<int> a3)
        where TCodes : struct, INeonCodes<TCodes>
    {
        Vector128<sbyte> x0 = Vector128.Load(x), x1 = Vector128.Load(x + 16);
        EightRows(codes, step, x0, x1, ref a0, ref a1);
        EightRows(codes, step + 32, x0, x1, ref a2, ref a3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void EightRows<TCodes>(TCodes codes, byte* step, Vector128<sbyte> x0, Vector128<sbyte> x1, ref Vector128<int> sum0, ref Vector128<int> sum1)
        where TCodes : struct, INeonCodes<TCodes>
    {
        codes.Load(
            step, out Vector128<sbyte> t0, out Vector128<sbyte> t1, out Vector128<sbyte> t2, out Vector128<sbyte> t3,
            out Vector128<sbyte> t4, out Vector128<sbyte> t5, out Vector128<sbyte> t6, out Vector128<sbyte> t7);
        codes.Load(
            step + 16, out Vector128<sbyte> u0, out Vector128<sbyte> u1, out Vector128<sbyte> u2, out Vector128<sbyte> u3,
            out Vector128<sbyte> u4, out Vector128<sbyte> u5, out Vector128<sbyte> u6, out Vector128<sbyte> u7);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t0, x0, 0);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u0, x0, 0);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t1, x0, 1);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u1, x0, 1);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t2, x0, 2);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u2, x0, 2);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t3, x0, 3);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u3, x0, 3);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t4, x1, 0);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u4, x1, 0);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t5, x1, 1);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u5, x1, 1);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t6, x1, 2);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u6, x1, 2);
        sum0 = Dp.DotProductBySelectedQuadruplet(sum0, t7, x1, 3);
        sum1 = Dp.DotProductBySelectedQuadruplet(sum1, u7, x1, 3);
    }

    /// <summary>Unpacked levels.</summary>
    private readonly struct Tiles : INeonTiles
    {
        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        public static void FourTokens<TCodes>(sbyte* tiles, int columns, sbyte* x, long stride, int* sums)
            where TCodes : struct, INeonCodes<TCodes>
        {
            Vector128<int> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            Vector128<int> c0 = default, c1 = default, c2 = default, c3 = default, d0 = default, d1 = default, d2 = default, d3 = default;
            sbyte* xb = x + stride, xc = xb + stride, xd = xc + stride;
            for (sbyte* end = x + columns; x < end; x += Step)
            {
                Vector128<sbyte> a = Vector128.Load(x);
                Vector128<sbyte> b = Vector128.Load(xb);
                Vector128<sbyte> c = Vector128.Load(xc);
                Vector128<sbyte> d = Vector128.Load(xd);
                Columns16(tiles, a, b, c, d, ref a0, ref b0, ref c0, ref d0);
                Columns16(tiles + 128, a, b, c, d, ref a1, ref b1, ref c1, ref d1);
                Columns16(tiles + 256, a, b, c, d, ref a2, ref b2, ref c2, ref d2);
                Columns16(tiles + 384, a, b, c, d, ref a3, ref b3, ref c3, ref d3);
                a = Vector128.Load(x + 16);
                b = Vector128.Load(xb + 16);
                c = Vector128.Load(xc + 16);
                d = Vector128.Load(xd + 16);
                Columns16(tiles + 64, a, b, c, d, ref a0, ref b0, ref c0, ref d0);
                Columns16(tiles + 192, a, b, c, d, ref a1, ref b1, ref c1, ref d1);
                Columns16(tiles + 320, a, b, c, d, ref a2, ref b2, ref c2, ref d2);
                Columns16(tiles + 448, a, b, c, d, ref a3, ref b3, ref c3, ref d3);
                tiles += TurboQuantLayout.PanelRows * Step;
                xb += Step;
                xc += Step;
                xd += Step;
            }

            AddTo(sums, a0, a1, a2, a3);
            AddTo(sums + 16, b0, b1, b2, b3);
            AddTo(sums + 32, c0, c1, c2, c3);
            AddTo(sums + 48, d0, d1, d2, d3);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Columns16(
            sbyte* tiles, Vector128<sbyte> a, Vector128<sbyte> b, Vector128<sbyte> c, Vector128<sbyte> d,
            ref Vector128<int> sumA, ref Vector128<int> sumB, ref Vector128<int> sumC, ref Vector128<int> sumD)
        {
            Vector128<sbyte> t0 = Vector128.Load(tiles), t1 = Vector128.Load(tiles + 16), t2 = Vector128.Load(tiles + 32), t3 = Vector128.Load(tiles + 48);
            sumA = Dp.DotProductBySelectedQuadruplet(sumA, t0, a, 0);
            sumB = Dp.DotProductBySelectedQuadruplet(sumB, t0, b, 0);
            sumC = Dp.DotProductBySelectedQuadruplet(sumC, t0, c, 0);
            sumD = Dp.DotProductBySelectedQuadruplet(sumD, t0, d, 0);
            sumA = Dp.DotProductBySelectedQuadruplet(sumA, t1, a, 1);
            sumB = Dp.DotProductBySelectedQuadruplet(sumB, t1, b, 1);
            sumC = Dp.DotProductBySelectedQuadruplet(sumC, t1, c, 1);
            sumD = Dp.DotProductBySelectedQuadruplet(sumD, t1, d, 1);
            sumA = Dp.DotProductBySelectedQuadruplet(sumA, t2, a, 2);
            sumB = Dp.DotProductBySelectedQuadruplet(sumB, t2, b, 2);
            sumC = Dp.DotProductBySelectedQuadruplet(sumC, t2, c, 2);
            sumD = Dp.DotProductBySelectedQuadruplet(sumD, t2, d, 2);
            sumA = Dp.DotProductBySelectedQuadruplet(sumA, t3, a, 3);
            sumB = Dp.DotProductBySelectedQuadruplet(sumB, t3, b, 3);
            sumC = Dp.DotProductBySelectedQuadruplet(sumC, t3, c, 3);
            sumD = Dp.DotProductBySelectedQuadruplet(sumD, t3, d, 3);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void AddTo(int* sums, Vector128<int> s0, Vector128<int> s1, Vector128<int> s2, Vector128<int> s3)
        {
            s0 += Vector128.Load(sums);
            s1 += Vector128.Load(sums + 4);
            s2 += Vector128.Load(sums + 8);
            s3 += Vector128.Load(sums + 12);
            s0.Store(sums);
            s1.Store(sums + 4);
            s2.Store(sums + 8);
            s3.Store(sums + 12);
        }
    }
}
