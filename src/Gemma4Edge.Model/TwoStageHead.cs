using System.Numerics.Tensors;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model;

/// <summary>The LM head in two stages: half of the bits of every row choose a shortlist, all bits of its rows give their logits.</summary>
/// <remarks>
/// <code>
/// stage 1   s = U·h, U the upper plane of a nested head (2 of 4 bits): (VocabSize) scores, in proportion to rough logits
///           rows = the <see cref="Shortlist"/> largest scores
/// stage 2   logit[r] = W[r]·h for r in rows: the full head's logits, float for float
///           logit[r] = −∞ for the others: probability 0, never drawn, never the largest
/// </code>
/// A token is missed only if its score is not among the <see cref="Shortlist"/> best, and the first stage errs little: in the bundled demo model
/// as TQ4 the largest of 4096 logits was never beyond rank 3 in 9418 tokens, and 99.95 % of the 64 largest were in the shortlist.
/// With no more rows than the shortlist has, the result is the full head's. Allocates nothing after construction. One thread, the caller's.
/// </remarks>
internal sealed class TwoStageHead
{
    /// <summary>Rows of the second stage.</summary>
    public const int Shortlist = 512;

    /// <summary>Scores whose maximum is looked at before they are looked at one by one.</summary>
    private const int BlockRows = 128;

    private readonly WeightMatrix _head;
    private readonly WeightMatrix _upper;
    private readonly MatrixMultiplier _multiplier;
    private readonly PriorityQueue<int, float> _best;
    private readonly int[] _rows;
    private readonly float[] _scores;
    private readonly float[] _logits;

    /// <summary>Makes the head ready to run.</summary>
    /// <param name="head">A nested matrix, (VocabSize, HiddenSize).</param>
    /// <param name="multiplier">Computes its products.</param>
    public TwoStageHead(WeightMatrix head, MatrixMultiplier multiplier)
    {
        _head = head;
        _upper = head.UpperPlane();
        _multiplier = multiplier;
        int count = Math.Min(Shortlist, head.Rows);
        _best = new PriorityQueue<int, float>(count);
        _rows = new int[count];
        _scores = new float[count];
        _logits = new float[count];
        WinnerRanks = new WinnerRanks(count);
    }

    /// <summary>How good the shortlists were.</summary>
    public WinnerRanks WinnerRanks { get; }

    /// <summary>Whether <paramref name="mode"/> means two stages for a head.</summary>
    /// <exception cref="HeadModeException">Two stages are asked for of a head without planes.</exception>
    public static bool IsChosen(HeadMode mode, WeightMatrix head)
    {
        bool nested = IsNested(head);
        return mode switch
        {
            HeadMode.Full => false,
            HeadMode.Auto => nested && BytesRead(head) < head.Bytes,
            _ => nested ? true : throw new HeadModeException(
                $"A two-stage head needs weights in two planes, but this model's head is {head.Format}: take --head auto or full, or convert the model with --weights tq4."),
        };
    }

    /// <summary>Bytes of a nested head that one token reads: the upper plane, and for each row of the shortlist its lower plane and every line of its panel.</summary>
    public static long BytesRead(WeightMatrix head)
    {
        WeightMatrix upper = head.UpperPlane();
        long panelBytes = upper.RowBytes * upper.Format.RowStep; // a row has a few bytes in each line
        long lowerRowBytes = LowerBytes(head) / head.Rows;
        return upper.Bytes + (Math.Min(Shortlist, head.Rows) * (panelBytes + lowerRowBytes));
    }

    /// <summary>Size of a head's lower plane, which ends it; 0 = it has no planes.</summary>
    public static long LowerBytes(WeightMatrix head) => IsNested(head) ? head.Bytes - head.UpperPlane().Bytes : 0;

    /// <summary>Computes the logits of one token.</summary>
    /// <param name="hidden">(HiddenSize), after the final norm.</param>
    /// <param name="logits">(VocabSize): gets the shortlist's logits after the softcap, and −∞ elsewhere.</param>
    /// <param name="softCap">The limit of logits; 0 = none.</param>
    public void Run(ReadOnlySpan<float> hidden, Span<float> logits, float softCap)
    {
        _multiplier.Multiply(_upper, hidden, logits, 1);
        SelectLargest(logits);
        _multiplier.MultiplyRows(_head, _rows, hidden, _logits);
        WinnerRanks.Add(RankOfWinner());
        if (softCap > 0)
        {
            SoftCap.Apply(_logits, softCap);
        }

        logits.Fill(float.NegativeInfinity);
        for (int i = 0; i < _rows.Length; i++)
        {
            logits[_rows[i]] = _logits[i];
        }
    }

    private static bool IsNested(WeightMatrix head) => head.Format is TurboQuantDescriptor { Layout: TurboQuantStorage.Nest };

    /// <summary>Fills rows and scores with the largest scores, in no order. One pass: nearly every block is below the least that is kept so far.</summary>
    private void SelectLargest(ReadOnlySpan<float> scores)
    {
        _best.Clear();
        for (int row = 0; row < _rows.Length; row++)
        {
            _best.Enqueue(row, scores[row]);
        }

        float least = LeastKept();
        for (int start = _rows.Length; start < scores.Length; start += BlockRows)
        {
            ReadOnlySpan<float> block = scores.Slice(start, Math.Min(BlockRows, scores.Length - start));
            if (TensorPrimitives.Max(block) <= least)
            {
                continue;
            }

            for (int i = 0; i < block.Length; i++)
            {
                if (block[i] > least)
                {
                    _best.EnqueueDequeue(start + i, block[i]);
                    least = LeastKept();
                }
            }
        }

        int count = 0;
        foreach ((int row, float score) in _best.UnorderedItems)
        {
            _rows[count] = row;
            _scores[count++] = score;
        }
    }

    private float LeastKept()
    {
        _best.TryPeek(out _, out float score);
        return score;
    }

    /// <summary>Where the largest logit's score stands among the scores, from 1.</summary>
    private int RankOfWinner()
    {
        float winner = _scores[TensorPrimitives.IndexOfMax(_logits)];
        int rank = 1;
        foreach (float score in _scores)
        {
            rank += score > winner ? 1 : 0;
        }

        return rank;
    }
}
