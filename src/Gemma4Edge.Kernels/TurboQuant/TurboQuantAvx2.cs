using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>Panels on AVX2, with or without VNNI: 8 rows in the lanes of a vector, four columns in the bytes of a lane.</summary>
/// <remarks>
/// <code>
///   w  [r0: c0 c1 c2 c3][r1: …] … [r7: …]     a tile, levels + 64 as unsigned bytes (8-bit levels stay signed)
///   x  [c0 c1 c2 c3] in every lane            four activations, broadcast
///   sum[r] += Σ w·x                           one chain per 4 columns of 8, two halves of 8 rows
/// </code>
/// The levels' bias comes off as the sums start at −64·Σx. 8-bit levels are multiplied as |w| · (±x), which is exact for |w|, |x| ≤ 127.
/// One token: codes are unpacked in registers. More tokens: the levels of 16 rows × at most <see cref="ChunkColumns"/> columns are unpacked once
/// into 8 KiB on the stack and multiplied with four tokens at a time.
/// No tail: a panel has 16 rows, a group whole steps of 32 columns; only the store of a last panel is shorter.
/// </remarks>
internal sealed unsafe class TurboQuantAvx2<TDot> : ITurboQuantKernel
    where TDot : struct, IAvx2Dot
{
    private const int Half = 32;
    private const int Step = TurboQuantLayout.StepColumns;
    private const int TileBytes = 64;
    private const int ChunkColumns = 512;
    private const int TileTokens = 4;

    /// <summary>Tokens whose sums are kept on the stack at once.</summary>
    private const int BatchTokens = 96;

    /// <summary>How far matvec fetches ahead: the hardware stops at every 4 KiB page.</summary>
    private const int PrefetchBytes = 4096;

    /// <inheritdoc/>
    public string Name => TDot.Name;

    /// <inheritdoc/>
    public bool IsSupported => TDot.IsSupported;

    /// <inheritdoc/>
    public void Multiply(in PanelProduct product, int first, int count)
    {
        switch (product.Bits)
        {
            case 2: Multiply<Avx2Codes2>(product, first, count); break;
            case 3: Multiply<Avx2Codes3>(product, first, count); break;
            case 4: Multiply<Avx2Codes4>(product, first, count); break;
            default: Multiply<Avx2Codes8>(product, first, count); break;
        }
    }

    private static void Multiply<TCodes>(in PanelProduct product, int first, int count)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        for (int panel = first; panel < first + count; panel++)
        {
            if (product.Tokens == 1)
            {
                MatVec<TCodes>(product, panel);
                continue;
            }

            for (int token = 0; token < product.Tokens; token += BatchTokens)
            {
                MatMul<TCodes>(product, panel, token, Math.Min(BatchTokens, product.Tokens - token));
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void MatVec<TCodes>(in PanelProduct product, int panel)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        TCodes codes = TCodes.Open(product.Levels);
        byte* step = product.Panels + (panel * product.PanelBytes);
        byte* scales = step + product.ScaleOffset;
        sbyte* x = product.X.Values;
        sbyte* end = x + product.Columns;
        int* sum = product.X.Sums;
        int group = product.Group;
        int scaleBytes = ScaleBytes(product);
        Vector256<float> y0 = default, y1 = default;
        while (x < end)
        {
            Vector256<int> a0 = Vector256.Create(-TCodes.Bias * *sum), a1 = default, b0 = a0, b1 = default;
            for (sbyte* groupEnd = x + group; x < groupEnd; x += Step)
            {
                Sse.Prefetch0(step + PrefetchBytes);
                Sse.Prefetch0(step + PrefetchBytes + TileBytes);
                if (TCodes.StepBytes > 2 * TileBytes)
                {
                    Sse.Prefetch0(step + PrefetchBytes + (2 * TileBytes));
                    Sse.Prefetch0(step + PrefetchBytes + (3 * TileBytes));
                }

                Columns16(codes, step, 0, x, ref a0, ref a1, ref b0, ref b1);
                Columns16(codes, step, 16, x + 16, ref a0, ref a1, ref b0, ref b1);
                step += TCodes.StepBytes;
            }

            LoadScales(scales, product.WideScales, out Vector256<float> s0, out Vector256<float> s1);
            y0 = Fma.MultiplyAdd(s0, Vector256.ConvertToSingle(a0 + a1), y0);
            y1 = Fma.MultiplyAdd(s1, Vector256.ConvertToSingle(b0 + b1), y1);
            scales += scaleBytes;
            sum++;
        }

        Store(product, panel, 0, y0, y1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Columns16<TCodes>(
        TCodes codes, byte* step, int column, sbyte* x, ref Vector256<int> a0, ref Vector256<int> a1, ref Vector256<int> b0, ref Vector256<int> b1)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        Vector256<sbyte> x0 = Broadcast(x), x1 = Broadcast(x + 4), x2 = Broadcast(x + 8), x3 = Broadcast(x + 12);
        codes.Load(step, column, out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3);
        a0 = Dot<TCodes>(a0, t0, x0);
        a1 = Dot<TCodes>(a1, t1, x1);
        a0 = Dot<TCodes>(a0, t2, x2);
        a1 = Dot<TCodes>(a1, t3, x3);
        codes.Load(step + Half, column, out t0, out t1, out t2, out t3);
        b0 = Dot<TCodes>(b0, t0, x0);
        b1 = Dot<TCodes>(b1, t1, x1);
        b0 = Dot<TCodes>(b0, t2, x2);
        b1 = Dot<TCodes>(b1, t3, x3);
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void MatMul<TCodes>(in PanelProduct product, int panel, int firstToken, int tokens)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        byte* tiles = stackalloc byte[TurboQuantLayout.PanelRows * ChunkColumns];
        int* sums = stackalloc int[BatchTokens * TurboQuantLayout.PanelRows];
        float* y = stackalloc float[BatchTokens * TurboQuantLayout.PanelRows];
        new Span<float>(y, tokens * TurboQuantLayout.PanelRows).Clear();
        TCodes codes = TCodes.Open(product.Levels);
        byte* step = product.Panels + (panel * product.PanelBytes);
        byte* scales = step + product.ScaleOffset;
        for (int column = 0; column < product.Columns; column += product.Group)
        {
            for (int token = 0; token < tokens; token++)
            {
                int sum = product.X.Sums[((long)(firstToken + token) * product.X.SumStride) + (column / product.Group)];
                Vector256<int> start = Vector256.Create(-TCodes.Bias * sum);
                start.Store(sums + (token * TurboQuantLayout.PanelRows));
                start.Store(sums + (token * TurboQuantLayout.PanelRows) + 8);
            }

            for (int part = column; part < column + product.Group; part += ChunkColumns)
            {
                int columns = Math.Min(ChunkColumns, column + product.Group - part);
                Unpack(codes, step, columns, tiles);
                step += columns / Step * TCodes.StepBytes;
                sbyte* x = product.X.Values + ((long)firstToken * product.X.Stride) + part;
                int token = 0;
                for (; token + TileTokens <= tokens; token += TileTokens)
                {
                    FourTokens<TCodes>(tiles, columns, x + ((long)token * product.X.Stride), product.X.Stride, sums + (token * TurboQuantLayout.PanelRows));
                }

                for (; token < tokens; token++)
                {
                    SingleToken<TCodes>(tiles, columns, x + ((long)token * product.X.Stride), sums + (token * TurboQuantLayout.PanelRows));
                }
            }

            LoadScales(scales, product.WideScales, out Vector256<float> s0, out Vector256<float> s1);
            scales += ScaleBytes(product);
            for (int i = 0; i < tokens * TurboQuantLayout.PanelRows; i += TurboQuantLayout.PanelRows)
            {
                Fma.MultiplyAdd(s0, Vector256.ConvertToSingle(Vector256.Load(sums + i)), Vector256.Load(y + i)).Store(y + i);
                Fma.MultiplyAdd(s1, Vector256.ConvertToSingle(Vector256.Load(sums + i + 8)), Vector256.Load(y + i + 8)).Store(y + i + 8);
            }
        }

        for (int token = 0; token < tokens; token++)
        {
            float* row = y + (token * TurboQuantLayout.PanelRows);
            Store(product, panel, firstToken + token, Vector256.Load(row), Vector256.Load(row + 8));
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Unpack<TCodes>(TCodes codes, byte* step, int columns, byte* tiles)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        for (byte* end = tiles + (columns * TurboQuantLayout.PanelRows); tiles < end; tiles += Step * TurboQuantLayout.PanelRows)
        {
            for (int column = 0; column < Step; column += 16)
            {
                byte* tile = tiles + (column * TurboQuantLayout.PanelRows);
                for (int half = 0; half < 2 * Half; half += Half)
                {
                    codes.Load(step + half, column, out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3);
                    t0.Store(tile + half);
                    t1.Store(tile + half + TileBytes);
                    t2.Store(tile + half + (2 * TileBytes));
                    t3.Store(tile + half + (3 * TileBytes));
                }
            }

            step += TCodes.StepBytes;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void FourTokens<TCodes>(byte* tiles, int columns, sbyte* x0, int stride, int* sums)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        sbyte* x1 = x0 + stride, x2 = x1 + stride, x3 = x2 + stride;
        Vector256<int> a0 = Vector256.Load(sums), b0 = Vector256.Load(sums + 8), a1 = Vector256.Load(sums + 16), b1 = Vector256.Load(sums + 24);
        Vector256<int> a2 = Vector256.Load(sums + 32), b2 = Vector256.Load(sums + 40), a3 = Vector256.Load(sums + 48), b3 = Vector256.Load(sums + 56);
        for (sbyte* end = x0 + columns; x0 < end; x0 += 4)
        {
            Vector256<byte> a = Vector256.Load(tiles), b = Vector256.Load(tiles + Half);
            Vector256<sbyte> x = Broadcast(x0);
            a0 = Dot<TCodes>(a0, a, x);
            b0 = Dot<TCodes>(b0, b, x);
            x = Broadcast(x1);
            a1 = Dot<TCodes>(a1, a, x);
            b1 = Dot<TCodes>(b1, b, x);
            x = Broadcast(x2);
            a2 = Dot<TCodes>(a2, a, x);
            b2 = Dot<TCodes>(b2, b, x);
            x = Broadcast(x3);
            a3 = Dot<TCodes>(a3, a, x);
            b3 = Dot<TCodes>(b3, b, x);
            tiles += TileBytes;
            x1 += 4;
            x2 += 4;
            x3 += 4;
        }

        a0.Store(sums);
        b0.Store(sums + 8);
        a1.Store(sums + 16);
        b1.Store(sums + 24);
        a2.Store(sums + 32);
        b2.Store(sums + 40);
        a3.Store(sums + 48);
        b3.Store(sums + 56);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void SingleToken<TCodes>(byte* tiles, int columns, sbyte* x, int* sums)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        Vector256<int> a0 = Vector256.Load(sums), b0 = Vector256.Load(sums + 8), a1 = default, b1 = default;
        for (sbyte* end = x + columns; x < end; x += 8)
        {
            Vector256<sbyte> x0 = Broadcast(x), x1 = Broadcast(x + 4);
            a0 = Dot<TCodes>(a0, Vector256.Load(tiles), x0);
            b0 = Dot<TCodes>(b0, Vector256.Load(tiles + Half), x0);
            a1 = Dot<TCodes>(a1, Vector256.Load(tiles + TileBytes), x1);
            b1 = Dot<TCodes>(b1, Vector256.Load(tiles + TileBytes + Half), x1);
            tiles += 2 * TileBytes;
        }

        (a0 + a1).Store(sums);
        (b0 + b1).Store(sums + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Dot<TCodes>(Vector256<int> sum, Vector256<byte> w, Vector256<sbyte> x)
        where TCodes : struct, IAvx2Codes<TCodes>
    {
        return TCodes.Bias == 0
            ? TDot.Add(sum, Avx2.Abs(w.AsSByte()), Avx2.Sign(x, w.AsSByte()))
            : TDot.Add(sum, w, x);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<sbyte> Broadcast(sbyte* x) => Vector256.Create(*(int*)x).AsSByte();

    private static int ScaleBytes(in PanelProduct product) => TurboQuantLayout.PanelRows * (product.WideScales ? sizeof(float) : sizeof(ushort));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void LoadScales(byte* scales, bool wide, out Vector256<float> s0, out Vector256<float> s1)
    {
        if (wide)
        {
            s0 = Vector256.Load((float*)scales);
            s1 = Vector256.Load((float*)scales + 8);
            return;
        }

        s0 = HalfBits.Scales(Avx2.ConvertToVector256Int32((short*)scales));
        s1 = HalfBits.Scales(Avx2.ConvertToVector256Int32((short*)scales + 8));
    }

    private static void Store(in PanelProduct product, int panel, int token, Vector256<float> y0, Vector256<float> y1)
    {
        int row = panel * TurboQuantLayout.PanelRows;
        float* y = product.Y + ((long)token * product.YStride) + row;
        Vector256<float> scale = Vector256.Create(product.X.Scales[token]);
        y0 *= scale;
        y1 *= scale;
        if (row + TurboQuantLayout.PanelRows <= product.Rows)
        {
            y0.Store(y);
            y1.Store(y + 8);
            return;
        }

        float* all = stackalloc float[TurboQuantLayout.PanelRows];
        y0.Store(all);
        y1.Store(all + 8);
        new Span<float>(all, product.Rows - row).CopyTo(new Span<float>(y, product.Rows - row));
    }
}
