using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace Gemma4Edge.Kernels;

/// <summary>The keys, or the values, of one layer: a ring of rows, position p in row p mod Capacity. A row holds all heads, contiguous.</summary>
/// <remarks>
/// It does not know which positions are alive: its user keeps to the last <see cref="Capacity"/> written ones.
/// One writer; any number of readers of rows that are not being written.
/// </remarks>
public abstract class KvPlane
{
    private protected KvPlane(KvFormat format, KvPlaneShape shape, int capacity)
    {
        Format = format;
        Shape = shape;
        Capacity = capacity;
    }

    /// <summary>How elements are kept.</summary>
    public KvFormat Format { get; }

    /// <summary>What a row holds.</summary>
    public KvPlaneShape Shape { get; }

    /// <summary>Rows in the ring.</summary>
    public int Capacity { get; private set; }

    /// <summary>Bytes held.</summary>
    public long Bytes => BytesOf(Format, Shape, Capacity);

    /// <summary>How head vectors are rotated before they are stored; null = not. Queries must be rotated the same way, what is gathered from values back.</summary>
    internal virtual HadamardRotation? Rotation => null;

    /// <summary>Whether <see cref="Read"/> looks at who reads: then readers at different positions cannot share what was read.</summary>
    public virtual bool DependsOnReader => false;

    /// <summary>Makes a ring of zeros in the given format.</summary>
    /// <exception cref="ArgumentException">The format cannot hold heads of that length.</exception>
    public static KvPlane Create(KvFormat format, KvPlaneShape shape, int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(shape.RowLength, nameof(shape));
        if (!CanHold(format, shape.HeadDim))
        {
            throw new ArgumentException($"{format} cannot hold heads of {shape.HeadDim}.", nameof(shape));
        }

        return format switch
        {
            KvFormat.F32 => new KvPlaneF32(shape, capacity),
            KvFormat.F16 => new KvPlaneF16(shape, capacity),
            KvFormat.Kv8 => new KvPlaneKv8(shape, capacity),
            KvFormat.Tq4 => new KvPlaneTq4(shape, capacity),
            KvFormat.Tq4Ends => new KvPlaneTq4Ends(shape, capacity),
            KvFormat.Polar4 or KvFormat.Prod4 => new KvPlaneBlocks(format, shape, capacity),
            _ => throw new ArgumentOutOfRangeException(nameof(format), format, "No such key/value format."),
        };
    }

    /// <summary>Whether heads of that length can be kept in a format: those that rotate need a power of two from 32 to 512.</summary>
    public static bool CanHold(KvFormat format, int headDim) =>
        format < KvFormat.Kv8 || (BitOperations.IsPow2(headDim) && headDim is >= IHadamardKernel.MinBlock and <= IHadamardKernel.MaxBlock);

    /// <summary>Bytes that a ring of <paramref name="capacity"/> rows holds.</summary>
    public static long BytesOf(KvFormat format, KvPlaneShape shape, int capacity) => format switch
    {
        KvFormat.F32 => 4L * shape.RowLength * capacity,
        KvFormat.F16 => 2L * shape.RowLength * capacity,
        KvFormat.Kv8 => (long)KvPlaneKv8.BytesPerHead(shape.HeadDim) * shape.Heads * capacity,
        KvFormat.Tq4 => (long)KvPlaneTq4.BytesPerHead(shape.HeadDim) * shape.Heads * capacity,
        KvFormat.Tq4Ends => BytesOf(KvFormat.Tq4, shape, capacity) + BytesOf(KvFormat.Kv8, shape, KvPlaneTq4Ends.EndRows(shape)),
        KvFormat.Polar4 or KvFormat.Prod4 => (long)KvPlaneBlocks.BytesPerHead(format, shape) * shape.Heads * capacity,
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
    /// <param name="row">(Heads, HeadDim).</param>
    /// <exception cref="ArgumentException">The length does not fit.</exception>
    public void Write(int position, ReadOnlySpan<float> row)
    {
        if (row.Length != Shape.RowLength)
        {
            ThrowRowLength(row.Length);
        }

        Store(position, row);
    }

    /// <summary>Bytes of a row as <see cref="CopyOut"/> gives it.</summary>
    public virtual int RowBytes => (int)BytesOf(Format, Shape, 1);

    /// <summary>The row of <paramref name="position"/> as it is stored.</summary>
    /// <param name="position">A stored position.</param>
    /// <param name="row">(<see cref="RowBytes"/>), overwritten. In this machine's byte order.</param>
    public abstract void CopyOut(int position, Span<byte> row);

    /// <summary>Stores what <see cref="CopyOut"/> gave, of a plane of the same format and shape. Rows go in in the order of their positions.</summary>
    /// <param name="position">Not negative.</param>
    /// <param name="row">(<see cref="RowBytes"/>).</param>
    public abstract void CopyIn(int position, ReadOnlySpan<byte> row);

    /// <summary>One stored head vector as floats, rotated as <see cref="Rotation"/> says.</summary>
    /// <param name="position">A stored position.</param>
    /// <param name="head">Which head of the row.</param>
    /// <param name="newest">The newest position that the reader sees; its own.</param>
    /// <param name="destination">(HeadDim).</param>
    internal abstract void Read(int position, int head, int newest, Span<float> destination);

    private protected abstract void Resize(int capacity);

    private protected abstract void Store(int position, ReadOnlySpan<float> row);

    /// <summary>Index of a head vector among all of the ring.</summary>
    private protected int VectorOf(int position, int head) => (position % Capacity * Shape.Heads) + head;

    [DoesNotReturn]
    private void ThrowRowLength(int length) => throw new ArgumentException($"A row of {length} floats where {Shape.RowLength} are stored.");
}
