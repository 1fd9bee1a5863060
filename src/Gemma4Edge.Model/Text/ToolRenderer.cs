using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>Renders tool declarations, calls and answers: names and keys bare, every string between two string marks, no escaping.</summary>
internal sealed class ToolRenderer(PromptSink sink)
{
    /// <summary>Schema words that are not taken for the names of properties in an object that has no <c>properties</c>.</summary>
    private static readonly string[] s_schemaWords = ["description", "type", "properties", "required", "nullable"];

    public void Declaration(ToolDefinition tool)
    {
        sink.Marker("<|tool>");
        sink.Text("declaration:" + tool.Name + "{description:");
        String(tool.Description);
        if (tool.Parameters is { ValueKind: JsonValueKind.Object } parameters && IsTrue(parameters))
        {
            sink.Text(",parameters:{");
            if (Member(parameters, "properties") is { } properties && IsTrue(properties))
            {
                sink.Text("properties:{");
                Properties(properties, filter: false);
                sink.Text("},");
            }
            if (Member(parameters, "required") is { ValueKind: JsonValueKind.Array } required && IsTrue(required))
            {
                sink.Text("required:");
                Strings(required);
                sink.Text(",");
            }
            sink.Text("type:");
            String(TypeOf(parameters) is { Length: > 0 } type ? type : "OBJECT");       // left out as published, the brace would stay open
            sink.Text("}");
        }
        if (tool.Response is { } response)
        {
            sink.Text(",response:{");
            if (DescriptionOf(response) is { Length: > 0 } description)
            {
                sink.Text("description:");
                String(description);
                sink.Text(",");
            }
            sink.Text("type:");
            String("OBJECT");
            sink.Text("}");
        }
        sink.Text("}");
        sink.Marker("<tool|>");
    }

    public void Call(ToolCall call)
    {
        sink.Marker("<|tool_call>");
        sink.Text("call:" + call.Name);
        Object(call.Arguments, quoteKeys: false);
        sink.Marker("<tool_call|>");
    }

    public void Response(string name, JsonElement response)
    {
        BeginResponse(name);
        if (response.ValueKind == JsonValueKind.Object)
        {
            Object(response, quoteKeys: false);
        }
        else
        {
            sink.Text("{value:");
            Value(response, quoteKeys: false);
            sink.Text("}");
        }
        sink.Marker("<tool_response|>");
    }

    /// <summary>A plain text answer; null = the tool message had no content.</summary>
    public void Response(string name, string? text)
    {
        BeginResponse(name);
        sink.Text("{value:");
        if (text is null)
        {
            sink.Text("null");
        }
        else
        {
            String(text);
        }
        sink.Text("}");
        sink.Marker("<tool_response|>");
    }

    private void BeginResponse(string name)
    {
        sink.Marker("<|tool_response>");
        sink.Text("response:" + name);
    }

    private void Properties(JsonElement properties, bool filter)
    {
        string comma = "";
        foreach ((string name, JsonElement schema) in PythonText.DictSort(properties))
        {
            if (!filter || !s_schemaWords.Contains(name))
            {
                sink.Text(comma + name + ":{");
                Property(schema);
                comma = ",";
            }
        }
    }

    private void Property(JsonElement schema)
    {
        string type = TypeOf(schema);
        if (DescriptionOf(schema) is { Length: > 0 } description)
        {
            sink.Text("description:");
            String(description);
            sink.Text(",");
        }
        if (type == "STRING" && Member(schema, "enum") is { } values && IsTrue(values))
        {
            sink.Text("enum:");
            Value(values, quoteKeys: true);
            sink.Text(",");
        }
        if (type == "ARRAY" && Member(schema, "items") is { ValueKind: JsonValueKind.Object } items && IsTrue(items))
        {
            sink.Text("items:{");
            Items(items);
            sink.Text("},");
        }
        if (Member(schema, "nullable") is { } nullable && IsTrue(nullable))
        {
            sink.Text("nullable:true,");
        }
        if (type == "OBJECT")
        {
            bool named = Member(schema, "properties") is { ValueKind: JsonValueKind.Object };
            sink.Text("properties:{");
            Properties(named ? Member(schema, "properties")!.Value : schema, filter: !named);
            sink.Text("},");
            if (Member(schema, "required") is { ValueKind: JsonValueKind.Array } required && IsTrue(required))
            {
                sink.Text("required:");
                Strings(required);
                sink.Text(",");
            }
        }
        sink.Text("type:");
        String(type);
        sink.Text("}");
    }

