namespace Gemma4Edge.Kernels;

/// <summary><see cref="KvPlaneTq4"/> whose first and latest rows are also kept at 8 bits, and read from there.</summary>
/// <remarks>
/// Attention rests most on the first tokens and on the latest. What counts as latest is told by the reader's own position, so the
/// result does not depend on how a prompt is cut into chunks. Every row is written in both precisions, and a row that leaves the
/// latest ones is simply read from its 4 bits from then on: nothing is encoded twice, and the 8-bit part has a fixed size,
/// 4 + 63 + MaxChunk rows. A row it no longer holds (after a far rollback of a network without sliding layers) is read at 4 bits.
/// Both parts have the same rotation.
/// </remarks>
internal sealed class KvPlaneTq4Ends : KvPlane
{
    private const int FirstRows = 4;
    private const int LatestRows = 64;

    private readonly KvPlaneTq4 _all;
    private readonly KvPlaneKv8 _ends;
    private readonly int[] _positions; // of the rows in _ends

    public KvPlaneTq4Ends(KvPlaneShape shape, int capacity)
        : base(KvFormat.Tq4Ends, shape, capacity)
    {
        _all = new KvPlaneTq4(shape, capacity);
        _ends = new KvPlaneKv8(shape, EndRows(shape));
        _positions = new int[_ends.Capacity];
        Array.Fill(_positions, -1);
    }

    /// <inheritdoc/>
    public override bool DependsOnReader => true;

    /// <inheritdoc/>
    public override int RowBytes => _all.RowBytes + 1 + _ends.RowBytes;

    /// <inheritdoc/>
    internal override HadamardRotation Rotation => _all.Rotation;

    /// <summary>Rows that are kept at 8 bits: the first of a chunk still needs the 63 before it when the chunk is written.</summary>
    public static int EndRows(KvPlaneShape shape) => FirstRows + LatestRows - 1 + shape.MaxChunk;

    /// <inheritdoc/>
    internal override void Read(int position, int head, int newest, Span<float> destination)
    {
        int row = EndRowOf(position);
        bool isEnd = (position < FirstRows || position > newest - LatestRows) && _positions[row] == position;
        if (isEnd)
        {
            _ends.Read(row, head, newest, destination);
        }
        else
        {
            _all.Read(position, head, newest, destination);
        }
    }

    /// <summary>The 4 bits, then whether there are 8, then those.</summary>
    public override void CopyOut(int position, Span<byte> row)
    {
        _all.CopyOut(position, row[.._all.RowBytes]);
        bool isHeld = _positions[EndRowOf(position)] == position;
        row[_all.RowBytes] = isHeld ? (byte)1 : (byte)0;
        if (isHeld)
        {
            _ends.CopyOut(EndRowOf(position), row[^_ends.RowBytes..]);
        }
        else
        {
            row[^_ends.RowBytes..].Clear();
        }
    }

    /// <inheritdoc/>
    public override void CopyIn(int position, ReadOnlySpan<byte> row)
    {
        _all.CopyIn(position, row[.._all.RowBytes]);
        int endRow = EndRowOf(position);
        if (row[_all.RowBytes] != 0)
        {
            _positions[endRow] = position;
            _ends.CopyIn(endRow, row[^_ends.RowBytes..]);
        }
        else if (_positions[endRow] == position)
        {
            _positions[endRow] = -1; // of another sequence
        }
    }

    private protected override void Resize(int capacity) => _all.Grow(capacity);

    private protected override void Store(int position, ReadOnlySpan<float> row)
    {
        int endRow = EndRowOf(position);
        _positions[endRow] = position;
        _ends.Write(endRow, row);
        _all.Write(position, row);
    }

    private int EndRowOf(int position) =>
        position < FirstRows ? position : FirstRows + ((position - FirstRows) % (_ends.Capacity - FirstRows));
}
