using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>One question to the model, checked by whoever made it. Immutable.</summary>
public sealed record PromptRequest
{
    /// <summary>Names the request in events and cancellations; not unique.</summary>
    public required string Id { get; init; }

    /// <summary>The conversation it belongs to; null = a conversation of its own, forgotten afterwards.</summary>
    public string? Session { get; init; }

    /// <summary>A user message that is appended to the session. Exactly one of Prompt and <see cref="Messages"/> is set.</summary>
    public string? Prompt { get; init; }

    /// <summary>The whole history, which replaces the session's (what is common stays cached).</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>System text that goes before the history from now on; null = the session's own, which may be a message.</summary>
    public string? System { get; init; }

    /// <summary>System text where neither the request nor its conversation has one; null = none.</summary>
    public string? DefaultSystem { get; init; }

    /// <summary>Tools declared to the model; null = the session's, or none.</summary>
    public IReadOnlyList<ToolDefinition>? Tools { get; init; }

    /// <summary>Whether the tools, like <see cref="DefaultSystem"/>, are those of all requests that bring none: then what the model makes of both is worth keeping, see <see cref="PrefixStore"/>.</summary>
    public bool IsPrefixShared { get; init; }

    /// <summary>Those of the declared tools that are run here; null = every call is the sender's to run.</summary>
    public ActingTools? Acting { get; init; }

    /// <summary>How tokens are chosen.</summary>
    public required SamplingOptions Sampling { get; init; }

    /// <summary>Most tokens of the answer, the calls of all rounds included.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>Whether the model may think before it answers.</summary>
    public bool Think { get; init; }

    /// <summary>When it was received, a <see cref="System.Diagnostics.Stopwatch"/> timestamp; queue wait counts from here.</summary>
    public required long ReceivedTimestamp { get; init; }

    /// <summary>A Stopwatch timestamp after which the request is not started any more and no tool acts; null = never.</summary>
    public long? DeadlineTimestamp { get; init; }
}
