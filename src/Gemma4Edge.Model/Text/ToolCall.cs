using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>A call that the model makes. Immutable.</summary>
/// <param name="Name">The tool.</param>
/// <param name="Arguments">A JSON object; it owns its memory.</param>
public sealed record ToolCall(string Name, JsonElement Arguments)
{
    private const int MaxArgumentDepth = 32;

    /// <summary>Names the call so that a tool message can answer it; null = it has no id.</summary>
    public string? Id { get; init; }

    /// <summary>Reads one call: <c>{"id", "function": {"name", "arguments"}}</c>.</summary>
    /// <param name="json">The call; <c>arguments</c> is an object, a string that holds one, or absent.</param>
    /// <param name="path">What the call is called in a complaint.</param>
    /// <exception cref="FormatException">Something has the wrong shape; the message begins with its path.</exception>
    public static ToolCall Parse(JsonElement json, string path = "tool_call") => JsonAt.Parse(json, path, Parse);

    internal static ToolCall Parse(JsonAt json)
    {
        JsonAt function = json.Get("function");
        return new ToolCall(function.Get("name").Name(), ParseArguments(function.Find("arguments"))) { Id = json.Find("id")?.Text() };
    }

    /// <summary>Writes the call as OpenAI's API does: the arguments are a string that holds JSON.</summary>
    public void WriteTo(Utf8JsonWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.WriteStartObject();
        if (Id is not null)
        {
            writer.WriteString("id", Id);
        }
        writer.WriteString("type", "function");
        writer.WriteStartObject("function");
        writer.WriteString("name", Name);
        writer.WriteString("arguments", Arguments.GetRawText());
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    /// <summary>The JSON text that <see cref="WriteTo"/> writes.</summary>
    public string ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            WriteTo(writer);
        }
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    private static JsonElement ParseArguments(JsonAt? json)
    {
        if (json is { Value.ValueKind: not JsonValueKind.String } given)
        {
            return given.Object();
        }
        string text = json?.Text() ?? "";
        try
        {
            using JsonDocument held = JsonDocument.Parse(
                string.IsNullOrWhiteSpace(text) ? "{}" : text, new JsonDocumentOptions { MaxDepth = MaxArgumentDepth });
            return new JsonAt(held.RootElement, $"{json?.Path} (the JSON in it)").Object();
        }
        catch (JsonException e)
        {
            throw new FormatException($"{json?.Path}: expected a JSON object in the string: {JsonFault.Of(e)}", e);
        }
    }
}
