using System.Buffers;

namespace Gemma4Edge.Model.Text;

/// <summary>A set of pieces that match as whole strings: finds the first one in a text, the longest where several begin.</summary>
internal sealed class PieceTrie
{
    private readonly Dictionary<(int Node, byte Next), int> _edges = [];
    private readonly List<int> _ids = [-1];              // per node; −1 = no piece ends here
    private readonly SearchValues<byte> _firstBytes;

    public PieceTrie(PieceTable pieces, IEnumerable<int> ids)
    {
        foreach (int id in ids)
        {
            int node = 0;
            foreach (byte next in pieces[id])
            {
                if (!_edges.TryGetValue((node, next), out int child))
                {
                    child = _ids.Count;
                    _ids.Add(-1);
                    _edges.Add((node, next), child);
                }
                node = child;
            }
            _ids[node] = id;
        }
        _firstBytes = SearchValues.Create([.. _edges.Keys.Where(e => e.Node == 0).Select(e => e.Next)]);
    }

    /// <summary>The first piece in <paramref name="text"/>: where it begins, its length in bytes and its id.</summary>
    /// <returns>False when no piece occurs.</returns>
    public bool TryFindFirst(ReadOnlySpan<byte> text, out int start, out int length, out int id)
    {
        for (start = 0; ; start++)
        {
            int step = text[start..].IndexOfAny(_firstBytes);
            if (step < 0)
            {
                (start, length, id) = (text.Length, 0, -1);
                return false;
            }
            start += step;
            (length, id) = Longest(text[start..]);
            if (id >= 0)
            {
                return true;
            }
        }
    }

    private (int Length, int Id) Longest(ReadOnlySpan<byte> text)
    {
        (int Length, int Id) best = (0, -1);
        for (int i = 0, node = 0; i < text.Length && _edges.TryGetValue((node, text[i]), out node); i++)
        {
            if (_ids[node] >= 0)
            {
                best = (i + 1, _ids[node]);
            }
        }
        return best;
    }
}
