using System.Diagnostics.CodeAnalysis;

namespace Gemma4Edge.Kernels;

/// <summary>Y = X·Wᵀ with the rows of W split over a <see cref="WorkerPool"/>. Allocates nothing after construction.</summary>
/// <param name="kernels">What computes.</param>
/// <param name="pool">Threads that share the rows.</param>
/// <param name="activations">How activations enter the products.</param>
/// <remarks>Not thread-safe: it keeps the one product under way in its fields, and the pool runs one job at a time. Owns neither kernels nor pool.</remarks>
public sealed unsafe class MatrixMultiplier(CpuKernels kernels, WorkerPool pool, ActivationFormat activations)
{
    /// <summary>Multiply-adds that make a chunk worth dispatching: tens of µs, where taking one costs less than one.</summary>
    private const long ChunkMultiplyAdds = 256 * 1024;

    private readonly ProductJob _job = new();
    private readonly GgmlMultiplier _ggml = new(kernels, pool);
    private readonly TurboQuantMultiplier _turboQuant = new(kernels, pool, activations);

    /// <summary>Is shown the activations of every product before it runs: calibration. Null = nobody looks.</summary>
    public ActivationObserver? Observer { get; set; }

    /// <summary>The kernels products run on.</summary>
    public CpuKernels Kernels => kernels;

    /// <summary>y[t, r] = Σ_c W[r, c] · x[t, c].</summary>
    /// <param name="w">W, (Rows, Columns); its memory must stay mapped during the call.</param>
    /// <param name="x">(tokens, Columns), contiguous; may be longer.</param>
    /// <param name="y">Result, (tokens, Rows), contiguous; may be longer. Must not overlap x.</param>
    /// <param name="tokens">Number of activation rows; 0 does nothing.</param>
    /// <exception cref="ArgumentException">x or y is too short. Checked once, before any work.</exception>
    /// <remarks>
    /// 8-bit activations are rounded once per product: TurboQuant's with one scale per row after the rotation, those of ggml's blocks with one per 32.
    /// The result does not depend on the number of threads: every y[t, r] is computed by one kernel call over all columns.
    /// </remarks>
    public void Multiply(WeightMatrix w, ReadOnlySpan<float> x, Span<float> y, int tokens)
    {
        ArgumentNullException.ThrowIfNull(w);
        ArgumentOutOfRangeException.ThrowIfNegative(tokens);
        CheckLength(x.Length, tokens, w.Columns, nameof(x));
        CheckLength(y.Length, tokens, w.Rows, nameof(y));
        if (tokens == 0)
        {
            return;
        }

        Observer?.Invoke(w, x, tokens);
        fixed (float* xStart = x, yStart = y)
        {
            if (w.Format is not QuantFormat format)
            {
                _turboQuant.Multiply(w, xStart, yStart, tokens, Grain(w.Rows, w.Columns, tokens));
                return;
            }

            if (activations != ActivationFormat.Float && _ggml.TryMultiply(w, xStart, yStart, tokens, Grain(w.Rows, w.Columns, tokens)))
            {
                return;
            }

            _job.Kernel = kernels.For(format);
            _job.Weights = w;
            _job.X = xStart;
            _job.Y = yStart;
            _job.Tokens = tokens;
            pool.Run(_job, w.Rows, Grain(w.Rows, w.Columns, tokens));
        }
    }

    /// <summary>Writes one row of W as floats, exactly.</summary>
    /// <param name="w">W, (Rows, Columns).</param>
    /// <param name="row">In [0, Rows).</param>
    /// <param name="destination">(Columns); may be longer.</param>
    /// <exception cref="ArgumentException">The row is not in the matrix, or the destination is too short.</exception>
    public void DecodeRow(WeightMatrix w, int row, Span<float> destination)
    {
        ArgumentNullException.ThrowIfNull(w);
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, w.Rows);
        CheckLength(destination.Length, 1, w.Columns, nameof(destination));
        fixed (float* start = destination)
        {
            if (w.Format is QuantFormat format)
            {
                kernels.For(format).Decode(w.Data + (row * w.RowBytes), start, w.Columns);
            }
            else
            {
                _turboQuant.DecodeRow(w, row, start);
            }
        }
    }

    /// <summary>y[i] = W[rows[i]]·x for one token: the second stage of a head whose first stage looked at <see cref="WeightMatrix.UpperPlane"/>.</summary>
    /// <param name="w">A nested TurboQuant matrix.</param>
    /// <param name="rows">Rows of W, in any order.</param>
    /// <param name="x">(Columns); may be longer.</param>
    /// <param name="y">Result, (rows); may be longer. Equal to what <see cref="Multiply"/> gives for these rows.</param>
    /// <exception cref="ArgumentException">W is not nested, a row is not in the matrix, or x or y is too short.</exception>
    public void MultiplyRows(WeightMatrix w, ReadOnlySpan<int> rows, ReadOnlySpan<float> x, Span<float> y)
    {
        ArgumentNullException.ThrowIfNull(w);
        if (w.Format is not TurboQuantDescriptor { Layout: TurboQuantStorage.Nest })
        {
            throw new ArgumentException($"A {w.Format} matrix has no rows of its own; a nested one was expected.", nameof(w));
        }

        CheckLength(x.Length, 1, w.Columns, nameof(x));
        CheckLength(y.Length, 1, rows.Length, nameof(y));
        foreach (int row in rows)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)w.Rows, nameof(rows));
        }

        fixed (int* rowsStart = rows)
        fixed (float* xStart = x, yStart = y)
        {
            _turboQuant.MultiplySelected(w, rowsStart, rows.Length, xStart, yStart, Grain(rows.Length, w.Columns, 1));
        }
    }

    /// <summary>Rows per chunk: worth its dispatch, a multiple of the kernels' row tiles, and small enough that threads finish together.</summary>
    private int Grain(int rows, int columns, int tokens)
    {
        const int RowTile = 8;
        const int ChunksPerThread = 8;
        long worthwhile = ChunkMultiplyAdds / ((long)columns * tokens);
        long chunk = Math.Max(worthwhile, rows / (pool.Threads * ChunksPerThread));
        return (int)Math.Min((chunk / RowTile * RowTile) + RowTile, int.MaxValue);
    }

    private static void CheckLength(int length, int rows, int columns, string name)
    {
        if (length < (long)rows * columns)
        {
            ThrowTooShort(length, rows, columns, name);
        }
    }

    [DoesNotReturn]
    private static void ThrowTooShort(int length, int rows, int columns, string name) =>
        throw new ArgumentException($"{name} has {length} floats where {rows} × {columns} are needed.", name);

    private sealed class ProductJob : IRangeJob
    {
        public IWeightKernel? Kernel { get; set; }

        public WeightMatrix? Weights { get; set; }

        public float* X { get; set; }

        public float* Y { get; set; }

        public int Tokens { get; set; }

        public void Run(int first, int count)
        {
            WeightMatrix w = Weights!;
            Kernel!.MatMul(w.Data + (first * w.RowBytes), w.RowBytes, count, w.Columns, X, w.Columns, Tokens, Y + first, w.Rows);
        }
    }
}
