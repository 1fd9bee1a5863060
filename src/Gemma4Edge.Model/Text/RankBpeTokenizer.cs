using System.Buffers;
using System.Text;

namespace Gemma4Edge.Model.Text;

/// <summary>Byte-pair encoding by merge rank, with byte fallback, on the tables of a GGUF or a tokenizer.json.</summary>
/// <remarks>
/// Merging runs over the whole fragment: there is no split into words. A heap keyed by (rank, position) takes the lowest rank first, the
/// leftmost among equals; symbols are a linked list, and heap entries whose pair has changed since are skipped. O(n log n).
/// </remarks>
internal sealed class RankBpeTokenizer : GemmaTokenizer
{
    private readonly MergeTable _merges;

    public RankBpeTokenizer(Vocabulary vocabulary) : base(vocabulary) =>
        _merges = new MergeTable(vocabulary.Merges, Pieces, Special);

    private protected override void EncodeFragment(ReadOnlySpan<byte> utf8, List<int> ids)
    {
        Symbol[] rented = ArrayPool<Symbol>.Shared.Rent(utf8.Length);
        Span<Symbol> symbols = rented.AsSpan(0, SplitCharacters(utf8, rented));
        Merge(symbols);
        for (int i = 0; i >= 0; i = symbols[i].Next)
        {
            if (symbols[i].Id >= 0)
            {
                ids.Add(symbols[i].Id);
                continue;
            }
            int end = symbols[i].Next >= 0 ? symbols[symbols[i].Next].Start : utf8.Length;      // an unknown character never merged
            AddBytes(utf8[symbols[i].Start..end], ids);
        }
        ArrayPool<Symbol>.Shared.Return(rented);
    }

    private int SplitCharacters(ReadOnlySpan<byte> utf8, Span<Symbol> symbols)
    {
        int count = 0;
        for (int start = 0; start < utf8.Length; count++)
        {
            Rune.DecodeFromUtf8(utf8[start..], out _, out int length);
            symbols[count] = new Symbol { Start = start, Id = Pieces.Find(utf8.Slice(start, length)), Previous = count - 1, Next = count + 1 };
            start += length;
        }
        symbols[count - 1].Next = -1;
        return count;
    }

    private void Merge(Span<Symbol> symbols)
    {
        var queue = new PriorityQueue<int, ulong>();
        for (int i = 0; i + 1 < symbols.Length; i++)
        {
            Offer(symbols, i, queue);
        }
        while (queue.TryDequeue(out int left, out ulong priority))
        {
            int right = symbols[left].Next;
            int rank = (int)(priority >> 32);
            if (right < 0 || _merges.Rank(symbols[left].Id, symbols[right].Id) != rank)
            {
                continue;                                // one of the two has merged with another since
            }
            int after = symbols[right].Next;
            symbols[left].Id = _merges.Merged(rank);
            symbols[left].Next = after;
            symbols[right].Id = -1;
            symbols[right].Next = -1;
            if (after >= 0)
            {
                symbols[after].Previous = left;
                Offer(symbols, left, queue);
            }
            if (symbols[left].Previous >= 0)
            {
                Offer(symbols, symbols[left].Previous, queue);
            }
        }
    }

    private void Offer(Span<Symbol> symbols, int left, PriorityQueue<int, ulong> queue)
    {
        int rank = _merges.Rank(symbols[left].Id, symbols[symbols[left].Next].Id);
        if (rank >= 0)
        {
            queue.Enqueue(left, ((ulong)rank << 32) | (uint)left);
        }
    }

    private struct Symbol
    {
        public int Start;                                // byte of the fragment
        public int Id;                                   // −1: a character without a piece, or merged away
        public int Previous;
        public int Next;
    }
}
