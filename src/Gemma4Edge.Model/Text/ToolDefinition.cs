using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>A tool as it is declared to the model. Immutable.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Description">What it does; may be empty.</param>
/// <param name="Parameters">The JSON schema of its arguments, an object; null = it takes none. Owns its memory.</param>
/// <remarks>
/// Of a schema the model sees names, descriptions, types, string enums, items, nullable, properties and required; everything else
/// (<c>default</c>, ranges, <c>anyOf</c>, <c>$ref</c>) is not part of Gemma's declaration: say it in the description.
/// </remarks>
public sealed record ToolDefinition(string Name, string Description = "", JsonElement? Parameters = null)
{
    /// <summary>What the tool answers: an object with <c>description</c> and <c>type</c>; null = not declared.</summary>
    public JsonElement? Response { get; init; }

    /// <summary>Reads one declaration: <c>{"type": "function", "function": {"name", "description", "parameters"}}</c>.</summary>
    /// <param name="json">The declaration.</param>
    /// <param name="path">What it is called in a complaint, for example <c>tools[0]</c>.</param>
    /// <exception cref="FormatException">Something has the wrong shape; the message begins with its path.</exception>
    public static ToolDefinition Parse(JsonElement json, string path = "tool") => JsonAt.Parse(json, path, Parse);

    internal static ToolDefinition Parse(JsonAt json)
    {
        JsonAt function = json.Get("function");
        JsonAt? parameters = function.Find("parameters");
        if (parameters?.Find("properties") is { Value.ValueKind: not JsonValueKind.Object } properties)
        {
            throw properties.Expected("an object");
        }
        return new ToolDefinition(function.Get("name").Name(), function.Find("description")?.Text() ?? "", parameters?.Object())
        {
            Response = function.Find("response")?.Object(),
        };
    }
}
