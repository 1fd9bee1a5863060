using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>Who speaks.</summary>
public enum ChatRole
{
    /// <summary>Instructions.</summary>
    System,

    /// <summary>Instructions; as the first message the same as <see cref="System"/>.</summary>
    Developer,

    /// <summary>The person or program that asks.</summary>
    User,

    /// <summary>The model.</summary>
    Assistant,

    /// <summary>What a tool answered.</summary>
    Tool,
}

/// <summary>What a part of a message is.</summary>
public enum ContentKind
{
    /// <summary>Text.</summary>
    Text,

    /// <summary>An image.</summary>
    Image,

    /// <summary>A sound.</summary>
    Audio,

    /// <summary>A video.</summary>
    Video,
}

/// <summary>One part of a message.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">The text of a text part; empty for the others, which stand in the prompt as one placeholder.</param>
public sealed record ContentPart(ContentKind Kind, string Text = "");

/// <summary>A tool's answer inside an assistant message: Gemma's own form.</summary>
/// <param name="Name">The tool.</param>
/// <param name="Response">An object is printed member by member, anything else as its <c>value</c>.</param>
public sealed record ToolResponse(string Name, JsonElement Response);

/// <summary>One message of a conversation, in the shape of OpenAI's chat API. Immutable.</summary>
/// <param name="Role">Who speaks.</param>
/// <param name="Text">The content as one string; null when it is <see cref="Parts"/>, <see cref="Response"/>, or there is none.</param>
public sealed record ChatMessage(ChatRole Role, string? Text = null)
{
    /// <summary>The content as a list of parts; null when it is <see cref="Text"/>.</summary>
    public IReadOnlyList<ContentPart>? Parts { get; init; }

    /// <summary>The content of a tool message that is a JSON object; null otherwise.</summary>
    public JsonElement? Response { get; init; }

    /// <summary>What the model thought before it spoke; null = nothing.</summary>
    public string? Reasoning { get; init; }

    /// <summary>The calls that an assistant message makes.</summary>
    public IReadOnlyList<ToolCall> ToolCalls { get; init; } = [];

    /// <summary>Answers to them in Gemma's own form; OpenAI's form is tool messages after this one.</summary>
    public IReadOnlyList<ToolResponse> ToolResponses { get; init; } = [];

    /// <summary>The call that a tool message answers; null = not said.</summary>
    public string? ToolCallId { get; init; }

    /// <summary>The tool that a tool message is from; null = not said.</summary>
    public string? Name { get; init; }

    /// <summary>Reads one message.</summary>
    /// <param name="json">An object with <c>role</c>, <c>content</c> (a string, a list of parts, for a tool also an object), <c>tool_calls</c>,
    /// <c>tool_call_id</c>, <c>name</c>, <c>reasoning</c> or <c>reasoning_content</c>, <c>tool_responses</c>. Other members are ignored.</param>
    /// <param name="path">What the message is called in a complaint, for example <c>messages[2]</c>.</param>
    /// <exception cref="FormatException">Something has the wrong shape; the message begins with its path.</exception>
    public static ChatMessage Parse(JsonElement json, string path = "message") => JsonAt.Parse(json, path, Parse);

    /// <summary>Writes what a text conversation holds: role, content, reasoning, tool_calls, name. Media and Gemma's own tool responses are left out.</summary>
    public void WriteTo(Utf8JsonWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.WriteStartObject();
        writer.WriteString("role", Role switch
        {
            ChatRole.System => "system",
            ChatRole.Developer => "developer",
            ChatRole.User => "user",
            ChatRole.Assistant => "assistant",
            _ => "tool",
        });
        writer.WriteString("content", Text);
        if (Name is not null)
        {
            writer.WriteString("name", Name);
        }

        if (Reasoning is not null)
        {
            writer.WriteString("reasoning", Reasoning);
        }

        if (ToolCalls.Count > 0)
        {
            writer.WriteStartArray("tool_calls");
            foreach (ToolCall toolCall in ToolCalls)
            {
                toolCall.WriteTo(writer);
            }

            writer.WriteEndArray();
        }

        writer.WriteEndObject();
    }

    internal static ChatMessage Parse(JsonAt json)
    {
        JsonAt? content = json.Find("content");
        ChatRole role = ParseRole(json.Get("role"));
        bool isResponse = role == ChatRole.Tool && content?.Value.ValueKind == JsonValueKind.Object;
        bool isParts = content?.Value.ValueKind == JsonValueKind.Array;
        return new ChatMessage(role, isResponse || isParts ? null : content?.Text())
        {
            Parts = isParts ? [.. content!.Value.Items().Select(ParsePart)] : null,
            Response = isResponse ? content!.Value.Object() : null,
            Reasoning = json.Find("reasoning")?.Text() is { Length: > 0 } reasoning ? reasoning : json.Find("reasoning_content")?.Text(),
            ToolCalls = [.. (json.Find("tool_calls")?.Items() ?? []).Select(ToolCall.Parse)],
            ToolResponses = [.. (json.Find("tool_responses")?.Items() ?? []).Select(ParseResponse)],
            ToolCallId = json.Find("tool_call_id")?.Text(),
            Name = json.Find("name")?.Text(),
        };
    }

    private static ChatRole ParseRole(JsonAt json) => json.Text() switch
    {
        "system" => ChatRole.System,
        "developer" => ChatRole.Developer,
        "user" => ChatRole.User,
        "assistant" => ChatRole.Assistant,
        "tool" => ChatRole.Tool,
        _ => throw new FormatException($"{json.Path}: expected system, developer, user, assistant or tool."),
    };

    private static ContentPart ParsePart(JsonAt json)
    {
        JsonAt type = json.Get("type");
        return type.Text() switch
        {
            "text" => new ContentPart(ContentKind.Text, json.Get("text").Text()),
            "image" or "image_url" => new ContentPart(ContentKind.Image),
            "audio" or "input_audio" => new ContentPart(ContentKind.Audio),
            "video" => new ContentPart(ContentKind.Video),
            _ => throw new FormatException($"{type.Path}: expected text, image, image_url, audio, input_audio or video."),
        };
    }

    private static ToolResponse ParseResponse(JsonAt json) =>
        new(json.Find("name")?.Text() is { Length: > 0 } name ? name : "unknown", json.Find("response")?.Copy() ?? default);
}
