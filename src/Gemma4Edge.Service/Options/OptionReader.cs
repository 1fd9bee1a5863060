using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.Extensions.Configuration;

namespace Gemma4Edge.Service;

/// <summary>Reads one section by hand: every value is checked against what is allowed, every key that nobody asked for is refused.</summary>
/// <param name="root">All places, merged.</param>
/// <param name="section">Name of the section.</param>
/// <param name="values">Gets each key that is asked for; null = nobody wants to know.</param>
internal sealed class OptionReader(IConfigurationRoot root, string section, Dictionary<string, OptionValue>? values = null)
{
    private readonly HashSet<string> _known = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>A text; <paramref name="fallback"/> where the key is absent.</summary>
    public string? Text(string key, string? fallback, string allowed = "a text", Func<string, bool>? isAllowed = null)
    {
        string? text = Find(key, allowed, isAllowed) ?? fallback;
        Record(key, text is null ? null : Quoted(OptionValue.Shown(key, text)));
        return text;
    }

    /// <summary>A whole number in a range.</summary>
    public int Whole(string key, int fallback, int min, int max)
    {
        int value = Find(key, $"a whole number from {min} to {max}", text => int.TryParse(text, CultureInfo.InvariantCulture, out int number) && number >= min && number <= max)
            is { } found ? int.Parse(found, CultureInfo.InvariantCulture) : fallback;
        Record(key, value.ToString(CultureInfo.InvariantCulture));
        return value;
    }

    /// <summary>A number in a range; null where the key is absent.</summary>
    public float? Number(string key, float min, float max)
    {
        float? value = Find(key, FormattableString.Invariant($"a number from {min} to {max}"), text => float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float number) && number >= min && number <= max)
            is { } found ? float.Parse(found, CultureInfo.InvariantCulture) : null;
        Record(key, value?.ToString(CultureInfo.InvariantCulture));
        return value;
    }

    /// <summary>A number in a range; <paramref name="fallback"/> where the key is absent.</summary>
    public float Number(string key, float fallback, float min, float max)
    {
        float value = Number(key, min, max) ?? fallback;
        Record(key, value.ToString(CultureInfo.InvariantCulture));
        return value;
    }

    /// <summary>Notes that a key's value in force is from outside of the configuration.</summary>
    public void Supersede(string key, string text, string source)
    {
        if (values is not null)
        {
            string path = $"{section}:{key}";
            values[path] = new OptionValue(path, Quoted(OptionValue.Shown(key, text)), source);
        }
    }

    /// <summary>True or false.</summary>
    public bool Flag(string key, bool fallback)
    {
        bool value = Find(key, "true or false", text => bool.TryParse(text, out _)) is { } found ? bool.Parse(found) : fallback;
        Record(key, value ? "true" : "false");
        return value;
    }

    /// <summary>A list of texts; <paramref name="fallback"/> where the key is absent. It comes from one place as a whole: items of two places are not mixed.</summary>
    public IReadOnlyList<string> List(string key, IReadOnlyList<string> fallback, string allowed, Func<string, bool> isAllowed)
    {
        _known.Add(key);
        string path = $"{section}:{key}";
        IConfigurationProvider? last = root.Providers.LastOrDefault(provider => provider.TryGet(path, out _) || provider.GetChildKeys([], path).Any());
        IReadOnlyList<string> list = fallback;
        if (last is not null)
        {
            if (last.TryGet(path, out string? single) && single is { Length: > 0 })
            {
                throw Wrong(path, single, $"a list, each item {allowed}");
            }

            string[] items = [.. last.GetChildKeys([], path).Distinct(StringComparer.OrdinalIgnoreCase)];
            foreach (string item in items)
            {
                if (!last.TryGet($"{path}:{item}", out string? value) || string.IsNullOrEmpty(value) || !isAllowed(value))
                {
                    throw Wrong($"{path}:{item}", value ?? "", allowed);
                }
            }

            list = [.. items.Select(item => last.TryGet($"{path}:{item}", out string? value) ? value! : "")];
        }

        Record(key, $"[{string.Join(", ", list.Select(Quoted))}]");
        return list;
    }

    /// <summary>Refuses the keys that no call has asked for.</summary>
    public void RefuseOthers()
    {
        IConfigurationSection all = root.GetSection(section);
        if (all.Value is { Length: > 0 } value)
        {
            throw Wrong(section, value, $"an object with {Keys()}");
        }

        foreach (IConfigurationSection child in all.GetChildren())
        {
            if (!_known.Contains(child.Key))
            {
                string leaf = child.AsEnumerable().Select(pair => pair.Key).Last();
                throw new ConfigurationException(
                    $"{child.Path} (from {ServiceConfiguration.SourceOf(root, leaf)}) is '{OptionValue.Shown(child.Key, child.Value)}', but {section} has no such key; allowed are {Keys()}.");
            }
        }
    }

    private string? Find(string key, string allowed, Func<string, bool>? isAllowed)
    {
        _known.Add(key);
        IConfigurationSection at = root.GetSection($"{section}:{key}");
        if (at.GetChildren().FirstOrDefault() is { } child)
        {
            throw new ConfigurationException($"{child.Path} (from {ServiceConfiguration.SourceOf(root, child.Path)}) is an object or a list; allowed is {allowed}.");
        }

        return at.Value is not { } value ? null
            : value.Length > 0 && isAllowed?.Invoke(value) != false ? value
            : throw Wrong(at.Path, value, allowed);
    }

    private void Record(string key, string? json)
    {
        if (values is null)
        {
            return;
        }

        string path = $"{section}:{key}";
        values[path] = new OptionValue(path, json, ServiceConfiguration.SourceOf(root, path));
    }

    private ConfigurationException Wrong(string path, string value, string allowed) =>
        new($"{path} (from {ServiceConfiguration.SourceOf(root, path)}) is '{OptionValue.Shown(path, value)}'; allowed is {allowed}.");

    private static string Quoted(string text) => $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";

    private string Keys() => string.Join(", ", _known.Order(StringComparer.Ordinal));
}
