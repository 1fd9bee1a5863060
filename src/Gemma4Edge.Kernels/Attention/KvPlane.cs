using System.Diagnostics.CodeAnalysis;

namespace Gemma4Edge.Kernels;

/// <summary>The keys, or the values, of one layer: a ring of rows, position p in row p mod Capacity. A row holds all heads, contiguous.</summary>
/// <remarks>
/// It does not know which positions are alive: its user keeps to the last <see cref="Capacity"/> written ones.
/// One writer; any number of readers of rows that are not being written.
/// </remarks>
public abstract class KvPlane
{
    private protected KvPlane(int capacity, int rowLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rowLength);
        Capacity = capacity;
        RowLength = rowLength;
    }

    /// <summary>Rows in the ring.</summary>
    public int Capacity { get; private set; }

    /// <summary>Floats per row: heads · headDim.</summary>
    public int RowLength { get; }

    /// <summary>Bytes held.</summary>
    public abstract long Bytes { get; }

    /// <summary>Makes a ring of zeros in the given format.</summary>
    public static KvPlane Create(KvFormat format, int capacity, int rowLength) => format switch
    {
        KvFormat.F32 => new KvPlaneF32(capacity, rowLength),
        KvFormat.F16 => new KvPlaneF16(capacity, rowLength),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "No such key/value format."),
    };

    /// <summary>Makes room for positions up to <paramref name="capacity"/>. Only while no position has wrapped: the rows stay where they are.</summary>
    /// <remarks>Allocates the whole new ring and copies; double the capacity to keep that rare.</remarks>
    public void Grow(int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, Capacity);
        Resize(capacity);
        Capacity = capacity;
    }

    /// <summary>Stores the row of <paramref name="position"/>, overwriting the one Capacity positions earlier.</summary>
    /// <param name="position">Not negative.</param>
    /// <param name="row">(RowLength).</param>
    /// <exception cref="ArgumentException">The length is not RowLength.</exception>
    public void Write(int position, ReadOnlySpan<float> row)
    {
        if (row.Length != RowLength)
        {
            ThrowRowLength(row.Length);
        }

        Store(StartOf(position), row);
    }

    /// <summary>Part of a stored row as floats: one head.</summary>
    /// <param name="position">A stored position.</param>
    /// <param name="column">First float of the part.</param>
    /// <param name="scratch">As long as the part; used only when the format has to be converted.</param>
    /// <returns>The part, either in place or in <paramref name="scratch"/>; valid until either is written.</returns>
    internal abstract ReadOnlySpan<float> Read(int position, int column, Span<float> scratch);

    private protected abstract void Resize(int capacity);

    private protected abstract void Store(int start, ReadOnlySpan<float> row);

    /// <summary>First element of a position's row.</summary>
    private protected int StartOf(int position) => position % Capacity * RowLength;

    [DoesNotReturn]
    private void ThrowRowLength(int length) => throw new ArgumentException($"A row of {length} floats where {RowLength} are stored.");
}
