using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>Why an answer ended.</summary>
public enum FinishReason
{
    /// <summary>The model ended its turn.</summary>
    Stop,

    /// <summary>MaxTokens or the context's end was reached.</summary>
    Length,

    /// <summary>The model called tools and waits for their results.</summary>
    ToolCalls,
}

/// <summary>Why a request has no answer. The wire code is the name in snake_case.</summary>
public enum FailureCode
{
    /// <summary>The request itself is wrong.</summary>
    BadRequest,

    /// <summary>No model is loaded.</summary>
    NoModel,

    /// <summary>The queue was full when it arrived.</summary>
    QueueFull,

    /// <summary>The node accepts no prompts now.</summary>
    Disabled,

    /// <summary>Its deadline passed before it could start.</summary>
    Expired,

    /// <summary>Somebody cancelled it.</summary>
    Cancelled,

    /// <summary>The service stopped while it was running.</summary>
    Interrupted,

    /// <summary>Prompt and answer do not fit into the context.</summary>
    ContextOverflow,

    /// <summary>The answer cannot go on: tools are called without end, or one may not act.</summary>
    ToolFailed,

    /// <summary>The machine is too hot to compute.</summary>
    Overheated,

    /// <summary>The machine is short of memory.</summary>
    NoMemory,

    /// <summary>The disk that keeps requests is full.</summary>
    NoSpace,

    /// <summary>A bug or a broken machine; the log has more.</summary>
    Internal,
}

/// <summary>Token counts of one request. Tools that are run here make it several rounds, each with a prompt of its own: the counts of all rounds are added up.</summary>
/// <param name="Input">Tokens of the whole prompt.</param>
/// <param name="Cached">Of these, tokens whose keys and values were already there.</param>
/// <param name="Output">Tokens generated, the stop token included.</param>
public readonly record struct TokenUsage(int Input, int Cached, int Output);

/// <summary>Where the time of one request went. Of several rounds: the first one's time to first token, rates over the tokens and seconds of all, the total with the tools' time.</summary>
/// <param name="QueueMs">From receipt to the start of work.</param>
/// <param name="TtftMs">From the start of work to the first sampled token.</param>
/// <param name="PrefillTokensPerSecond">New prompt tokens per second; 0 if there were none.</param>
/// <param name="DecodeTokensPerSecond">Tokens after the first per second; 0 if there were none.</param>
/// <param name="TotalMs">From receipt to the end.</param>
public readonly record struct RequestTimings(double QueueMs, double TtftMs, double PrefillTokensPerSecond, double DecodeTokensPerSecond, double TotalMs);

/// <summary>A finished answer.</summary>
/// <param name="Text">The full text of all rounds, without thoughts and tool calls.</param>
/// <param name="ToolCalls">The calls of all rounds, in the model's order.</param>
/// <param name="FinishReason">Why the last round ended.</param>
/// <param name="Usage">Token counts.</param>
/// <param name="Timings">Where the time went.</param>
public sealed record GenerationResult(string Text, IReadOnlyList<ToolCall> ToolCalls, FinishReason FinishReason, TokenUsage Usage, RequestTimings Timings)
{
    /// <summary>What came of the first calls, which were run here; the calls beyond them are the sender's to run.</summary>
    public IReadOnlyList<ToolResult> ToolResults { get; init; } = [];
}

/// <summary>A request that ended without an answer.</summary>
/// <param name="Code">What kind of failure.</param>
/// <param name="Message">One sentence: what happened.</param>
/// <param name="Hint">What to do about it.</param>
public sealed record GenerationFailure(FailureCode Code, string Message, string Hint)
{
    /// <summary>A tool may have acted: whoever asks again may make it act twice.</summary>
    public bool MayHaveActed { get; private init; }

    /// <summary>The same after a tool may have acted.</summary>
    public GenerationFailure AfterActing() => this with { MayHaveActed = true, Hint = $"A tool may have acted: look at what the request should have changed before you send it again. {Hint}" };
}
