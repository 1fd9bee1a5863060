namespace Gemma4Edge.Model.Text;

/// <summary>Which two neighbouring pieces merge into which piece, and how early.</summary>
/// <remarks>Three ids per merge in rank order and an open-addressing hash of ranks at most half full. Immutable.</remarks>
internal sealed class MergeTable
{
    private static readonly ulong s_multiplier = (ulong)Random.Shared.NextInt64() | 1;     // per process: a file cannot aim at collisions

    private readonly int[] _left;
    private readonly int[] _right;
    private readonly int[] _merged;
    private readonly int[] _slots;                       // rank + 1; 0 = free
    private readonly int _shift;

    /// <exception cref="FormatException">A merge is not two known pieces, makes no known piece, makes a special token, or stands twice.</exception>
    public MergeTable(PackedStrings merges, PieceTable pieces, SpecialTokens special)
    {
        _left = new int[merges.Count];
        _right = new int[merges.Count];
        _merged = new int[merges.Count];
        _slots = new int[PieceTable.HashSize(merges.Count)];
        _shift = 64 - System.Numerics.BitOperations.Log2((uint)_slots.Length);

        byte[] text = [];
        for (int rank = 0; rank < merges.Count; rank++)
        {
            ReadOnlySpan<byte> merge = merges[rank];
            int space = merge.Length < 2 ? 0 : merge[1..].IndexOf((byte)' ') + 1;
            if (space == 0)
            {
                throw new FormatException($"Merge {rank} is not two pieces with a space between.");
            }
            if (text.Length < merge.Length)
            {
                text = new byte[merge.Length * 2];
            }
            int split = PieceTable.Unescape(merge[..space], text);
            int length = split + PieceTable.Unescape(merge[(space + 1)..], text.AsSpan(split));
            _left[rank] = pieces.Find(text.AsSpan(0, split));
            _right[rank] = pieces.Find(text.AsSpan(split, length - split));
            _merged[rank] = pieces.Find(text.AsSpan(0, length));
            if (_left[rank] < 0 || _right[rank] < 0 || _merged[rank] < 0)
            {
                throw new FormatException($"Merge {rank} names a piece that the vocabulary does not have.");
            }
            if (special.Contains(_merged[rank]))
            {
                throw new FormatException($"Merge {rank} would make the special token {pieces.Text(_merged[rank])} out of plain text.");
            }
            ref int slot = ref _slots[Slot(_left[rank], _right[rank])];
            if (slot != 0)
            {
                throw new FormatException($"Merge {rank} is the same as merge {slot - 1}.");
            }
            slot = rank + 1;
        }
    }

    /// <summary>The rank of merging <paramref name="left"/> with <paramref name="right"/> (0 is first), or −1 when they do not merge.</summary>
    public int Rank(int left, int right) => _slots[Slot(left, right)] - 1;

    /// <summary>The piece that merge <paramref name="rank"/> makes.</summary>
    public int Merged(int rank) => _merged[rank];

    private int Slot(int left, int right)
    {
        int mask = _slots.Length - 1;
        int slot = (int)((((ulong)(uint)left << 32) | (uint)right) * s_multiplier >> _shift);
        while (_slots[slot] != 0 && (_left[_slots[slot] - 1] != left || _right[_slots[slot] - 1] != right))
        {
            slot = (slot + 1) & mask;
        }
        return slot;
    }
}
