namespace Gemma4Edge.Kernels;

/// <summary>The words for <see cref="ActivationFormat"/> in options and configuration.</summary>
public static class ActivationFormats
{
    /// <summary>Every member in lower case, the default first.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Enum.GetNames<ActivationFormat>().Select(name => name.ToLowerInvariant())];

    /// <summary>The word for <paramref name="format"/>.</summary>
    public static string NameOf(ActivationFormat format) => Names[(int)format];

    /// <summary>The member that a word of <see cref="Names"/> stands for.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static ActivationFormat Parse(string name) => Enum.Parse<ActivationFormat>(name, ignoreCase: true);
}
