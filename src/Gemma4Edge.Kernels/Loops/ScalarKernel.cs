namespace Gemma4Edge.Kernels;

/// <summary>The readable reference: one block at a time, plain sums. No columns give zeros.</summary>
internal sealed unsafe class ScalarKernel<TBlock> : IWeightKernel
    where TBlock : struct, IScalarBlock
{
    /// <summary>The longest block of any format.</summary>
    internal const int MaxColumns = 256;

    /// <inheritdoc/>
    public string Name => "scalar";

    /// <inheritdoc/>
    public bool IsSupported => true;

    /// <inheritdoc/>
    public void Decode(byte* row, float* destination, int columns)
    {
        for (int column = 0; column < columns; column += TBlock.Columns)
        {
            TBlock.Decode(row, destination + column);
            row += TBlock.Bytes;
        }
    }

    /// <inheritdoc/>
    public void MatMul(byte* weights, long rowBytes, int rows, int columns, float* x, int xStride, int tokens, float* y, int yStride)
    {
        for (int token = 0; token < tokens; token++)
        {
            new Span<float>(y + ((long)token * yStride), rows).Clear();
        }

        float* w = stackalloc float[MaxColumns];
        for (int row = 0; row < rows; row++)
        {
            byte* block = weights + (row * rowBytes);
            for (int column = 0; column < columns; column += TBlock.Columns)
            {
                TBlock.Decode(block, w);
                block += TBlock.Bytes;
                for (int token = 0; token < tokens; token++)
                {
                    float* xBlock = x + ((long)token * xStride) + column;
                    float sum = 0;
                    for (int i = 0; i < TBlock.Columns; i++)
                    {
                        sum += w[i] * xBlock[i];
                    }

                    y[((long)token * yStride) + row] += sum;
                }
            }
        }
    }
}
