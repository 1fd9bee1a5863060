using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>The loops of every weight format on AVX2 and FMA: 8 floats a vector, weights to floats by <typeparamref name="TBlock"/>.</summary>
/// <remarks>
/// One token: two rows at once, weights stay in registers between unpacking and multiplying.
/// <code>
///   row a  [w0 w1 w2 w3] · x[0…31] → a0 += w0·x0, a1 += w1·x1, a0 += w2·x2, a1 += w3·x3      two rows share the loads of x
///   row b  [w0 w1 w2 w3] · x[0…31] → b0 b1 likewise                                           and give four independent chains
/// </code>
/// More tokens: 4 rows × <see cref="TileColumns"/> are unpacked into a tile that stays in L1, then multiplied with all tokens, three at a time.
/// <code>
///   tile  [r0: 8][r1: 8][r2: 8][r3: 8] next 8 columns …      one pointer walks it; 4 loads of w and 3 of x feed 12 FMAs,
///   sums  4 rows × 3 tokens = 12 registers                   whose 12 chains hide the FMA's latency
/// </code>
/// Tail: columns beyond the last whole block (floats only) are the scalar kernel's; it sets y, the vectors add to it.
/// </remarks>
internal sealed unsafe class Avx2Kernel<TBlock, TScalar> : IWeightKernel
    where TBlock : struct, IAvx2Block<TBlock>
    where TScalar : struct, IScalarBlock
{
    private const int Lanes = 8;
    private const int TileRows = 4;
    private const int TileTokens = 3;

    /// <summary>Columns of a tile: 4 × 1024 floats are 16 KiB, half of the smallest L1. A multiple of every block.</summary>
    private const int TileColumns = 1024;

    /// <summary>How far matvec fetches ahead. The hardware stops at every 4 KiB page; on an EPYC this speeds up Q4_0 from memory (5.5 → 11 GB/s a thread) and BF16 (13 → 32).</summary>
    private const int PrefetchBytes = 8192;

    /// <summary>Tokens that share an unpacked tile: their part of x, at most 384 KiB, stays in L2 over all rows.</summary>
    private const int BatchTokens = 96;

    private readonly ScalarKernel<TScalar> _tail = new();

    /// <inheritdoc/>
    public string Name => "avx2";

    /// <inheritdoc/>
    public bool IsSupported => Avx2.IsSupported && Fma.IsSupported;

    /// <inheritdoc/>
    public void Decode(byte* row, float* destination, int columns)
    {
        int whole = columns - (columns % TBlock.Columns);
        Unpack(row, whole, destination, Lanes, 0);
        _tail.Decode(row + RowOffset(whole), destination + whole, columns - whole);
    }

    /// <inheritdoc/>
    public void MatMul(byte* weights, long rowBytes, int rows, int columns, float* x, int xStride, int tokens, float* y, int yStride)
    {
        int whole = columns - (columns % TBlock.Columns);
        _tail.MatMul(weights + RowOffset(whole), rowBytes, rows, columns - whole, x + whole, xStride, tokens, y, yStride);
        if (tokens == 1)
        {
            OneToken(weights, rowBytes, rows, whole, x, y);
            return;
        }

        for (int token = 0; token < tokens; token += BatchTokens)
        {
            Batch(weights, rowBytes, rows, whole, x + ((long)token * xStride), xStride, Math.Min(BatchTokens, tokens - token), y + ((long)token * yStride), yStride);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void OneToken(byte* weights, long rowBytes, int rows, int columns, float* x, float* y)
    {
        for (int row = 0; row < rows; row += 2)
        {
            byte* a = weights + (row * rowBytes);
            byte* b = row + 1 < rows ? a + rowBytes : a;      // the last of an odd number is computed twice
            Vector256<float> a0 = default, a1 = default, b0 = default, b1 = default;
            float* end = x + columns;
            for (float* p = x; p < end; p += TBlock.Columns)
            {
                Prefetch(a + PrefetchBytes);
                Prefetch(b + PrefetchBytes);
                var blockA = TBlock.Open(a);
                var blockB = TBlock.Open(b);
                for (int column = 0; column < TBlock.Columns; column += 4 * Lanes)
                {
                    float* xs = p + column;
                    blockA.Load(column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3);
                    a0 = Fma.MultiplyAdd(w0, Vector256.Load(xs), a0);
                    a1 = Fma.MultiplyAdd(w1, Vector256.Load(xs + Lanes), a1);
                    a0 = Fma.MultiplyAdd(w2, Vector256.Load(xs + (2 * Lanes)), a0);
                    a1 = Fma.MultiplyAdd(w3, Vector256.Load(xs + (3 * Lanes)), a1);
                    blockB.Load(column, out w0, out w1, out w2, out w3);
                    b0 = Fma.MultiplyAdd(w0, Vector256.Load(xs), b0);
                    b1 = Fma.MultiplyAdd(w1, Vector256.Load(xs + Lanes), b1);
                    b0 = Fma.MultiplyAdd(w2, Vector256.Load(xs + (2 * Lanes)), b0);
                    b1 = Fma.MultiplyAdd(w3, Vector256.Load(xs + (3 * Lanes)), b1);
                }

                a += TBlock.Bytes;
                b += TBlock.Bytes;
            }

            y[row] += Vector256.Sum(a0 + a1);
            if (row + 1 < rows)
            {
                y[row + 1] += Vector256.Sum(b0 + b1);
            }
        }
    }

    /// <summary>Asks for the lines of a block that will be needed later. Never faults, so the end of a mapping is no concern.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* block)
    {
        const int Line = 64;
        Sse.Prefetch0(block);
        if (TBlock.Bytes > Line)
        {
            Sse.Prefetch0(block + Line);
        }

        if (TBlock.Bytes > 2 * Line)
        {
            Sse.Prefetch0(block + (2 * Line));
        }

        if (TBlock.Bytes > 3 * Line)
        {
            Sse.Prefetch0(block + (3 * Line));
        }
    }

    [SkipLocalsInit]
    private static void Batch(byte* weights, long rowBytes, int rows, int columns, float* x, int xStride, int tokens, float* y, int yStride)
    {
        const int Alignment = 32;
        byte* memory = stackalloc byte[(TileRows * TileColumns * sizeof(float)) + Alignment];
        float* tile = (float*)(((nuint)memory + Alignment - 1) & ~(nuint)(Alignment - 1));
        Vector128<float>* sums = stackalloc Vector128<float>[TileTokens];

        for (int column = 0; column < columns; column += TileColumns)
        {
            int tileColumns = Math.Min(TileColumns, columns - column);
            byte* block = weights + RowOffset(column);
            for (int row = 0; row < rows; row += TileRows)
            {
                int tileRows = Math.Min(TileRows, rows - row);
                for (int r = 0; r < tileRows; r++)
                {
                    Unpack(block + ((row + r) * rowBytes), tileColumns, tile + (r * Lanes), TileRows * Lanes, TileRows * rowBytes);
                }

                float* xs = x + column;
                float* ys = y + row;
                int token = 0;
                for (; token + TileTokens <= tokens; token += TileTokens)
                {
                    ThreeTokens(tile, tileColumns, xs, xs + xStride, xs + (2 * (long)xStride), sums);
                    for (int t = 0; t < TileTokens; t++)
                    {
                        Add(sums[t], tileRows, ys);
                        ys += yStride;
                    }

                    xs += TileTokens * (long)xStride;
                }

                for (; token < tokens; token++)
                {
                    Add(SingleToken(tile, tileColumns, xs), tileRows, ys);
                    xs += xStride;
                    ys += yStride;
                }
            }
        }
    }

    /// <summary>Writes whole blocks as floats, each vector of 8 <paramref name="stride"/> floats after the last, and asks for the blocks <paramref name="ahead"/> bytes on.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Unpack(byte* row, int columns, float* destination, int stride, long ahead)
    {
        for (byte* end = row + RowOffset(columns); row < end; row += TBlock.Bytes)
        {
            Prefetch(row + ahead);
            var block = TBlock.Open(row);
            for (int column = 0; column < TBlock.Columns; column += 4 * Lanes)
            {
                block.Load(column, out Vector256<float> w0, out Vector256<float> w1, out Vector256<float> w2, out Vector256<float> w3);
                w0.Store(destination);
                w1.Store(destination + stride);
                w2.Store(destination + (2 * stride));
                w3.Store(destination + (3 * stride));
                destination += 4 * stride;
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void ThreeTokens(float* tile, int columns, float* x0, float* x1, float* x2, Vector128<float>* sums)
    {
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector256<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector256<float> c0 = default, c1 = default, c2 = default, c3 = default;
        for (float* end = tile + (TileRows * columns); tile < end; tile += TileRows * Lanes)
        {
            Vector256<float> a = Vector256.Load(x0), b = Vector256.Load(x1), c = Vector256.Load(x2);
            Vector256<float> w = Vector256.Load(tile);
            a0 = Fma.MultiplyAdd(w, a, a0);
            b0 = Fma.MultiplyAdd(w, b, b0);
            c0 = Fma.MultiplyAdd(w, c, c0);
            w = Vector256.Load(tile + Lanes);
            a1 = Fma.MultiplyAdd(w, a, a1);
            b1 = Fma.MultiplyAdd(w, b, b1);
            c1 = Fma.MultiplyAdd(w, c, c1);
            w = Vector256.Load(tile + (2 * Lanes));
            a2 = Fma.MultiplyAdd(w, a, a2);
            b2 = Fma.MultiplyAdd(w, b, b2);
            c2 = Fma.MultiplyAdd(w, c, c2);
            w = Vector256.Load(tile + (3 * Lanes));
            a3 = Fma.MultiplyAdd(w, a, a3);
            b3 = Fma.MultiplyAdd(w, b, b3);
            c3 = Fma.MultiplyAdd(w, c, c3);
            x0 += Lanes;
            x1 += Lanes;
            x2 += Lanes;
        }

        sums[0] = SumEach(a0, a1, a2, a3);
        sums[1] = SumEach(b0, b1, b2, b3);
        sums[2] = SumEach(c0, c1, c2, c3);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static Vector128<float> SingleToken(float* tile, int columns, float* x)
    {
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default;
        for (float* end = tile + (TileRows * columns); tile < end; tile += TileRows * Lanes)
        {
            Vector256<float> a = Vector256.Load(x);
            a0 = Fma.MultiplyAdd(Vector256.Load(tile), a, a0);
            a1 = Fma.MultiplyAdd(Vector256.Load(tile + Lanes), a, a1);
            a2 = Fma.MultiplyAdd(Vector256.Load(tile + (2 * Lanes)), a, a2);
            a3 = Fma.MultiplyAdd(Vector256.Load(tile + (3 * Lanes)), a, a3);
            x += Lanes;
        }

        return SumEach(a0, a1, a2, a3);
    }

    /// <summary>The sums of four vectors, as one vector.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> SumEach(Vector256<float> v0, Vector256<float> v1, Vector256<float> v2, Vector256<float> v3)
    {
        Vector256<float> halves = Avx.HorizontalAdd(Avx.HorizontalAdd(v0, v1), Avx.HorizontalAdd(v2, v3));
        return halves.GetLower() + halves.GetUpper();
    }

    private static void Add(Vector128<float> sums, int rows, float* y)
    {
        if (rows == TileRows)
        {
            (Vector128.Load(y) + sums).Store(y);
            return;
        }

        for (int row = 0; row < rows; row++)
        {
            y[row] += sums[row];
        }
    }

    /// <summary>Bytes of <paramref name="columns"/> weights.</summary>
    private static long RowOffset(int columns) => (long)columns * TBlock.Bytes / TBlock.Columns;
}
