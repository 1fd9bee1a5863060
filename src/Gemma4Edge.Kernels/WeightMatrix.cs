namespace Gemma4Edge.Kernels;

/// <summary>A view of a weight matrix W, (Rows, Columns), row-major in the blocks of its <see cref="Format"/>.</summary>
/// <remarks>
/// Owns nothing: <see cref="Data"/> points into a mapping (or other native memory) whose owner must outlive this object.
/// Rows are <see cref="RowBytes"/> apart and need no alignment. Immutable, therefore safe on any thread.
/// </remarks>
public sealed unsafe class WeightMatrix
{
    /// <summary>Describes <paramref name="rows"/> × <paramref name="columns"/> weights that start at <paramref name="data"/>.</summary>
    /// <exception cref="ArgumentException">A dimension is not positive, or Columns is not a whole number of blocks.</exception>
    public WeightMatrix(QuantFormat format, byte* data, int rows, int columns)
    {
        ArgumentNullException.ThrowIfNull(format);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        if (columns % format.BlockColumns != 0)
        {
            throw new ArgumentException($"{columns} columns are not a whole number of {format.Name} blocks of {format.BlockColumns}.", nameof(columns));
        }

        Format = format;
        Data = data;
        Rows = rows;
        Columns = columns;
        RowBytes = format.RowBytes(columns);
    }

    /// <summary>How the weights are stored.</summary>
    public QuantFormat Format { get; }

    /// <summary>First byte of row 0.</summary>
    public byte* Data { get; }

    /// <summary>Number of output features.</summary>
    public int Rows { get; }

    /// <summary>Number of input features.</summary>
    public int Columns { get; }

    /// <summary>Distance of two rows in bytes.</summary>
    public long RowBytes { get; }

    /// <summary>Bytes that one pass over the whole matrix reads.</summary>
    public long Bytes => Rows * RowBytes;

    /// <summary>The rows [<paramref name="firstRow"/>, firstRow + <paramref name="rowCount"/>) as a matrix of their own: one expert, one half of a fused matrix.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the matrix.</exception>
    public WeightMatrix Slice(int firstRow, int rowCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstRow);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rowCount, Rows - firstRow);
        return new WeightMatrix(Format, Data + (firstRow * RowBytes), rowCount, Columns);
    }
}
