using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace Gemma4Edge.Kernels;

/// <summary>Keys or values as halves, rounded to nearest.</summary>
internal sealed class KvPlaneF16(KvPlaneShape shape, int capacity) : KvPlane(KvFormat.F16, shape, capacity)
{
    private Half[] _rows = new Half[checked(capacity * shape.RowLength)];

    /// <inheritdoc/>
    internal override void Read(int position, int head, int newest, Span<float> destination) =>
        TensorPrimitives.ConvertToSingle(_rows.AsSpan(VectorOf(position, head) * Shape.HeadDim, Shape.HeadDim), destination);

    /// <inheritdoc/>
    public override void CopyOut(int position, Span<byte> row) => RowOf(position).CopyTo(row);

    /// <inheritdoc/>
    public override void CopyIn(int position, ReadOnlySpan<byte> row) => row.CopyTo(RowOf(position));

    private protected override void Resize(int capacity) => Array.Resize(ref _rows, checked(capacity * Shape.RowLength));

    private protected override void Store(int position, ReadOnlySpan<float> row) =>
        TensorPrimitives.ConvertToHalf(row, _rows.AsSpan(VectorOf(position, 0) * Shape.HeadDim));

    private Span<byte> RowOf(int position) => MemoryMarshal.AsBytes(_rows.AsSpan(VectorOf(position, 0) * Shape.HeadDim, Shape.RowLength));
}