    /// <summary>The schema of an array's items: here, unlike in a property, every word is printed, in sorted order.</summary>
    private void Items(JsonElement items)
    {
        string comma = "";
        foreach ((string word, JsonElement value) in PythonText.DictSort(items))
        {
            if (value.ValueKind == JsonValueKind.Null)
            {
                continue;
            }
            sink.Text(comma + word + ":");
            comma = ",";
            switch (word)
            {
                case "properties":
                    sink.Text("{");
                    if (value.ValueKind == JsonValueKind.Object)
                    {
                        Properties(value, filter: false);
                    }
                    sink.Text("}");
                    break;
                case "required" when value.ValueKind == JsonValueKind.Array:
                    Strings(value);
                    break;
                case "type" when value.ValueKind == JsonValueKind.String:
                    String(value.GetString()!.ToUpperInvariant());
                    break;
                case "type" when value.ValueKind == JsonValueKind.Array:
                    List(value, type => String(TextOf(type).ToUpperInvariant()));
                    break;
                default:
                    Value(value, quoteKeys: true);
                    break;
            }
        }
    }

    private void Value(JsonElement value, bool quoteKeys)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                String(value.GetString()!);
                break;
            case JsonValueKind.Number:
                sink.Text(PythonText.Number(value));
                break;
            case JsonValueKind.Object:
                Object(value, quoteKeys);
                break;
            case JsonValueKind.Array:
                List(value, item => Value(item, quoteKeys));
                break;
            default:
                sink.Text(value.ValueKind switch { JsonValueKind.True => "true", JsonValueKind.False => "false", _ => "null" });
                break;
        }
    }

    private void Object(JsonElement mapping, bool quoteKeys)
    {
        sink.Text("{");
        string comma = "";
        foreach ((string key, JsonElement value) in PythonText.DictSort(mapping))
        {
            sink.Text(comma);
            comma = ",";
            if (quoteKeys)
            {
                String(key);
            }
            else
            {
                sink.Text(key);
            }
            sink.Text(":");
            Value(value, quoteKeys);
        }
        sink.Text("}");
    }

    private void Strings(JsonElement list) => List(list, item => String(TextOf(item)));

    private void List(JsonElement list, Action<JsonElement> item)
    {
        sink.Text("[");
        string comma = "";
        foreach (JsonElement value in list.EnumerateArray())
        {
            sink.Text(comma);
            comma = ",";
            item(value);
        }
        sink.Text("]");
    }

    private void String(string text)
    {
        sink.Marker("<|\"|>");
        sink.Text(text);
        sink.Marker("<|\"|>");
    }

    /// <summary>The type in capitals; a list of types as Python prints a list; empty when there is none.</summary>
    private static string TypeOf(JsonElement schema) => Member(schema, "type") switch
    {
        { ValueKind: JsonValueKind.String } type => type.GetString()!.ToUpperInvariant(),
        { ValueKind: JsonValueKind.Array } types => $"[{string.Join(", ", types.EnumerateArray().Select(t => $"'{TextOf(t).ToUpperInvariant()}'"))}]",
        _ => "",
    };

    private static string DescriptionOf(JsonElement schema) => Member(schema, "description") is { } description ? TextOf(description) : "";

    private static string TextOf(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText();

    private static JsonElement? Member(JsonElement schema, string name) =>
        schema.ValueKind == JsonValueKind.Object && schema.TryGetProperty(name, out JsonElement member) && member.ValueKind != JsonValueKind.Null
            ? member
            : null;

    /// <summary>Python's truth: not false, zero, or empty.</summary>
    private static bool IsTrue(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => value.EnumerateObject().Any(),
        JsonValueKind.Array => value.GetArrayLength() > 0,
        JsonValueKind.String => value.GetString()!.Length > 0,
        JsonValueKind.Number => value.GetDouble() != 0,
        _ => value.ValueKind == JsonValueKind.True,
    };
}
