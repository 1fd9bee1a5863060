using System.Text.Json;

namespace Gemma4Edge.Service.Tools;

/// <summary>What a tool's calls do, read from its file. Immutable.</summary>
internal interface IToolAction
{
    /// <summary>Fills in the arguments of one call.</summary>
    /// <param name="arguments">They have passed the schema.</param>
    /// <exception cref="FormatException">They cannot be used that way; the message is for the model.</exception>
    ToolAct Prepare(JsonElement arguments);
}

/// <summary>One act, ready to be done.</summary>
/// <param name="Description">What will be done, for the audit.</param>
/// <param name="DoAsync">Does it; when it returns it has happened. A <see cref="ToolActException"/> tells why it has not.</param>
internal sealed record ToolAct(string Description, Func<ActionContext, CancellationToken, Task> DoAsync);

/// <summary>What acts need of the service.</summary>
/// <param name="PublishAsync">Publishes at once and waits for the broker's answer; a <see cref="ToolActException"/> where there is none, or a refusal.</param>
internal sealed record ActionContext(Func<Mqtt.OutboundMessage, CancellationToken, Task> PublishAsync);

/// <summary>An act did not happen, or nobody knows; the message is for the model.</summary>
internal sealed class ToolActException(string problem, Exception? cause = null) : Exception(problem, cause);
