namespace Gemma4Edge.Kernels;

/// <summary>The readable reference.</summary>
internal sealed unsafe class TurboQuantScalar : ITurboQuantKernel
{
    /// <inheritdoc/>
    public string Name => "scalar";

    /// <inheritdoc/>
    public bool IsSupported => true;

    /// <inheritdoc/>
    public void Multiply(in PanelProduct product, int first, int count)
    {
        int firstRow = first * TurboQuantLayout.PanelRows;
        int lastRow = Math.Min(firstRow + (count * TurboQuantLayout.PanelRows), product.Rows);
        for (int row = firstRow; row < lastRow; row++)
        {
            for (int token = 0; token < product.Tokens; token++)
            {
                product.Y[((long)token * product.YStride) + row] = Dot(product, row, token);
            }
        }
    }

    private static float Dot(in PanelProduct product, int row, int token)
    {
        byte* panel = product.Panels + (row / TurboQuantLayout.PanelRows * product.PanelBytes);
        byte* scales = panel + product.ScaleOffset;
        int rowInPanel = row % TurboQuantLayout.PanelRows;
        sbyte* x = product.X.Values + ((long)token * product.X.Stride);
        float y = 0;
        for (int group = 0; group < product.Columns / product.Group; group++)
        {
            int sum = 0;
            for (int column = group * product.Group; column < (group + 1) * product.Group; column++)
            {
                int code = TurboQuantLayout.ReadCode(panel, product.Bits, rowInPanel, column);
                sum += (product.Bits == 8 ? (sbyte)code : product.Levels[code]) * x[column];
            }

            int index = (group * TurboQuantLayout.PanelRows) + rowInPanel;
            float scale = product.WideScales ? ((float*)scales)[index] : (float)((Half*)scales)[index];
            y = MathF.FusedMultiplyAdd(scale, sum, y);
        }

        return y * product.X.Scales[token];
    }
}
