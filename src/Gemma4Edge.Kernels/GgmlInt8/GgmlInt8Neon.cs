using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma4Edge.Kernels;

/// <summary>ggml's blocks with 8-bit activations on ARM, with dot product (Pi 5) or without (Pi 4): a block of four rows at once.</summary>
/// <remarks>
/// <code>
///   w    [c0 … c15][c16 … c31]       a row's block in two registers, eight registers for four rows
///   x    [c0 … c15][c16 … c31]       the same columns' activations
///   sum  one lane per row            y += (d·a)·sum, four rows at once
/// </code>
/// The rows share the loads of x, and pairwise additions leave one lane per row, so conversions and scales are shared too.
/// One token is the same loop as many: a block of four rows is unpacked once and multiplied with all tokens, its weights in registers.
/// Tail: the last rows that are fewer than four are the scalar kernel's.
/// </remarks>
internal sealed unsafe class GgmlInt8Neon<TDot, TBlock, TScalar> : IGgmlInt8Kernel
    where TDot : struct, INeonInt8Dot
    where TBlock : struct, INeonInt8Block
    where TScalar : struct, IScalarInt8Block
{
    private const int Rows = 4;

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
            for (int token = 0; token < product.Tokens; token += BatchTokens)
            {
                MatMul(product, row, token, Math.Min(BatchTokens, product.Tokens - token));
            }
        }

        _tail.Multiply(product, first + whole, count - whole);
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void MatMul(in GgmlProduct product, int row, int firstToken, int tokens)
    {
        float* y = stackalloc float[BatchTokens * Rows];
        new Span<float>(y, tokens * Rows).Clear();
        long stride = product.RowBytes;
        byte* a = product.Weights + (row * stride), b = a + stride, c = b + stride, d = c + stride;
        Int8Block* first = product.X + firstToken;
        for (byte* end = a + (product.Blocks * TBlock.Bytes); a < end; a += TBlock.Bytes)
        {
            TBlock.Load(a, out Vector128<sbyte> a0, out Vector128<sbyte> a1);
            TBlock.Load(b, out Vector128<sbyte> b0, out Vector128<sbyte> b1);
            TBlock.Load(c, out Vector128<sbyte> c0, out Vector128<sbyte> c1);
            TBlock.Load(d, out Vector128<sbyte> d0, out Vector128<sbyte> d1);
            Vector128<float> scales = HalfBits.Scales(Vector128.Create((int)*(short*)a, *(short*)b, *(short*)c, *(short*)d));
            float* sums = y;
            for (Int8Block* x = first; x < first + tokens; x++)
            {
                Vector128<sbyte> x0 = Vector128.Load(x->Values), x1 = Vector128.Load(x->Values + 16);
                Vector128<int> sum = TDot.Sums(TBlock.AreNibbles, a0, a1, b0, b1, c0, c1, d0, d1, x0, x1);
                if (TBlock.AreNibbles)
                {
                    sum -= Vector128.Create(x->EightSums);
                }

                AdvSimd.FusedMultiplyAdd(Vector128.Load(sums), scales * x->Scale, AdvSimd.ConvertToSingle(sum)).Store(sums);
                sums += Rows;
            }

            first += product.Tokens;
            b += TBlock.Bytes;
            c += TBlock.Bytes;
            d += TBlock.Bytes;
        }

        for (int token = 0; token < tokens; token++)
        {
            Vector128.Load(y + (token * Rows)).Store(product.Y + ((long)(firstToken + token) * product.YStride) + row);
        }
    }
}
