namespace Gemma4Edge.Cli;

/// <summary>What somebody who mistyped a word may have meant.</summary>
internal static class Suggestion
{
    private const int MostChanges = 2;

    /// <summary>The candidate that the word is the beginning of, or that it becomes by the fewest letters added, left out or changed, two at most; null = none is near.</summary>
    public static string? For(string word, IEnumerable<string> candidates) => candidates
        .Select(candidate => (Candidate: candidate, Changes: word.Length > 3 && candidate.StartsWith(word, StringComparison.Ordinal) ? 0 : Changes(word, candidate)))
        .Where(pair => pair.Changes <= MostChanges && pair.Changes < word.TrimStart('-').Length)
        .OrderBy(pair => pair.Changes)
        .Select(pair => pair.Candidate)
        .FirstOrDefault();

    /// <summary>Levenshtein's distance.</summary>
    private static int Changes(string a, string b)
    {
        if (Math.Abs(a.Length - b.Length) > MostChanges) // also: nothing long is compared
        {
            return int.MaxValue;
        }

        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0]++;
            for (int j = 1; j <= b.Length; j++)
            {
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)));
            }
        }

        return row[^1];
    }
}
