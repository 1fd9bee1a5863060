using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>A declared tool that this program can run itself. Knows nothing of the conversation.</summary>
public interface ITool
{
    /// <summary>What is declared to the model.</summary>
    ToolDefinition Definition { get; }

    /// <summary>What is wrong with a call, in a sentence that the model is told; null = it may act.</summary>
    /// <remarks>Asked before every act; it must not act and must not wait.</remarks>
    string? Refusal(ToolCall toolCall, string requestId);

    /// <summary>Acts. What goes wrong outside (a broker away, a device that does not answer) is a <see cref="ToolResult"/>, not an exception.</summary>
    /// <param name="toolCall">A call that <see cref="Refusal"/> let pass.</param>
    /// <param name="requestId">The request that it belongs to; ids are for the audit.</param>
    /// <param name="cancellation">Fires at the time limit, or when the request is cancelled.</param>
    Task<ToolResult> RunAsync(ToolCall toolCall, string requestId, CancellationToken cancellation);
}
