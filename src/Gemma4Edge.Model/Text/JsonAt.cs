using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>A JSON value from outside and the path to it, so that every complaint names its place.</summary>
internal readonly record struct JsonAt(JsonElement Value, string Path)
{
    /// <summary>The member <paramref name="name"/>; null when it is absent or JSON null.</summary>
    /// <exception cref="FormatException">This is not an object.</exception>
    public JsonAt? Find(string name)
    {
        if (Value.ValueKind != JsonValueKind.Object)
        {
            throw Expected("an object");
        }
        return Value.TryGetProperty(name, out JsonElement member) && member.ValueKind != JsonValueKind.Null
            ? new JsonAt(member, $"{Path}.{name}")
            : null;
    }

    /// <summary>The member <paramref name="name"/>, which must be there.</summary>
    public JsonAt Get(string name) => Find(name) ?? throw new FormatException($"{Path}.{name} is missing.");

    /// <summary>The text of a string.</summary>
    public string Text() => Value.ValueKind == JsonValueKind.String ? Value.GetString()! : throw Expected("a string");

    /// <summary>A string that is not empty.</summary>
    public string Name() => Text() is { Length: > 0 } name ? name : throw Expected("a string that is not empty");

    /// <summary>True or false.</summary>
    public bool Flag() => Value.ValueKind is JsonValueKind.True or JsonValueKind.False ? Value.GetBoolean() : throw Expected("true or false");

    /// <summary>The items of an array.</summary>
    public List<JsonAt> Items()
    {
        if (Value.ValueKind != JsonValueKind.Array)
        {
            throw Expected("an array");
        }
        string path = Path;
        return [.. Value.EnumerateArray().Select((item, index) => new JsonAt(item, $"{path}[{index}]"))];
    }

    /// <summary>A copy of an object that outlives the caller's document, every name and string in it readable.</summary>
    public JsonElement Object()
    {
        if (Value.ValueKind != JsonValueKind.Object)
        {
            throw Expected("an object");
        }
        return Copy();
    }

    /// <summary>A copy that outlives the caller's document, every name and string in it readable.</summary>
    public JsonElement Copy()
    {
        TouchStrings(Value);
        return Value.Clone();
    }

    /// <summary>The complaint that something else was expected here.</summary>
    public FormatException Expected(string what) => new($"{Path}: expected {what}, found {Value.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.Number => Value.GetRawText() is { Length: <= 40 } number ? number : "a number of many digits",
        JsonValueKind.String => Value.GetString() is { Length: <= 40 } text ? $"the string '{text}'" : "a long string",
        JsonValueKind.Null => "null",
        JsonValueKind.Undefined => "nothing",
        _ => "true or false",
    }}.");

    /// <summary>Runs <paramref name="parse"/>; JSON text that no .NET string can hold (half a surrogate pair, bytes that are not UTF-8) is a
    /// <see cref="FormatException"/> like any other fault.</summary>
    public static T Parse<T>(JsonElement json, string path, Func<JsonAt, T> parse)
    {
        try
        {
            return parse(new JsonAt(json, path));
        }
        catch (InvalidOperationException e)
        {
            throw new FormatException($"{path}: a string in it is not valid Unicode.", e);
        }
    }

    private static void TouchStrings(JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                _ = value.GetString();
                break;
            case JsonValueKind.Array:
                foreach (JsonElement item in value.EnumerateArray())
                {
                    TouchStrings(item);
                }
                break;
            case JsonValueKind.Object:
                foreach (JsonProperty member in value.EnumerateObject())
                {
                    _ = member.Name;
                    TouchStrings(member.Value);
                }
                break;
        }
    }
}
