namespace Gemma4Edge.Kernels;

/// <summary>The readable reference.</summary>
internal sealed unsafe class HadamardScalar : IHadamardKernel
{
    /// <inheritdoc/>
    public string Name => "scalar";

    /// <inheritdoc/>
    public bool IsSupported => true;

    /// <inheritdoc/>
    public void Transform(float* x, int count, int block)
    {
        float scale = 1 / MathF.Sqrt(block);
        for (float* end = x + count; x < end; x += block)
        {
            for (int i = 0; i < block; i++)
            {
                x[i] *= scale;
            }

            for (int h = 1; h < block; h *= 2)
            {
                for (int start = 0; start < block; start += 2 * h)
                {
                    for (int i = start; i < start + h; i++)
                    {
                        (x[i], x[i + h]) = (x[i] + x[i + h], x[i] - x[i + h]);
                    }
                }
            }
        }
    }
}
