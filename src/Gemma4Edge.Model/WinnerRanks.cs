namespace Gemma4Edge.Model;

/// <summary>Counts where the best token of each two-stage head stood in the first stage's order: what tells whether the shortlist is long enough.</summary>
/// <remarks>
/// A winner that was first, or nearly, would have been found by a far shorter list. Winners from beyond the first quarter mean that some tokens
/// may have been missed. The compute thread writes; other threads may read, and can see one token more in one count than in another.
/// </remarks>
public sealed class WinnerRanks
{
    private readonly long[] _tokensByRank;

    internal WinnerRanks(int shortlist) => _tokensByRank = new long[shortlist];

    /// <summary>Rows that the second stage computes.</summary>
    public int Shortlist => _tokensByRank.Length;

    /// <summary>Heads computed in two stages.</summary>
    public long Tokens { get; private set; }

    /// <summary>Of these, heads whose winner stood beyond the first quarter of the shortlist.</summary>
    public long BeyondQuarter { get; private set; }

    /// <summary>The last rank that a winner had, from 1; 0 = no tokens yet.</summary>
    public int Max => Array.FindLastIndex(_tokensByRank, tokens => tokens > 0) + 1;

    /// <summary>The rank that half of the winners did not exceed, from 1; 0 = no tokens yet.</summary>
    public int Median()
    {
        int rank = 0;
        for (long seen = 0; 2 * seen < Tokens; rank++)
        {
            seen += _tokensByRank[rank];
        }

        return rank;
    }

    /// <summary>Counts one winner.</summary>
    internal void Add(int rank)
    {
        _tokensByRank[rank - 1]++;
        Tokens++;
        if (4 * rank > Shortlist)
        {
            BeyondQuarter++;
        }
    }
}
