using System.Globalization;
using Microsoft.Extensions.Configuration;

namespace Gemma4Edge.Service;

/// <summary>Reads one section by hand: every value is checked against what is allowed, every key that nobody asked for is refused.</summary>
internal sealed class OptionReader(IConfigurationRoot root, string section)
{
    private readonly HashSet<string> _known = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>A text; <paramref name="fallback"/> where the key is absent.</summary>
    public string? Text(string key, string? fallback, string allowed = "a text", Func<string, bool>? isAllowed = null)
    {
        _known.Add(key);
        IConfigurationSection at = root.GetSection($"{section}:{key}");
        if (at.GetChildren().Any())
        {
            throw Wrong(at.GetChildren().First().Path, "an object or a list", allowed);
        }

        return at.Value is not { } value ? fallback
            : value.Length > 0 && isAllowed?.Invoke(value) != false ? value
            : throw Wrong(at.Path, $"'{value}'", allowed);
    }

    /// <summary>A whole number in a range.</summary>
    public int Whole(string key, int fallback, int min, int max) =>
        int.Parse(
            Text(key, null, $"a whole number from {min} to {max}", value => int.TryParse(value, CultureInfo.InvariantCulture, out int number) && number >= min && number <= max)
            ?? fallback.ToString(CultureInfo.InvariantCulture),
            CultureInfo.InvariantCulture);

    /// <summary>A number in a range; null where the key is absent.</summary>
    public float? Number(string key, float min, float max) =>
        Text(key, null, FormattableString.Invariant($"a number from {min} to {max}"), value => float.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out float number) && number >= min && number <= max)
            is { } text ? float.Parse(text, CultureInfo.InvariantCulture) : null;

    /// <summary>True or false.</summary>
    public bool Flag(string key, bool fallback) =>
        Text(key, null, "true or false", value => bool.TryParse(value, out _)) is { } text ? bool.Parse(text) : fallback;

    /// <summary>A list of texts; <paramref name="fallback"/> where the key is absent.</summary>
    public IReadOnlyList<string> List(string key, IReadOnlyList<string> fallback, string allowed, Func<string, bool> isAllowed)
    {
        _known.Add(key);
        IConfigurationSection at = root.GetSection($"{section}:{key}");
        if (at.Value is { Length: > 0 } single)
        {
            throw Wrong(at.Path, $"'{single}'", $"a list, each item {allowed}");
        }

        IConfigurationSection[] items = [.. at.GetChildren()];
        foreach (IConfigurationSection item in items)
        {
            if (item.Value is not { Length: > 0 } value || !isAllowed(value))
            {
                throw Wrong(item.Path, $"'{item.Value}'", allowed);
            }
        }

        return items.Length == 0 ? fallback : [.. items.Select(item => item.Value!)];
    }

    /// <summary>Refuses the keys that no call has asked for.</summary>
    public void RefuseOthers()
    {
        IConfigurationSection all = root.GetSection(section);
        if (all.Value is { Length: > 0 } value)
        {
            throw Wrong(section, $"'{value}'", $"an object with {Keys()}");
        }

        foreach (IConfigurationSection child in all.GetChildren())
        {
            if (!_known.Contains(child.Key))
            {
                string leaf = child.AsEnumerable().Select(pair => pair.Key).Last();
                throw new ConfigurationException(
                    $"{child.Path} (from {ServiceConfiguration.SourceOf(root, leaf)}) is '{child.Value}', but {section} has no such key; allowed are {Keys()}.");
            }
        }
    }

    private ConfigurationException Wrong(string path, string value, string allowed) =>
        new($"{path} (from {ServiceConfiguration.SourceOf(root, path)}) is {value}; allowed is {allowed}.");

    private string Keys() => string.Join(", ", _known.Order(StringComparer.Ordinal));
}
