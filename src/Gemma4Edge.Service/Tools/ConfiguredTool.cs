using System.Diagnostics;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service.Tools;

/// <summary>A tool of the configuration that acts: checks each call, does it, and keeps the audit.</summary>
/// <param name="declared">Its file; it has an action.</param>
/// <param name="dryRun">Whether it only pretends.</param>
/// <param name="context">What its act needs.</param>
/// <param name="metrics">Counts its calls.</param>
/// <param name="log">Gets one line for each call.</param>
internal sealed partial class ConfiguredTool(DeclaredTool declared, bool dryRun, ActionContext context, EngineMetrics metrics, ILogger log) : ITool
{
    /// <inheritdoc/>
    public ToolDefinition Definition => declared.Definition;

    /// <inheritdoc/>
    public string? Refusal(ToolCall toolCall, string requestId)
    {
        string? problem = declared.Schema!.Problem(toolCall.Arguments, "arguments");
        try
        {
            _ = problem is null ? declared.Action!.Prepare(toolCall.Arguments) : null;
        }
        catch (FormatException e)
        {
            problem = e.Message;
        }

        if (problem is not null)
        {
            metrics.ToolRan(toolCall.Name, "refused", TimeSpan.Zero);
            LogRefused(toolCall.Name, requestId, toolCall.Arguments.GetRawText(), problem);
        }

        return problem;
    }

    /// <inheritdoc/>
    public async Task<ToolResult> RunAsync(ToolCall toolCall, string requestId, CancellationToken cancellation)
    {
        ToolAct act = declared.Action!.Prepare(toolCall.Arguments);
        string arguments = toolCall.Arguments.GetRawText();
        long started = Stopwatch.GetTimestamp();
        string outcome = "unknown"; // given up while the act was under way
        try
        {
            if (!dryRun)
            {
                await act.DoAsync(context, cancellation).ConfigureAwait(false);
            }

            outcome = dryRun ? "dry_run" : "ok";
            return new ToolResult("ok", Ok: true) { DryRun = dryRun };
        }
        catch (ToolActException e)
        {
            outcome = "failed";
            LogFailed(toolCall.Name, requestId, e.Message);
            return ToolResult.Failed(e.Message);
        }
        finally
        {
            metrics.ToolRan(toolCall.Name, outcome, Stopwatch.GetElapsedTime(started));
            LogAct(toolCall.Name, requestId, outcome, act.Description, arguments);
        }
    }

    [LoggerMessage(EventId = 31, Level = LogLevel.Information, Message = "Tool {tool}, request {id}: {outcome}: {act}, arguments {arguments}")]
    private partial void LogAct(string tool, string id, string outcome, string act, string arguments);

    [LoggerMessage(EventId = 32, Level = LogLevel.Warning, Message = "Tool {tool}, request {id}: refused: {problem} Arguments {arguments}")]
    private partial void LogRefused(string tool, string id, string arguments, string problem);

    [LoggerMessage(EventId = 33, Level = LogLevel.Warning, Message = "Tool {tool}, request {id}: {problem}")]
    private partial void LogFailed(string tool, string id, string problem);
}
