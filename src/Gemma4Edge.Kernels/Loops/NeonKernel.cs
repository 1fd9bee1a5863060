using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>The loops of every weight format on NEON (ARMv8.0): 4 floats a vector, weights to floats by <typeparamref name="TBlock"/>.</summary>
/// <remarks>
/// One token: two rows at once, weights stay in registers between unpacking and multiplying.
/// <code>
///   row a  [w0 w1 w2 w3] · x[0…15] → a0 += w0·x0, a1 += w1·x1, a2 += w2·x2, a3 += w3·x3      two rows share the loads of x
///   row b  [w0 w1 w2 w3] · x[0…15] → b0 … b3 likewise                                         and give eight independent chains
/// </code>
/// More tokens: 4 rows × <see cref="TileColumns"/> are unpacked into a tile that stays in L1, then multiplied with all tokens, four at a time.
/// <code>
///   tile  [r0: 4][r1: 4][r2: 4][r3: 4] next 4 columns …      one pointer walks it; 4 loads of w and 4 of x feed 16 FMAs
///   sums  4 rows × 4 tokens = 16 of 32 registers
/// </code>
/// The independent steps stand together in the source, loads first: in-order cores run them as written.
/// Tail: columns beyond the last whole block (floats only) are the scalar kernel's; it sets y, the vectors add to it.
/// </remarks>
internal sealed unsafe class NeonKernel<TBlock, TScalar> : IWeightKernel
    where TBlock : struct, INeonBlock<TBlock>
    where TScalar : struct, IScalarBlock
{
    private const int Lanes = 4;
    private const int TileRows = 4;
    private const int TileTokens = 4;

    /// <summary>Columns of a tile: 4 × 1024 floats are 16 KiB, half of the smallest L1. A multiple of every block.</summary>
    private const int TileColumns = 1024;

    /// <summary>Tokens that share an unpacked tile: their part of x, at most 384 KiB, stays in L2 over all rows.</summary>
    private const int BatchTokens = 96;

    private readonly ScalarKernel<TScalar> _tail = new();

    /// <inheritdoc/>
    public string Name => "neon";

    /// <inheritdoc/>
    public bool IsSupported => AdvSimd.Arm64.IsSupported;

    /// <inheritdoc/>
    public void Decode(byte* row, float* destination, int columns)
    {
        int whole = columns - (columns % TBlock.Columns);
        Unpack(row, whole, destination, Lanes);
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
            Vector128<float> a0 = default, a1 = default, a2 = default, a3 = default;
            Vector128<float> b0 = default, b1 = default, b2 = default, b3 = default;
            float* end = x + columns;
            for (float* p = x; p < end; p += TBlock.Columns)
            {
                var blockA = TBlock.Open(a);
                var blockB = TBlock.Open(b);
                for (int column = 0; column < TBlock.Columns; column += 4 * Lanes)
                {
                    float* xs = p + column;
                    Vector128<float> x0 = Vector128.Load(xs), x1 = Vector128.Load(xs + Lanes);
                    Vector128<float> x2 = Vector128.Load(xs + (2 * Lanes)), x3 = Vector128.Load(xs + (3 * Lanes));
                    blockA.Load(column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3);
                    a0 = AdvSimd.FusedMultiplyAdd(a0, w0, x0);
                    a1 = AdvSimd.FusedMultiplyAdd(a1, w1, x1);
                    a2 = AdvSimd.FusedMultiplyAdd(a2, w2, x2);
                    a3 = AdvSimd.FusedMultiplyAdd(a3, w3, x3);
                    blockB.Load(column, out w0, out w1, out w2, out w3);
                    b0 = AdvSimd.FusedMultiplyAdd(b0, w0, x0);
                    b1 = AdvSimd.FusedMultiplyAdd(b1, w1, x1);
                    b2 = AdvSimd.FusedMultiplyAdd(b2, w2, x2);
                    b3 = AdvSimd.FusedMultiplyAdd(b3, w3, x3);
                }

                a += TBlock.Bytes;
                b += TBlock.Bytes;
            }

            y[row] += Vector128.Sum((a0 + a1) + (a2 + a3));
            if (row + 1 < rows)
            {
                y[row + 1] += Vector128.Sum((b0 + b1) + (b2 + b3));
            }
        }
    }

    [SkipLocalsInit]
    private static void Batch(byte* weights, long rowBytes, int rows, int columns, float* x, int xStride, int tokens, float* y, int yStride)
    {
        float* tile = stackalloc float[TileRows * TileColumns];
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
                    Unpack(block + ((row + r) * rowBytes), tileColumns, tile + (r * Lanes), TileRows * Lanes);
                }

                float* xs = x + column;
                float* ys = y + row;
                int token = 0;
                for (; token + TileTokens <= tokens; token += TileTokens)
                {
                    FourTokens(tile, tileColumns, xs, xs + xStride, xs + (2 * (long)xStride), xs + (3 * (long)xStride), sums);
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

    /// <summary>Writes whole blocks as floats, each vector of 4 <paramref name="stride"/> floats after the last.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void Unpack(byte* row, int columns, float* destination, int stride)
    {
        for (byte* end = row + RowOffset(columns); row < end; row += TBlock.Bytes)
        {
            var block = TBlock.Open(row);
            for (int column = 0; column < TBlock.Columns; column += 4 * Lanes)
            {
                block.Load(column, out Vector128<float> w0, out Vector128<float> w1, out Vector128<float> w2, out Vector128<float> w3);
                w0.Store(destination);
                w1.Store(destination + stride);
                w2.Store(destination + (2 * stride));
                w3.Store(destination + (3 * stride));
                destination += 4 * stride;
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void FourTokens(float* tile, int columns, float* x0, float* x1, float* x2, float* x3, Vector128<float>* sums)
    {
        Vector128<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector128<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector128<float> c0 = default, c1 = default, c2 = default, c3 = default;
        Vector128<float> d0 = default, d1 = default, d2 = default, d3 = default;
        for (float* end = tile + (TileRows * columns); tile < end; tile += TileRows * Lanes)
        {
            Vector128<float> w0 = Vector128.Load(tile), w1 = Vector128.Load(tile + Lanes);
            Vector128<float> w2 = Vector128.Load(tile + (2 * Lanes)), w3 = Vector128.Load(tile + (3 * Lanes));
            Vector128<float> a = Vector128.Load(x0), b = Vector128.Load(x1), c = Vector128.Load(x2), d = Vector128.Load(x3);
            a0 = AdvSimd.FusedMultiplyAdd(a0, w0, a);
            a1 = AdvSimd.FusedMultiplyAdd(a1, w1, a);
            a2 = AdvSimd.FusedMultiplyAdd(a2, w2, a);
            a3 = AdvSimd.FusedMultiplyAdd(a3, w3, a);
            b0 = AdvSimd.FusedMultiplyAdd(b0, w0, b);
            b1 = AdvSimd.FusedMultiplyAdd(b1, w1, b);
            b2 = AdvSimd.FusedMultiplyAdd(b2, w2, b);
            b3 = AdvSimd.FusedMultiplyAdd(b3, w3, b);
            c0 = AdvSimd.FusedMultiplyAdd(c0, w0, c);
            c1 = AdvSimd.FusedMultiplyAdd(c1, w1, c);
            c2 = AdvSimd.FusedMultiplyAdd(c2, w2, c);
            c3 = AdvSimd.FusedMultiplyAdd(c3, w3, c);
            d0 = AdvSimd.FusedMultiplyAdd(d0, w0, d);
            d1 = AdvSimd.FusedMultiplyAdd(d1, w1, d);
            d2 = AdvSimd.FusedMultiplyAdd(d2, w2, d);
            d3 = AdvSimd.FusedMultiplyAdd(d3, w3, d);
            x0 += Lanes;
            x1 += Lanes;
            x2 += Lanes;
            x3 += Lanes;
        }

        sums[0] = SumEach(a0, a1, a2, a3);
        sums[1] = SumEach(b0, b1, b2, b3);
        sums[2] = SumEach(c0, c1, c2, c3);
        sums[3] = SumEach(d0, d1, d2, d3);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static Vector128<float> SingleToken(float* tile, int columns, float* x)
    {
        Vector128<float> a0 = default, a1 = default, a2 = default, a3 = default;
        for (float* end = tile + (TileRows * columns); tile < end; tile += TileRows * Lanes)
        {
            Vector128<float> a = Vector128.Load(x);
            a0 = AdvSimd.FusedMultiplyAdd(a0, Vector128.Load(tile), a);
            a1 = AdvSimd.FusedMultiplyAdd(a1, Vector128.Load(tile + Lanes), a);
            a2 = AdvSimd.FusedMultiplyAdd(a2, Vector128.Load(tile + (2 * Lanes)), a);
            a3 = AdvSimd.FusedMultiplyAdd(a3, Vector128.Load(tile + (3 * Lanes)), a);
            x += Lanes;
        }

        return SumEach(a0, a1, a2, a3);
    }

    /// <summary>The sums of four vectors, as one vector.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> SumEach(Vector128<float> v0, Vector128<float> v1, Vector128<float> v2, Vector128<float> v3) =>
        AdvSimd.Arm64.AddPairwise(AdvSimd.Arm64.AddPairwise(v0, v1), AdvSimd.Arm64.AddPairwise(v2, v3));

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
