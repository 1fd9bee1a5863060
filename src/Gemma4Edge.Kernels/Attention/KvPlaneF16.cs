using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>Keys or values as halves, rounded to nearest.</summary>
internal sealed class KvPlaneF16(int capacity, int rowLength) : KvPlane(capacity, rowLength)
{
    private Half[] _rows = new Half[checked(capacity * rowLength)];

    /// <inheritdoc/>
    public override long Bytes => (long)_rows.Length * 2;

    /// <inheritdoc/>
    internal override ReadOnlySpan<float> Read(int position, int column, Span<float> scratch)
    {
        TensorPrimitives.ConvertToSingle(_rows.AsSpan(StartOf(position) + column, scratch.Length), scratch);
        return scratch;
    }

    private protected override void Resize(int capacity) => Array.Resize(ref _rows, checked(capacity * RowLength));

    private protected override void Store(int start, ReadOnlySpan<float> row) => TensorPrimitives.ConvertToHalf(row, _rows.AsSpan(start));
}
