using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Tools;

/// <summary>A payload with arguments in it. Immutable.</summary>
/// <remarks>
/// A text is sent as text. Anything else is sent as JSON: a string in it that is one argument and nothing more becomes that argument with its type, a string with more in it
/// stays a string, and a member or item that needs an absent argument is left out.
/// </remarks>
internal sealed class PayloadTemplate
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private readonly JsonElement _json;
    private readonly Dictionary<string, TextTemplate> _texts = [];

    /// <summary>Reads a template.</summary>
    /// <exception cref="FormatException">A text in it is no template.</exception>
    public PayloadTemplate(JsonAt json)
    {
        _json = json.Copy();
        Collect(json);
    }

    /// <summary>Whether it is sent as text, not as JSON.</summary>
    public bool IsText => _json.ValueKind == JsonValueKind.String;

    /// <summary>The names of the arguments.</summary>
    public IEnumerable<string> Arguments => _texts.Values.SelectMany(text => text.Arguments);

    /// <summary>The bytes to send; null = nothing is left, for the arguments in it are absent.</summary>
    public byte[]? Fill(ArgumentValues values)
    {
        if (IsText)
        {
            return _texts[_json.GetString()!].Fill(values) is { } text ? Encoding.UTF8.GetBytes(text) : null;
        }

        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, s_options))
        {
            Write(writer, _json, null, values);
        }

        return buffer.WrittenSpan is [(byte)'{', (byte)'}'] or [(byte)'[', (byte)']'] && _texts.Count > 0 ? null : buffer.WrittenSpan.ToArray();
    }

    private void Collect(JsonAt json)
    {
        switch (json.Value.ValueKind)
        {
            case JsonValueKind.String:
                _texts.TryAdd(json.Text(), new TextTemplate(json.Text(), json.Path));
                break;
            case JsonValueKind.Array:
                json.Items().ForEach(Collect);
                break;
            case JsonValueKind.Object:
                foreach (JsonProperty member in json.Value.EnumerateObject())
                {
                    Collect(new JsonAt(member.Value, $"{json.Path}.{member.Name}"));
                }

                break;
        }
    }

    /// <summary>Writes one value, under its name where it is a member.</summary>
    private void Write(Utf8JsonWriter writer, JsonElement template, string? name, ArgumentValues values)
    {
        TextTemplate? text = template.ValueKind == JsonValueKind.String ? _texts[template.GetString()!] : null;
        JsonElement? typed = text?.OnlyArgument is { } argument ? values.Find(argument) : null;
        string? filled = typed is null ? text?.Fill(values) : null;
        if (text is not null && typed is null && filled is null)
        {
            return;
        }

        if (name is not null)
        {
            writer.WritePropertyName(name);
        }

        switch (template.ValueKind)
        {
            case JsonValueKind.String when typed is { } value:
                value.WriteTo(writer);
                break;
            case JsonValueKind.String:
                writer.WriteStringValue(filled);
                break;
            case JsonValueKind.Array:
                writer.WriteStartArray();
                foreach (JsonElement item in template.EnumerateArray())
                {
                    Write(writer, item, null, values);
                }

                writer.WriteEndArray();
                break;
            case JsonValueKind.Object:
                writer.WriteStartObject();
                foreach (JsonProperty member in template.EnumerateObject())
                {
                    Write(writer, member.Value, member.Name, values);
                }

                writer.WriteEndObject();
                break;
            default:
                template.WriteTo(writer);
                break;
        }
    }
}
