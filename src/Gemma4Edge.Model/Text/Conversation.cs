using System.Text.Json;

namespace Gemma4Edge.Model.Text;

/// <summary>Everything a prompt is made of. Immutable.</summary>
/// <param name="Messages">The messages, oldest first.</param>
public sealed record Conversation(IReadOnlyList<ChatMessage> Messages)
{
    /// <summary>The tools declared to the model.</summary>
    public IReadOnlyList<ToolDefinition> Tools { get; init; } = [];

    /// <summary>Whether the model is asked to think before it answers.</summary>
    public bool EnableThinking { get; init; }

    /// <summary>Whether thoughts before old tool calls stay in the prompt.</summary>
    public bool PreserveThinking { get; init; }

    /// <summary>Whether the prompt ends where the model begins to speak.</summary>
    public bool AddGenerationPrompt { get; init; } = true;

    /// <summary>Reads a conversation: <c>messages</c> and, where given, <c>tools</c>, <c>enable_thinking</c>, <c>preserve_thinking</c>,
    /// <c>add_generation_prompt</c>. Other members are ignored.</summary>
    /// <exception cref="FormatException">Something has the wrong shape; the message begins with its path.</exception>
    public static Conversation Parse(JsonElement json) => JsonAt.Parse(json, "$", Parse);

    private static Conversation Parse(JsonAt json) => new([.. json.Get("messages").Items().Select(ChatMessage.Parse)])
    {
        Tools = [.. (json.Find("tools")?.Items() ?? []).Select(ToolDefinition.Parse)],
        EnableThinking = json.Find("enable_thinking")?.Flag() ?? false,
        PreserveThinking = json.Find("preserve_thinking")?.Flag() ?? false,
        AddGenerationPrompt = json.Find("add_generation_prompt")?.Flag() ?? true,
    };
}
