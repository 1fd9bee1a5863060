using System.Globalization;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>The small files of /proc and /sys.</summary>
/// <param name="root">A folder whose files take the place of those under /: a made machine for tests and trials.</param>
/// <param name="onlyRoot">What is not under <paramref name="root"/> does not exist; else the machine's own file is read.</param>
public sealed class SystemFiles(string root = "/", bool onlyRoot = false)
{
    /// <summary>This machine's.</summary>
    public static SystemFiles OfThisMachine { get; } = new();

    /// <summary>The text of a file; empty where there is none, or the kernel refuses to tell (a sensor without a reading).</summary>
    public string Text(string path)
    {
        try
        {
            string made = Under(path);
            return File.ReadAllText(onlyRoot || File.Exists(made) ? made : path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    /// <summary>The file's only number; null where there is none.</summary>
    public double? Number(string path) => Parse(Text(path));

    /// <summary>The number that follows <paramref name="key"/> in a line of "KEY: 123 kB", in bytes; null where there is none.</summary>
    public long? Kilobytes(string path, string key) => (long?)Parse(Field(LineOf(path, key), 1)) * 1024;

    /// <summary>The line that begins with <paramref name="key"/>; empty where there is none.</summary>
    public string LineOf(string path, string key) =>
        Text(path).Split('\n').FirstOrDefault(line => line.StartsWith(key, StringComparison.Ordinal)) ?? "";

    /// <summary>Folders of <paramref name="path"/> that match a pattern, in order of name.</summary>
    public string[] Folders(string path, string pattern) => [.. Children(Under(path), pattern).Concat(onlyRoot ? [] : Children(path, pattern))
        .Select(folder => $"{path}/{Path.GetFileName(folder)}").Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Files of a folder that match a pattern, by their full paths.</summary>
    public string[] Find(string folder, string pattern)
    {
        string made = Under(folder);
        string searched = onlyRoot || Directory.Exists(made) ? made : folder;
        return Directory.Exists(searched) ? [.. Directory.GetFiles(searched, pattern).Order(StringComparer.Ordinal)] : [];
    }

    /// <summary>A field of a line with blanks between; empty where there is none.</summary>
    internal static string Field(string line, int index) =>
        line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is { } fields && fields.Length > index ? fields[index] : "";

    /// <summary>A number; null where the text is none.</summary>
    internal static double? Parse(string text) => double.TryParse(text, CultureInfo.InvariantCulture, out double value) ? value : null;

    private static string[] Children(string folder, string pattern) => Directory.Exists(folder) ? Directory.GetDirectories(folder, pattern) : [];

    private string Under(string path) => Path.Join(root, path);
}
