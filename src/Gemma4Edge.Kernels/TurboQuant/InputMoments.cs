using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>M = Σ a·x·xᵀ over the activations x, of weight a, a matrix was multiplied with, in blocks of columns along the diagonal: what calibration knows of its input.</summary>
/// <remarks>Columns × span floats. Not thread-safe; the sums do not depend on the number of threads.</remarks>
public sealed unsafe class InputMoments : IRangeJob
{
    /// <summary>Columns per chunk: a row of M is some hundred multiply-adds a token.</summary>
    private const int Grain = 16;

    private readonly float[] _values;
    private float* _x;
    private int _tokens;
    private float _weight;

    /// <param name="columns">Length of an activation row.</param>
    /// <param name="span">Columns of a block; the last one may have fewer.</param>
    public InputMoments(int columns, int span)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(span);
        Columns = columns;
        Span = Math.Min(span, columns);
        _values = new float[(long)columns * Span];
    }

    /// <summary>Length of an activation row.</summary>
    public int Columns { get; }

    /// <summary>Columns of a block.</summary>
    public int Span { get; }

    /// <summary>Σ a: how many activations of weight 1 it would be.</summary>
    public double Weight { get; private set; }

    /// <summary>Adds a·x·xᵀ of each row of x.</summary>
    /// <param name="x">(tokens, Columns).</param>
    /// <param name="tokens">Number of rows.</param>
    /// <param name="weight">a, of all these rows.</param>
    /// <param name="pool">Threads that share the columns.</param>
    /// <exception cref="ArgumentException">x is too short.</exception>
    public void Add(ReadOnlySpan<float> x, int tokens, float weight, WorkerPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentOutOfRangeException.ThrowIfLessThan(x.Length, (long)tokens * Columns, nameof(x));
        Weight += tokens * (double)weight;
        _weight = weight;
        fixed (float* start = x)
        {
            _x = start;
            _tokens = tokens;
            pool.Run(this, Columns, Grain);
        }
    }

    /// <summary>M[a, b].</summary>
    /// <param name="a">A column.</param>
    /// <param name="b">One of the same block.</param>
    internal float this[int a, int b] => _values[(Math.Min(a, b) * Span) + (Math.Max(a, b) % Span)];

    /// <inheritdoc/>
    void IRangeJob.Run(int first, int count)
    {
        for (int column = first; column < first + count; column++)
        {
            int length = Math.Min((column / Span * Span) + Span, Columns) - column; // the upper triangle
            Span<float> sums = _values.AsSpan((column * Span) + (column % Span), length);
            for (int token = 0; token < _tokens; token++)
            {
                float* x = _x + ((long)token * Columns) + column;
                TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(x, length), _weight * *x, sums, sums);
            }
        }
    }
}
