using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma4Edge.Kernels;

/// <summary>ggml's blocks with 8-bit activations on AVX2, with or without VNNI: eight rows in the lanes of a vector, four columns in the bytes of a lane.</summary>
/// <remarks>
/// <code>
///   w    [r0: c0 c1 c2 c3][r1: …] … [r7: …]     a tile; the rows' bytes are transposed in registers, 8 shuffles for 16 bytes of 8 rows
///   x    [c0 c1 c2 c3] in every lane            four activations, broadcast
///   sum  8 tiles, one lane per row              y += (d·a)·sum, eight rows at once
/// </code>
/// The transposition costs less than adding up each row's lanes would, it makes the eight rows share conversions and scales, and the lanes' sums
/// are those of whole blocks, which is what makes the floats equal to the reference's.
/// More tokens: a block of eight rows is unpacked once and multiplied with all of them, its tiles in registers.
/// Tail: the last rows that are fewer than eight are the scalar kernel's.
/// </remarks>
internal sealed unsafe class GgmlInt8Avx2<TDot, TBlock, TScalar> : IGgmlInt8Kernel
    where TDot : struct, IAvx2Dot
    where TBlock : struct, IAvx2Int8Block
    where TScalar : struct, IScalarInt8Block
{
    private const int Rows = 8;
    private const int Line = 64;

    /// <summary>Tokens whose sums are kept on the stack at once.</summary>
    private const int BatchTokens = 128;

    private readonly GgmlInt8Scalar<TScalar> _tail = new();

    /// <inheritdoc/>
    public string Name => TDot.Name;

    /// <inheritdoc/>
    public bool IsSupported => TDot.IsSupported;

    /// <inheritdoc/>
    public void Multiply(in GgmlProduct product, int first, int count)
    {
        int whole = count / Rows * Rows;
        for (int row = first; row < first + whole; row += Rows)
        {
            if (product.Tokens == 1)
            {
                MatVec(product, row);
                continue;
            }

            for (int token = 0; token < product.Tokens; token += BatchTokens)
            {
                MatMul(product, row, token, Math.Min(BatchTokens, product.Tokens - token));
            }
        }

        _tail.Multiply(product, first + whole, count - whole);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void MatVec(in GgmlProduct product, int row)
    {
        long stride = product.RowBytes;
        byte* block = product.Weights + (row * stride);
        byte* ahead = block + (Rows * stride);
        Int8Block* x = product.X;
        Vector256<float> y = default;
        for (Int8Block* end = x + product.Blocks; x < end; x++)
        {
            // The next eight rows follow these: as many of their bytes are asked for as are used up here.
            Sse.Prefetch0(ahead);
            Sse.Prefetch0(ahead + Line);
            Sse.Prefetch0(ahead + (2 * Line));
            ahead += Rows * TBlock.Bytes;

            TBlock.Load(
                block + TBlock.Quants, stride,
                out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3,
                out Vector256<byte> t4, out Vector256<byte> t5, out Vector256<byte> t6, out Vector256<byte> t7);
            Vector256<float> scales = Avx2Int8.LoadScales(block, stride) * Vector256.Create(x->Scale);
            y = Fma.MultiplyAdd(scales, Vector256.ConvertToSingle(TBlock.Sums<TDot>(t0, t1, t2, t3, t4, t5, t6, t7, x)), y);
            block += TBlock.Bytes;
        }

        y.Store(product.Y + row);
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void MatMul(in GgmlProduct product, int row, int firstToken, int tokens)
    {
        float* y = stackalloc float[BatchTokens * Rows];
        new Span<float>(y, tokens * Rows).Clear();
        long stride = product.RowBytes;
        byte* block = product.Weights + (row * stride);
        Int8Block* first = product.X + firstToken;
        for (byte* end = block + (product.Blocks * TBlock.Bytes); block < end; block += TBlock.Bytes)
        {
            TBlock.Load(
                block + TBlock.Quants, stride,
                out Vector256<byte> t0, out Vector256<byte> t1, out Vector256<byte> t2, out Vector256<byte> t3,
                out Vector256<byte> t4, out Vector256<byte> t5, out Vector256<byte> t6, out Vector256<byte> t7);
            Vector256<float> scales = Avx2Int8.LoadScales(block, stride);
            float* sum = y;
            for (Int8Block* x = first; x < first + tokens; x++)
            {
                Vector256<float> scale = scales * Vector256.Create(x->Scale);
                Fma.MultiplyAdd(scale, Vector256.ConvertToSingle(TBlock.Sums<TDot>(t0, t1, t2, t3, t4, t5, t6, t7, x)), Vector256.Load(sum)).Store(sum);
                sum += Rows;
            }

            first += product.Tokens;
        }

        for (int token = 0; token < tokens; token++)
        {
            Vector256.Load(y + (token * Rows)).Store(product.Y + ((long)(firstToken + token) * product.YStride) + row);
        }
    }
}
