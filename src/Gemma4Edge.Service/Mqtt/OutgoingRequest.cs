using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>A request as a client sends it; null = the node decides.</summary>
public sealed record OutgoingRequest
{
    /// <summary>A user's text.</summary>
    public OutgoingRequest(string prompt) => Prompt = prompt;

    /// <summary>A whole conversation.</summary>
    public OutgoingRequest(IReadOnlyList<ChatMessage> messages) => Messages = messages;

    /// <summary>The user's text; null = <see cref="Messages"/> has it.</summary>
    public string? Prompt { get; }

    /// <summary>The conversation, oldest message first; null = <see cref="Prompt"/> is all.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; }

    /// <summary>Names the request.</summary>
    public string Id { get; init; } = Guid.NewGuid().ToString("N");

    /// <summary>The conversation it belongs to; null = none.</summary>
    public string? Session { get; init; }

    /// <summary>System text.</summary>
    public string? System { get; init; }

    /// <summary>Whether text is wanted as it comes.</summary>
    public bool Stream { get; init; }

    /// <summary>Most tokens of the answer.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Divides the logits; 0 = greedy.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keeps the k largest logits.</summary>
    public int? TopK { get; init; }

    /// <summary>Keeps the smallest set of tokens whose probability reaches p.</summary>
    public float? TopP { get; init; }

    /// <summary>Seed of the draws.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Whether the model may think first.</summary>
    public bool? Think { get; init; }

    internal byte[] ToPayload() => Payloads.Object(json =>
    {
        json.WriteString("id", Id);
        Write(Prompt is not null, "prompt", name => json.WriteString(name, Prompt));
        Write(Messages is not null, "messages", name =>
        {
            json.WriteStartArray(name);
            foreach (ChatMessage message in Messages!)
            {
                message.WriteTo(json);
            }

            json.WriteEndArray();
        });
        Write(Session is not null, "session", name => json.WriteString(name, Session));
        Write(System is not null, "system", name => json.WriteString(name, System));
        Write(Stream, "stream", name => json.WriteBoolean(name, true));
        Write(MaxTokens is not null, "max_tokens", name => json.WriteNumber(name, MaxTokens!.Value));
        Write(Temperature is not null, "temperature", name => json.WriteNumber(name, Temperature!.Value));
        Write(TopK is not null, "top_k", name => json.WriteNumber(name, TopK!.Value));
        Write(TopP is not null, "top_p", name => json.WriteNumber(name, TopP!.Value));
        Write(Seed is not null, "seed", name => json.WriteNumber(name, Seed!.Value));
        Write(Think is not null, "think", name => json.WriteBoolean(name, Think!.Value));
    });

    private static void Write(bool given, string name, Action<string> write)
    {
        if (given)
        {
            write(name);
        }
    }
}
