namespace Gemma4Edge.Model;

/// <summary>The words for <see cref="HeadMode"/> in options, configuration and reports.</summary>
public static class HeadModes
{
    private static readonly string[] s_names = ["auto", "full", "two-stage"]; // in the order of the enum

    /// <summary>Every word.</summary>
    public static IReadOnlyList<string> Names => s_names;

    /// <summary>The word for <paramref name="mode"/>.</summary>
    public static string NameOf(HeadMode mode) => s_names[(int)mode];

    /// <summary>Finds a mode by its word.</summary>
    public static bool TryFromName(string name, out HeadMode mode)
    {
        int index = Array.IndexOf(s_names, name);
        mode = index < 0 ? HeadMode.Auto : (HeadMode)index;
        return index >= 0;
    }
}
