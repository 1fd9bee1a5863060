using System.Text.Json;
using System.Text.RegularExpressions;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>The part of JSON Schema that tools are described with, read once and checked on every call. Immutable.</summary>
/// <remarks>
/// A schema with a word that is not checked here is refused when it is read: nobody shall trust a limit that does not hold. Stricter than the standard in one place:
/// an object takes no properties but its own unless <c>additionalProperties</c> is true, for an argument that nothing uses is a misunderstanding.
/// </remarks>
internal sealed class ToolSchema
{
    private static readonly TimeSpan s_patternTime = TimeSpan.FromMilliseconds(100);
    private static readonly string[] s_types = ["object", "array", "string", "integer", "number", "boolean", "null"];

    /// <summary>Words that only describe.</summary>
    private static readonly string[] s_notes = ["title", "description", "examples", "$schema", "$comment", "deprecated"];

    private string[] _types = [];
    private JsonElement[]? _allowed;
    private string[] _required = [];
    private bool _takesOthers;
    private ToolSchema? _items;
    private (double? Min, double? Max, double? Above, double? Below, double? Step) _number;
    private (long Min, long Max) _length = (0, long.MaxValue);
    private (long Min, long Max) _count = (0, long.MaxValue);
    private bool _unique;
    private Regex? _pattern;

    private ToolSchema()
    {
    }

    /// <summary>The properties of an object.</summary>
    public IReadOnlyDictionary<string, ToolSchema> Properties { get; private set; } = new Dictionary<string, ToolSchema>();

    /// <summary>What stands for the value where it is absent; null = nothing does.</summary>
    public JsonElement? Default { get; private set; }

    /// <summary>Whether every value is one word: no object, no list, not null.</summary>
    public bool IsScalar => (_types.Length > 0 && !_types.Any(type => type is "object" or "array" or "null"))
        || _allowed?.All(value => value.ValueKind is JsonValueKind.String or JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False) == true;

    /// <summary>Whether the property is there in every call that passes the check, by itself or by its default.</summary>
    public bool IsAlwaysThere(string property) => _required.Contains(property) || Properties[property].Default is not null;

    /// <summary>Reads the schema of a tool's arguments; null = a tool without arguments.</summary>
    /// <exception cref="FormatException">A word has the wrong shape or is not checked here; the message begins with its path.</exception>
    public static ToolSchema ReadArguments(JsonElement? parameters, string path)
    {
        if (parameters is not { } given)
        {
            return new ToolSchema { _types = ["object"] };
        }

        ToolSchema schema = JsonAt.Parse(given, path, Read);
        return schema._types is [] or ["object"] ? schema : throw new FormatException($"{path}.type: expected object, for a call's arguments are one.");
    }

    /// <summary>What is wrong with a value, one sentence that begins with its path; null = nothing.</summary>
    public string? Problem(JsonElement value, string path)
    {
        if (!IsOfType(value))
        {
            return $"{path}: expected {Expected()}, found {Shown(value)}.";
        }

        if (_allowed?.Any(allowed => JsonElement.DeepEquals(allowed, value)) == false)
        {
            return $"{path}: expected {(_allowed.Length == 1 ? "" : "one of ")}{string.Join(", ", _allowed.Select(allowed => allowed.GetRawText()))}, found {Shown(value)}.";
        }

        return value.ValueKind switch
        {
            JsonValueKind.Object => ObjectProblem(value, path),
            JsonValueKind.Array => ArrayProblem(value, path),
            JsonValueKind.String => StringProblem(value, path),
            JsonValueKind.Number => NumberProblem(value, path),
            _ => null,
        };
    }

    /// <summary>The types that the word <c>type</c> names.</summary>
    /// <exception cref="FormatException">There is no such type.</exception>
    internal static string[] TypesOf(JsonAt type) => [.. (type.Value.ValueKind == JsonValueKind.Array ? type.Items() : [type]).Select(TypeName)];

    private static ToolSchema Read(JsonAt json)
    {
        var schema = new ToolSchema();
        foreach (JsonProperty member in json.Object().EnumerateObject())
        {
            schema.ReadWord(member.Name, new JsonAt(member.Value, $"{json.Path}.{member.Name}"));
        }

        string? unknown = schema._required.FirstOrDefault(name => !schema.Properties.ContainsKey(name) && !schema._takesOthers);
        if (unknown is not null)
        {
            throw new FormatException($"{json.Path}.required: '{unknown}' is none of the properties.");
        }

        return schema.Default is { } value && schema.Problem(value, $"{json.Path}.default") is { } problem ? throw new FormatException(problem) : schema;
    }

    private void ReadWord(string word, JsonAt value)
    {
        switch (word)
        {
            case "type":
                _types = [.. _types, .. TypesOf(value)];
                break;
            case "nullable":
                _types = value.Flag() ? [.. _types, "null"] : _types;
                break;
            case "enum":
                _allowed = [.. value.Items().Select(item => item.Copy())];
                break;
            case "const":
                _allowed = [value.Copy()];
                break;
            case "default":
                Default = value.Copy();
                break;
            case "properties":
                Properties = value.Object().EnumerateObject().ToDictionary(member => member.Name, member => Read(new JsonAt(member.Value, $"{value.Path}.{member.Name}")));
                break;
            case "required":
                _required = [.. value.Items().Select(item => item.Name())];
                break;
            case "additionalProperties":
                _takesOthers = value.Flag();
                break;
            case "items":
                _items = Read(value);
                break;
            case "minimum":
                _number.Min = Number(value);
                break;
            case "maximum":
                _number.Max = Number(value);
                break;
            case "exclusiveMinimum":
                _number.Above = Number(value);
                break;
            case "exclusiveMaximum":
                _number.Below = Number(value);
                break;
            case "multipleOf":
                _number.Step = Number(value) is > 0 and double step ? step : throw value.Expected("a number above 0");
                break;
            case "minLength":
                _length.Min = Count(value);
                break;
            case "maxLength":
                _length.Max = Count(value);
                break;
            case "minItems":
                _count.Min = Count(value);
                break;
            case "maxItems":
                _count.Max = Count(value);
                break;
            case "uniqueItems":
                _unique = value.Flag();
                break;
            case "pattern":
                _pattern = Pattern(value);
                break;
            default:
                if (!s_notes.Contains(word))
                {
                    throw new FormatException($"{value.Path}: this word of JSON Schema is not checked, so it may not be relied on; leave it out, or say it in the description.");
                }

                break;
        }
    }

