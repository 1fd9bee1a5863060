namespace Gemma4Edge.Model.Text;

/// <summary>Text from outside, made fit for a terminal: no control character of it may move the cursor or change a colour.</summary>
public static class Printable
{
    /// <summary>One line, not endless.</summary>
    public static string Line(string text)
    {
        const int Most = 1000;
        return Clean(text.Length <= Most ? text : text[..Most] + "…", char.IsControl);
    }

    /// <summary>As much as it is; tabs and ends of lines stay.</summary>
    public static string Lines(string text) => Clean(text, c => char.IsControl(c) && c is not ('\n' or '\t'));

    private static string Clean(string text, Func<char, bool> isHarmful) =>
        text.Any(isHarmful) ? string.Concat(text.Select(c => isHarmful(c) ? '\uFFFD' : c)) : text;
}
