namespace Gemma4Edge.Cli;

/// <summary>Columns of text as wide as their widest cell; the first column is left-aligned, numbers stand right.</summary>
internal sealed class TextTable(params string[] header)
{
    private readonly List<string[]> _rows = [];

    public void Add(params string[] cells) => _rows.Add(cells);

    public void Write(Terminal terminal)
    {
        int[] widths = [.. header.Select((title, column) => Math.Max(title.Length, _rows.Max(row => (int?)row[column].Length) ?? 0))];
        terminal.Out.WriteLine(terminal.Bold(Line(header)));
        foreach (string[] row in _rows)
        {
            terminal.Out.WriteLine(Line(row));
        }

        string Line(string[] cells) =>
            string.Join("  ", cells.Select((cell, column) => column == 0 ? cell.PadRight(widths[0]) : cell.PadLeft(widths[column]))).TrimEnd();
    }
}