    private bool IsOfType(JsonElement value) => _types.Length == 0 || _types.Any(type => type switch
    {
        "object" => value.ValueKind == JsonValueKind.Object,
        "array" => value.ValueKind == JsonValueKind.Array,
        "string" => value.ValueKind == JsonValueKind.String,
        "number" => value.ValueKind == JsonValueKind.Number,
        "integer" => value.ValueKind == JsonValueKind.Number && (value.TryGetInt64(out _) || double.IsInteger(value.GetDouble())),
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        _ => value.ValueKind == JsonValueKind.Null,
    });

    private string? ObjectProblem(JsonElement value, string path)
    {
        string? missing = _required.FirstOrDefault(name => !value.TryGetProperty(name, out _));
        if (missing is not null)
        {
            return $"{path}.{missing} is missing.";
        }

        foreach (JsonProperty member in value.EnumerateObject())
        {
            if (Properties.TryGetValue(member.Name, out ToolSchema? schema))
            {
                if (schema.Problem(member.Value, $"{path}.{member.Name}") is { } problem)
                {
                    return problem;
                }
            }
            else if (!_takesOthers)
            {
                return $"{path}.{member.Name}: there is no such argument; expected {(Properties.Count == 0 ? "none" : string.Join(", ", Properties.Keys))}.";
            }
        }

        return null;
    }

    private string? ArrayProblem(JsonElement value, string path)
    {
        JsonElement[] items = [.. value.EnumerateArray()];
        if (items.Length < _count.Min || items.Length > _count.Max)
        {
            return $"{path}: expected {Range(_count)} items, found {items.Length}.";
        }

        if (_unique && items.Where((item, index) => items.Take(index).Any(other => JsonElement.DeepEquals(other, item))).Any())
        {
            return $"{path}: expected no item twice.";
        }

        return _items is null ? null : items.Select((item, index) => _items.Problem(item, $"{path}[{index}]")).FirstOrDefault(problem => problem is not null);
    }

    private string? StringProblem(JsonElement value, string path)
    {
        string text = value.GetString()!;
        int length = text.EnumerateRunes().Count(); // as the standard counts: code points
        if (length < _length.Min || length > _length.Max)
        {
            return $"{path}: expected {Range(_length)} characters, found {length}.";
        }

        try
        {
            return _pattern?.IsMatch(text) == false ? $"{path}: expected a text that fits {_pattern}, found {Shown(value)}." : null;
        }
        catch (RegexMatchTimeoutException)
        {
            return $"{path}: this text takes too long to compare with {_pattern}.";
        }
    }

    private string? NumberProblem(JsonElement value, string path)
    {
        double number = value.GetDouble();
        bool isIn = !(number < _number.Min) && !(number > _number.Max) && !(number <= _number.Above) && !(number >= _number.Below) && double.IsFinite(number);
        return !isIn ? $"{path}: expected {Expected()}, found {Shown(value)}."
            : _number.Step is { } step && Math.Abs(Math.IEEERemainder(number, step)) > 1e-9 * Math.Max(1, Math.Abs(number)) ? Invariant($"{path}: expected a multiple of {step}, found {Shown(value)}.")
            : null;
    }

    private string Expected()
    {
        string type = string.Join(" or ", _types.Select(type => type switch
        {
            "integer" => "a whole number",
            "object" => "an object",
            "array" => "a list",
            "boolean" => "true or false",
            "null" => "null",
            _ => $"a {type}",
        }));
        (double? min, double? max, double? above, double? below, _) = _number;
        return (type.Length == 0 ? "a number" : type)
            + (min is null ? "" : Invariant($" from {min}")) + (above is null ? "" : Invariant($" above {above}"))
            + (max is null ? "" : Invariant($" to {max}")) + (below is null ? "" : Invariant($" below {below}"));
    }

    private static string TypeName(JsonAt json) => s_types.Contains(json.Text()) ? json.Text() : throw json.Expected(string.Join(", ", s_types));

    private static double Number(JsonAt json) => json.Value.ValueKind == JsonValueKind.Number ? json.Value.GetDouble() : throw json.Expected("a number");

    private static long Count(JsonAt json) =>
        json.Value.ValueKind == JsonValueKind.Number && json.Value.TryGetInt64(out long count) && count >= 0 ? count : throw json.Expected("a whole number from 0");

    private static Regex Pattern(JsonAt json)
    {
        try
        {
            return new Regex(json.Text(), RegexOptions.CultureInvariant, s_patternTime);
        }
        catch (ArgumentException e)
        {
            throw new FormatException($"{json.Path}: {e.Message}", e);
        }
    }

    private static string Range((long Min, long Max) range) => range.Max == long.MaxValue ? $"at least {range.Min}" : $"{range.Min} to {range.Max}";

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    /// <summary>A value as far as a sentence needs it.</summary>
    private static string Shown(JsonElement value) => value.GetRawText() is { Length: <= 64 } raw ? raw : $"{value.GetRawText()[..64]}…";
}
