namespace Gemma4Edge.Kernels;

/// <summary>A view of a weight matrix W, (Rows, Columns), row-major in the blocks or panels of its <see cref="Format"/>.</summary>
/// <remarks>
/// Owns nothing: <see cref="Data"/> points into a mapping (or other native memory) whose owner must outlive this object.
/// ggml's blocks need no alignment, TurboQuant's panels start at multiples of 64. Immutable, therefore safe on any thread.
/// </remarks>
public sealed unsafe class WeightMatrix
{
    /// <summary>Describes <paramref name="rows"/> × <paramref name="columns"/> weights that start at <paramref name="data"/>.</summary>
    /// <param name="format">How they are stored.</param>
    /// <param name="data">First byte.</param>
    /// <param name="rows">Output features.</param>
    /// <param name="columns">Input features.</param>
    /// <param name="diagonal">s, (Columns): the factor each column was multiplied by before it was rotated and coded; null = none. Kept, not copied.</param>
    /// <exception cref="ArgumentException">A dimension is not positive, or Columns does not fit the format.</exception>
    public WeightMatrix(WeightFormat format, byte* data, int rows, int columns, ReadOnlySpan<float> diagonal = default)
    {
        ArgumentNullException.ThrowIfNull(format);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        format.CheckColumns(columns);
        Format = format;
        Data = data;
        Rows = rows;
        Columns = columns;
        RowBytes = format.RowBytes(columns);
        InputScale = (format as TurboQuantDescriptor)?.InputScale(columns, diagonal);
        Codec = (format as TurboQuantDescriptor)?.Codec(columns);
    }

    /// <summary>A part of another matrix.</summary>
    private WeightMatrix(WeightMatrix whole, WeightFormat format, byte* data, int rows)
    {
        Format = format;
        Data = data;
        Rows = rows;
        Columns = whole.Columns;
        RowBytes = format.RowBytes(Columns);
        InputScale = whole.InputScale;
        Codec = whole.Codec;
    }

    /// <summary>How the weights are stored.</summary>
    public WeightFormat Format { get; }

    /// <summary>First byte of row 0.</summary>
    public byte* Data { get; }

    /// <summary>Number of output features.</summary>
    public int Rows { get; }

    /// <summary>Number of input features.</summary>
    public int Columns { get; }

    /// <summary>Distance of two rows in bytes; of rows stored together, their share.</summary>
    public long RowBytes { get; }

    /// <summary>Bytes that one pass over the whole matrix reads.</summary>
    public long Bytes => Format.MatrixBytes(Rows, Columns);

    /// <summary>What activations are multiplied by before the rotation, (Columns): σ, divided by the diagonal scale if there is one; null = 1.</summary>
    internal float[]? InputScale { get; }

    /// <summary>What decodes the blocks of a comparison format; null for the others.</summary>
    internal IBlockCodec? Codec { get; }

    /// <summary>The rows [<paramref name="firstRow"/>, firstRow + <paramref name="rowCount"/>) as a matrix of their own: one expert, one half of a fused matrix.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the matrix.</exception>
    /// <exception cref="ArgumentException">The format stores rows together and the range cuts them apart.</exception>
    public WeightMatrix Slice(int firstRow, int rowCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstRow);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rowCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rowCount, Rows - firstRow);
        if (firstRow % Format.RowStep != 0 || Format is TurboQuantDescriptor { Layout: TurboQuantStorage.Nest })
        {
            throw new ArgumentException($"A {Format} matrix can't be cut at row {firstRow}.", nameof(firstRow));
        }

        return new WeightMatrix(this, Format, Data + (firstRow * RowBytes), rowCount);
    }

    /// <summary>The two high bits of a nested matrix's codes as a matrix of their own, over the same memory: its products rank the rows at half the bytes.</summary>
    /// <returns>Products are those of the whole matrix times about 1.70.</returns>
    /// <exception cref="InvalidOperationException">This matrix is not nested.</exception>
    public WeightMatrix UpperPlane() =>
        Format is TurboQuantDescriptor { Layout: TurboQuantStorage.Nest } nest
            ? new WeightMatrix(this, NestLayout.Upper(nest), Data, Rows)
            : throw new InvalidOperationException($"A {Format} matrix has no planes.");
}
