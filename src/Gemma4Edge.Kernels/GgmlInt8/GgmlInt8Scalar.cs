namespace Gemma4Edge.Kernels;

/// <summary>What <see cref="GgmlInt8Scalar{TBlock}"/> needs to know of a format: the integers of a block of 32 weights and their scale.</summary>
internal unsafe interface IScalarInt8Block
{
    /// <summary>Bytes per block.</summary>
    static abstract int Bytes { get; }

    /// <summary>The factor of the block's integers.</summary>
    static abstract float Scale(byte* block);

    /// <summary>The integer of weight <paramref name="i"/>, in [0, 32).</summary>
    static abstract int Quant(byte* block, int i);
}

/// <summary>The readable reference; it also does the rows that are left over where the other kernels take several at once.</summary>
internal sealed unsafe class GgmlInt8Scalar<TBlock> : IGgmlInt8Kernel
    where TBlock : struct, IScalarInt8Block
{
    /// <inheritdoc/>
    public string Name => "scalar";

    /// <inheritdoc/>
    public bool IsSupported => true;

    /// <inheritdoc/>
    public void Multiply(in GgmlProduct product, int first, int count)
    {
        for (int row = first; row < first + count; row++)
        {
            for (int token = 0; token < product.Tokens; token++)
            {
                product.Y[((long)token * product.YStride) + row] = Dot(product, row, token);
            }
        }
    }

    private static float Dot(in GgmlProduct product, int row, int token)
    {
        byte* block = product.Weights + (row * product.RowBytes);
        Int8Block* x = product.X + token;
        float y = 0;
        for (int b = 0; b < product.Blocks; b++)
        {
            int sum = 0;
            for (int i = 0; i < Int8Block.Columns; i++)
            {
                sum += TBlock.Quant(block, i) * x->Values[i];
            }

            y = MathF.FusedMultiplyAdd(TBlock.Scale(block) * x->Scale, sum, y);
            block += TBlock.Bytes;
            x += product.Tokens;
        }

        return y;
    }
}
