using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>How much of an answer its sender hears before the end.</summary>
internal enum StreamMode
{
    /// <summary>Only the end.</summary>
    None,

    /// <summary>Text as it comes, joined to a tenth of a second.</summary>
    Token,

    /// <summary>Text sentence by sentence.</summary>
    Sentence,
}

/// <summary>Where a reply goes.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Correlation">The sender's correlation data, echoed as it came.</param>
internal sealed record ReplyAddress(string Topic, byte[]? Correlation);

/// <summary>What a request gets that does not say otherwise, as it stands when the request arrives.</summary>
internal sealed record RequestDefaults(SamplingOptions Sampling, int MaxTokens, bool Think, string? System, IReadOnlyList<ToolDefinition> Tools, int DeadlineSeconds)
{
    /// <summary>Those of the tools that act; null = none does.</summary>
    public ActingTools? Acting { get; init; }
}

/// <summary>A payload that was read: exactly one of <see cref="Request"/> and <see cref="Failure"/> is set.</summary>
internal sealed record ParsedRequest(ReplyAddress Reply)
{
    /// <summary>The id to name in the reply; null where the payload could not be read.</summary>
    public string? Id { get; init; }

    /// <summary>What makes a second delivery of it recognisable; null = nothing but its packet id.</summary>
    public string? DuplicateKey { get; init; }

    public StreamMode Stream { get; init; }

    public PromptRequest? Request { get; init; }

    public GenerationFailure? Failure { get; init; }
}
