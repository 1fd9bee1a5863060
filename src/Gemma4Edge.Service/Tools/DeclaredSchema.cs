using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>Looks for what is plainly wrong in the schema of a tool that is only declared. All words of JSON Schema may stand in it, for nothing here relies on them.</summary>
internal static class DeclaredSchema
{
    /// <summary>Words with which a property may be described somewhere else than in <c>properties</c>.</summary>
    private static readonly string[] s_elsewhere = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas", "patternProperties"];

    /// <exception cref="FormatException">A type does not exist, a word has the wrong shape, or a required property is none; the message begins with its path.</exception>
    public static void Check(JsonElement? parameters, string path)
    {
        if (parameters is { } given)
        {
            string[] types = JsonAt.Parse(given, path, Check);
            _ = types.Length == 0 || types.Contains("object") ? types : throw new FormatException($"{path}.type: expected object, for a call's arguments are one.");
        }
    }

    /// <summary>Checks a schema and those in it, and returns its types.</summary>
    private static string[] Check(JsonAt json)
    {
        if (json.Value.ValueKind is JsonValueKind.True or JsonValueKind.False) // the schemas of anything and nothing
        {
            return [];
        }

        JsonElement schema = json.Object();
        _ = json.Find("enum")?.Items();
        HashSet<string> properties = [];
        if (json.Find("properties") is { } described)
        {
            foreach (JsonProperty property in described.Object().EnumerateObject())
            {
                properties.Add(property.Name);
                Check(new JsonAt(property.Value, $"{described.Path}.{property.Name}"));
            }
        }

        if (json.Find("items") is { Value.ValueKind: not JsonValueKind.Array } items) // a list of schemas is an older standard's
        {
            Check(items);
        }

        string? unknown = json.Find("required")?.Items().Select(item => item.Name()).FirstOrDefault(name => !properties.Contains(name));
        bool isElsewhere = s_elsewhere.Any(word => schema.TryGetProperty(word, out _)) || json.Find("additionalProperties") is { Value.ValueKind: not JsonValueKind.False };
        if (unknown is not null && !isElsewhere)
        {
            throw new FormatException($"{json.Path}.required: '{unknown}' is none of the properties.");
        }

        return json.Find("type") is { } type ? ToolSchema.TypesOf(type) : [];
    }
}
