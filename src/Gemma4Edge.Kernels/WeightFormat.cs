namespace Gemma4Edge.Kernels;

/// <summary>How a weight matrix is stored: a format of ggml's (<see cref="QuantFormat"/>) or one of ours (<see cref="TurboQuantDescriptor"/>).</summary>
public abstract class WeightFormat
{
    /// <summary>The format's name in commands, reports and telemetry, lower case: <c>q4_0</c>, <c>tq4-128</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Rows that are stored together: a matrix is cut at multiples of it only, and its last rows are padded to it.</summary>
    public virtual int RowStep => 1;

    /// <summary>Whether there are kernels that multiply these weights with 8-bit activations.</summary>
    public abstract bool TakesInt8 { get; }

    /// <summary>Bytes of <see cref="RowStep"/> rows of <paramref name="columns"/> weights, scales included, divided by RowStep.</summary>
    public abstract long RowBytes(int columns);

    /// <summary>Bytes of a whole matrix.</summary>
    public virtual long MatrixBytes(int rows, int columns) => ((long)rows + RowStep - 1) / RowStep * RowStep * RowBytes(columns);

    /// <summary>Refuses rows this format can't hold.</summary>
    /// <exception cref="ArgumentException">Columns is not a whole number of blocks.</exception>
    public abstract void CheckColumns(int columns);

    /// <inheritdoc/>
    public override string ToString() => Name;
}
