using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>An object of a JSON file from outside. Every getter names file, key, found and expected when a value is not what it should be; null counts as absent.</summary>
internal sealed class JsonSection
{
    private const int MaxDepth = 32;

    private readonly string _path;
    private readonly string _prefix;
    private readonly JsonElement _element;

    private JsonSection(string path, string prefix, JsonElement element)
    {
        _path = path;
        _prefix = prefix;
        _element = element;
    }

    /// <summary>Reads a file of at most <paramref name="maxBytes"/>.</summary>
    /// <exception cref="ModelFileException">It is missing, too large, or does not hold one JSON object.</exception>
    public static JsonSection Read(string path, int maxBytes)
    {
        using var file = new MappedFile(path);
        if (file.Length > maxBytes)
        {
            throw new ModelFileException(path, 0, $"The file has {file.Length} bytes; expected at most {maxBytes}.", ModelFileException.GetItAgain);
        }

        return Parse(path, 0, file.Span(0, (int)file.Length).ToArray());
    }

    /// <summary>Parses one JSON object: UTF-8, no key twice, limited depth.</summary>
    /// <param name="path">The file it comes from.</param>
    /// <param name="offset">Where in the file it starts.</param>
    /// <param name="utf8">The text; kept.</param>
    /// <exception cref="ModelFileException">It is no such object.</exception>
    public static JsonSection Parse(string path, long offset, ReadOnlyMemory<byte> utf8)
    {
        string fault = "";
        try
        {
            if (Utf8.IsValid(utf8.Span))
            {
                JsonElement root = StrictJson.Parse(utf8, MaxDepth);
                if (root.ValueKind == JsonValueKind.Object)
                {
                    return new JsonSection(path, "", root);
                }
            }
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException) // the latter: half a surrogate pair in a key
        {
            fault = $"; {JsonFault.Of(error).TrimEnd('.')}";
        }

        throw new ModelFileException(path, offset, $"This is no JSON object (UTF-8, no key twice, at most {MaxDepth} levels){fault}.", ModelFileException.GetItAgain);
    }

    /// <summary>The keys and values.</summary>
    public IEnumerable<(string Key, JsonElement Value)> Entries
    {
        get
        {
            foreach (JsonProperty property in _element.EnumerateObject())
            {
                yield return (property.Name, property.Value);
            }
        }
    }

    /// <summary>The value, or null where it is absent or null.</summary>
    public JsonElement? Find(string key) =>
        _element.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>The inner object, or null.</summary>
    public JsonSection? Section(string key) => Find(key) is { } value ? ToSection(key, value) : null;

    /// <summary>Whether the key is there, even as null.</summary>
    public bool Has(string key) => _element.TryGetProperty(key, out _);

    /// <summary>An integer.</summary>
    public int Int32(string key, int min, int max) => ToInt32(key, Find(key), min, max);

    /// <summary>An integer, or null.</summary>
    public int? OptionalInt32(string key, int min, int max) => Find(key) is { } value ? ToInt32(key, value, min, max) : null;

    /// <summary>A finite number, or null.</summary>
    public float? OptionalSingle(string key)
    {
        if (Find(key) is not { } value)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetSingle(out float number) && float.IsFinite(number)
            ? number
            : throw Bad(key, "is not a finite number");
    }

    /// <summary>true or false, or null.</summary>
    public bool? OptionalBool(string key) => Find(key)?.ValueKind switch
    {
        null => null,
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Bad(key, "is neither true nor false"),
    };

    /// <summary>A text, or null.</summary>
    public string? OptionalText(string key) => Find(key) is { } value ? ToText(key, value) : null;

    /// <summary>An array's elements, at most <paramref name="max"/>; a value that is no array is one element.</summary>
    public JsonElement[] Elements(string key, int max) => Find(key) switch
    {
        null => [],
        { ValueKind: JsonValueKind.Array } array => array.GetArrayLength() <= max ? [.. array.EnumerateArray()] : throw Bad(key, $"has {array.GetArrayLength()} elements; expected at most {max}"),
        { } single => [single],
    };

    /// <summary><paramref name="value"/> as an integer.</summary>
    public int ToInt32(string key, JsonElement? value, int min, int max) =>
        value is { ValueKind: JsonValueKind.Number } number && number.TryGetInt32(out int result) && result >= min && result <= max
            ? result
            : throw Bad(key, string.Create(CultureInfo.InvariantCulture, $"is {Shown(value)}; expected an integer from {min} to {max}"));

    /// <summary><paramref name="value"/> as an object.</summary>
    public JsonSection ToSection(string key, JsonElement value) =>
        value.ValueKind == JsonValueKind.Object ? new JsonSection(_path, $"{_prefix}{key}.", value) : throw Bad(key, "is not an object");

    /// <summary><paramref name="value"/> as a text.</summary>
    public string ToText(string key, JsonElement value)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Bad(key, "is not a text");
        }
        catch (InvalidOperationException)
        {
            throw Bad(key, "is no well-formed text");
        }
    }

    /// <summary>The error for a value that cannot be: <c>The key 'k' {what}.</c></summary>
    public ModelFileException Bad(string key, string what, string hint = ModelFileException.GetItAgain) =>
        new(_path, 0, $"The key '{_prefix}{key}' {what}.", hint);

    private static string Shown(JsonElement? value)
    {
        const int Most = 40;
        string text = value?.GetRawText() ?? "missing";
        return text.Length <= Most ? text : text[..Most] + "…";
    }
}
