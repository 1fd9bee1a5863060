namespace Gemma4Edge.Kernels;

/// <summary>Finds out whether a matrix lies on a lattice of quantization-aware training, row by row: every row rules formats out.</summary>
/// <remarks>Not thread-safe. Show it all rows, then ask for <see cref="Format"/>; random weights have none left after the first row.</remarks>
public sealed class LatticeDetector
{
    private readonly bool _bfloat16;
    private readonly List<Candidate> _candidates = [];

    /// <param name="columns">Length of a row, a multiple of 32.</param>
    /// <param name="bfloat16">Whether the source stores bfloat16; else singles.</param>
    public LatticeDetector(int columns, bool bfloat16)
    {
        _bfloat16 = bfloat16;
        foreach (int group in (int[])[0, 32])
        {
            foreach (sbyte[] levels in TurboQuantFormats.LatticeLevels)
            {
                if (group == 0 || levels.Length == 16)
                {
                    _candidates.Add(new Candidate(levels, group, group == 0 ? columns : group));
                }
            }
        }

        // The fewest bits first. The sort is not stable, but no two are equal but for the 2-bit ones, which exclude each other.
        _candidates.Sort((a, b) => (a.Levels.Length, a.Group).CompareTo((b.Levels.Length, b.Group)));
    }

    /// <summary>Whether any lattice is still possible.</summary>
    public bool IsPossible => _candidates.Count > 0;

    /// <summary>The smallest format that holds every row seen exactly; null when there is none.</summary>
    public TurboQuantDescriptor? Format =>
        _candidates.Count == 0 ? null : TurboQuantFormats.Lattice(_candidates[0].Levels, _candidates[0].Group, _candidates[0].Wide);

    /// <summary>Rules out the formats that can't hold a row.</summary>
    /// <param name="row">(columns) weights as the source has them.</param>
    public void Add(ReadOnlySpan<float> row)
    {
        for (int i = _candidates.Count - 1; i >= 0; i--)
        {
            if (!Holds(_candidates[i], row))
            {
                _candidates.RemoveAt(i);
            }
        }
    }

    private bool Holds(Candidate candidate, ReadOnlySpan<float> row)
    {
        for (; !row.IsEmpty; row = row[candidate.GroupColumns..])
        {
            ReadOnlySpan<float> group = row[..candidate.GroupColumns];
            if (Lattice.TryScale(group, candidate.Levels, _bfloat16, wide: false, out _))
            {
                continue;
            }

            if (candidate.Group != 0 || !Lattice.TryScale(group, candidate.Levels, _bfloat16, wide: true, out _))
            {
                return false;
            }

            candidate.Wide = true;
        }

        return true;
    }

    private sealed class Candidate(sbyte[] levels, int group, int groupColumns)
    {
        public sbyte[] Levels { get; } = levels;

        public int Group { get; } = group;

        public int GroupColumns { get; } = groupColumns;

        /// <summary>Whether a row was seen whose scale no half can be.</summary>
        public bool Wide { get; set; }
    }
}
