using System.Text.Json;

namespace Gemma4Edge.Service.Tools;

/// <summary>What templates are filled with: the arguments of one call, the schema's defaults where they are absent, each in the words of its map.</summary>
/// <param name="arguments">Checked arguments, an object.</param>
/// <param name="schema">Their schema.</param>
/// <param name="map">By argument: its values as text, and what is sent in their place. A value that is not in it goes as it is.</param>
internal sealed class ArgumentValues(JsonElement arguments, ToolSchema schema, IReadOnlyDictionary<string, IReadOnlyDictionary<string, JsonElement>> map)
{
    /// <summary>The value of an argument; null = it is absent.</summary>
    public JsonElement? Find(string name)
    {
        JsonElement? value = arguments.TryGetProperty(name, out JsonElement given) ? given : schema.Properties[name].Default;
        return value is { } found && map.TryGetValue(name, out IReadOnlyDictionary<string, JsonElement>? words) && words.TryGetValue(TextOf(found), out JsonElement word) ? word : value;
    }

    /// <summary>A value as a map names it: a text without quotes, anything else as JSON.</summary>
    public static string TextOf(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText();
}
