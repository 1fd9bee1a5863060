using System.Numerics.Tensors;
using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>
/// The products of <see cref="MatrixMultiplier"/> with TurboQuant matrices: quantizes the activations once, then splits the panels or rows over the pool.
/// With float activations every row is decoded instead, as those of row formats always are.
/// </summary>
internal sealed unsafe class TurboQuantMultiplier(CpuKernels kernels, WorkerPool pool, ActivationFormat activations)
{
    private readonly ActivationScratch _activations = new(kernels.Hadamard, pool);
    private readonly PanelJob _panelJob = new(kernels.TurboQuant);
    private readonly NestJob _nestJob = new(kernels.TurboQuant);
    private readonly SelectedJob _selectedJob = new(kernels.TurboQuant);
    private readonly RowJob _rowJob = new(kernels.Hadamard);

    /// <summary>y = x·Wᵀ for all rows.</summary>
    /// <param name="w">A TurboQuant matrix.</param>
    /// <param name="x">(tokens, Columns).</param>
    /// <param name="y">(tokens, Rows).</param>
    /// <param name="tokens">At least 1.</param>
    /// <param name="grain">Rows per chunk.</param>
    public void Multiply(WeightMatrix w, float* x, float* y, int tokens, int grain)
    {
        var format = (TurboQuantDescriptor)w.Format;
        if (activations == ActivationFormat.Float || format.Layout == TurboQuantStorage.Row)
        {
            _rowJob.Set(w, null, x, y, tokens);
            pool.Run(_rowJob, w.Rows, grain);
            return;
        }

        PanelJob job = format.Layout == TurboQuantStorage.Nest ? _nestJob : _panelJob;
        job.Set(w, Quantize(w, x, tokens), y, tokens);
        pool.Run(job, PanelProduct.Count(w.Rows), PanelProduct.Count(grain));
        GC.KeepAlive(_activations); // the job has pointers into it, and nothing else may hold this object any more
    }

    /// <summary>y[i] = W[rows[i]]·x of a nested matrix, one token.</summary>
    public void MultiplySelected(WeightMatrix w, int* rows, int count, float* x, float* y, int grain)
    {
        if (activations == ActivationFormat.Float)
        {
            _rowJob.Set(w, rows, x, y, 1);
            pool.Run(_rowJob, count, grain);
            return;
        }

        _selectedJob.Set(w, Quantize(w, x, 1), rows, count, y);
        pool.Run(_selectedJob, PanelProduct.Count(count), PanelProduct.Count(grain));
        GC.KeepAlive(_activations);
    }

    /// <summary>Writes one row of W as floats, in the basis of its activations.</summary>
    public void DecodeRow(WeightMatrix w, int row, float* destination) => TurboQuantRow.Decode(w, row, kernels.Hadamard, destination);

    private Int8Rows Quantize(WeightMatrix w, float* x, int tokens)
    {
        var format = (TurboQuantDescriptor)w.Format;
        int group = format.Group == 0 ? w.Columns : format.Group;
        return _activations.Quantize(x, tokens, w.Columns, group, format.Rotation, w.InputScale);
    }

    /// <summary>Panels as they stand.</summary>
    private class PanelJob(ITurboQuantKernel kernel) : IRangeJob
    {
        protected ITurboQuantKernel Kernel => kernel;

        protected PanelProduct Product;

        protected WeightMatrix? Weights { get; private set; }

        public void Set(WeightMatrix w, in Int8Rows x, float* y, int tokens)
        {
            Weights = w;
            Product = new PanelProduct((TurboQuantDescriptor)w.Format, w.Data, w.Rows, w.Columns) { X = x, Tokens = tokens, Y = y, YStride = w.Rows };
        }

        public virtual void Run(int first, int count) => Kernel.Multiply(Product, first, count);
    }

    /// <summary>Both planes of a nested matrix: each panel is put together on the stack as an ordinary 4-bit panel.</summary>
    private class NestJob(ITurboQuantKernel kernel) : PanelJob(kernel)
    {
        [SkipLocalsInit]
        public sealed override void Run(int first, int count)
        {
            byte* joined = stackalloc byte[checked((int)Product.PanelBytes)];
            for (int panel = first; panel < first + count; panel++)
            {
                Join(panel, joined);
                int row = panel * TurboQuantLayout.PanelRows;
                PanelProduct one = Product;
                one.Panels = joined;
                one.Rows -= row;
                one.Y += row;
                Kernel.Multiply(one, 0, 1);
            }
        }

        protected virtual void Join(int panel, byte* joined) => NestLayout.Join(Weights!, panel, joined);
    }

    /// <summary>Chosen rows of a nested matrix, 16 at a time.</summary>
    private sealed class SelectedJob(ITurboQuantKernel kernel) : NestJob(kernel)
    {
        private int* _rows;

        public void Set(WeightMatrix w, in Int8Rows x, int* rows, int count, float* y)
        {
            Set(w, x, y, tokens: 1);
            Product.Rows = count;
            _rows = rows;
        }

        protected override void Join(int panel, byte* joined)
        {
            int first = panel * TurboQuantLayout.PanelRows;
            NestLayout.Join(Weights!, new ReadOnlySpan<int>(_rows + first, Math.Min(TurboQuantLayout.PanelRows, Product.Rows - first)), joined);
        }
    }

    /// <summary>Every row is decoded to floats. For tables and comparisons, not for speed.</summary>
    private sealed class RowJob(IHadamardKernel hadamard) : IRangeJob
    {
        private WeightMatrix? _weights;
        private int* _rows;
        private float* _x;
        private float* _y;
        private int _tokens;

        /// <summary>Null for <paramref name="rows"/> = all of them.</summary>
        public void Set(WeightMatrix w, int* rows, float* x, float* y, int tokens)
        {
            _weights = w;
            _rows = rows;
            _x = x;
            _y = y;
            _tokens = tokens;
        }

        [SkipLocalsInit]
        public void Run(int first, int count)
        {
            WeightMatrix w = _weights!;
            float* weights = stackalloc float[w.Columns];
            for (int row = first; row < first + count; row++)
            {
                TurboQuantRow.Decode(w, _rows == null ? row : _rows[row], hadamard, weights);
                for (int token = 0; token < _tokens; token++)
                {
                    _y[((long)token * w.Rows) + row] = TensorPrimitives.Dot(
                        new ReadOnlySpan<float>(weights, w.Columns), new ReadOnlySpan<float>(_x + ((long)token * w.Columns), w.Columns));
                }
            }
        }
    }
}
