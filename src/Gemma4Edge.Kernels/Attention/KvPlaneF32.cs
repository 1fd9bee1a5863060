namespace Gemma4Edge.Kernels;

/// <summary>Keys or values as singles; read in place.</summary>
internal sealed class KvPlaneF32(int capacity, int rowLength) : KvPlane(capacity, rowLength)
{
    private float[] _rows = new float[checked(capacity * rowLength)];

    /// <inheritdoc/>
    public override long Bytes => (long)_rows.Length * sizeof(float);

    /// <inheritdoc/>
    internal override ReadOnlySpan<float> Read(int position, int column, Span<float> scratch) =>
        _rows.AsSpan(StartOf(position) + column, scratch.Length);

    private protected override void Resize(int capacity) => Array.Resize(ref _rows, checked(capacity * RowLength));

    private protected override void Store(int start, ReadOnlySpan<float> row) => row.CopyTo(_rows.AsSpan(start));
}
