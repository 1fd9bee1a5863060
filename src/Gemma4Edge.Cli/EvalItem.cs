using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Cli;

/// <summary>One line of an evaluation file: a conversation and the one answer that counts.</summary>
/// <param name="Id">Its name in messages and predictions.</param>
/// <param name="Category">The kind it is counted under.</param>
/// <param name="ExpectsCall">Whether the right answer is a tool call.</param>
/// <param name="Conversation">What the model is asked.</param>
/// <param name="Prompt">What the conversation must render to; null = not checked.</param>
/// <param name="Completion">The right answer as the model writes it, stop token included.</param>
internal sealed record EvalItem(string Id, string Category, bool ExpectsCall, Conversation Conversation, string? Prompt, string Completion)
{
    /// <exception cref="FormatException">A key is missing or of the wrong kind.</exception>
    public static EvalItem Parse(JsonElement line)
    {
        string id = Text(line, "id");
        string completion = Text(line, "completion");
        if (completion.Length == 0)
        {
            throw new FormatException("completion: expected the right answer, found an empty text.");
        }

        if (!line.TryGetProperty("expected", out JsonElement expected) || expected.ValueKind != JsonValueKind.Object)
        {
            throw new FormatException("expected: an object with kind is needed.");
        }

        return new EvalItem(
            id,
            Text(line, "category"),
            Text(expected, "kind") == "tool_call",
            Conversation.Parse(line) with { AddGenerationPrompt = true },
            line.TryGetProperty("prompt", out _) ? Text(line, "prompt") : null,
            completion);
    }

    private static string Text(JsonElement owner, string key) =>
        owner.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : throw new FormatException($"{key}: expected a text.");
}
