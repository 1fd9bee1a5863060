namespace Gemma4Edge.Kernels;

/// <summary>The products of <see cref="MatrixMultiplier"/> that take ggml's blocks and 8-bit activations: quantizes the activations once, then splits the rows over the pool.</summary>
internal sealed unsafe class GgmlMultiplier(CpuKernels kernels, WorkerPool pool)
{
    private readonly Int8BlockQuantizer _activations = new(pool);
    private readonly RowJob _job = new();

    /// <summary>y = x·Wᵀ for all rows; false and nothing done where the format has no such kernels.</summary>
    /// <param name="w">A matrix in one of ggml's formats.</param>
    /// <param name="x">(tokens, Columns).</param>
    /// <param name="y">(tokens, Rows).</param>
    /// <param name="tokens">At least 1.</param>
    /// <param name="grain">Rows per chunk.</param>
    public bool TryMultiply(WeightMatrix w, float* x, float* y, int tokens, int grain)
    {
        if (kernels.Int8For((QuantFormat)w.Format) is not { } kernel)
        {
            return false;
        }

        _job.Kernel = kernel;
        _job.Product = new GgmlProduct
        {
            Weights = w.Data,
            RowBytes = w.RowBytes,
            Blocks = w.Columns / Int8Block.Columns,
            Tokens = tokens,
            X = _activations.Quantize(x, tokens, w.Columns),
            Y = y,
            YStride = w.Rows,
        };
        pool.Run(_job, w.Rows, grain);
        GC.KeepAlive(_activations); // the job has pointers into it, and nothing else may hold this object any more
        return true;
    }

    private sealed class RowJob : IRangeJob
    {
        public IGgmlInt8Kernel? Kernel { get; set; }

        public GgmlProduct Product { get; set; }

        public void Run(int first, int count) => Kernel!.Multiply(Product, first, count);
    }
}
