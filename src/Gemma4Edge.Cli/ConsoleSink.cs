using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli;

/// <summary>Shows an answer as it comes: the text on Out, thoughts dim, each tool call on a line of its own.</summary>
/// <param name="terminal">Where.</param>
/// <param name="problemOf">What is wrong with a call that nobody runs; null = nothing.</param>
internal sealed class ConsoleSink(Terminal terminal, Func<ToolCall, string?>? problemOf = null) : ITokenSink, IDisposable
{
    private readonly Progress _prefill = new(terminal, "Reading the prompt");
    private bool _inLine;
    private bool _thinking;

    /// <inheritdoc/>
    public void OnStart(double queueMs, int promptTokens, int cachedTokens)
    {
    }

    /// <inheritdoc/>
    public void OnPrefill(int done, int total) => _prefill.Report(done, total);

    /// <inheritdoc/>
    public void OnText(string delta)
    {
        if (_thinking)
        {
            EndLine();
        }

        Write(terminal.Shown(delta), thought: false);
    }

    /// <inheritdoc/>
    public void OnThought(string delta) => Write(terminal.Dim(terminal.Shown(delta)), thought: true);

    /// <inheritdoc/>
    public void OnToolCall(ToolCall toolCall)
    {
        EndLine();
        _prefill.Dispose();
        terminal.Out.WriteLine(terminal.Accent(terminal.Shown(Describe(toolCall))));
        if (problemOf?.Invoke(toolCall) is { } problem)
        {
            ShowResult(problem, ok: false, dryRun: false);
        }

        terminal.Out.Flush();
    }

    /// <inheritdoc/>
    public void OnActing(ToolCall toolCall)
    {
        // the call was shown
    }

    /// <inheritdoc/>
    public void OnToolResult(ToolCall toolCall, ToolResult result) => ShowResult(result.Text, result.Ok, result.DryRun);

    /// <inheritdoc/>
    public void OnDone(GenerationResult result) => EndLine();

    /// <summary>Shows an event that a node sent; the last one ends the line.</summary>
    /// <exception cref="CommandException">The event tells that there is no answer.</exception>
    public void Show(JsonElement e)
    {
        switch (e.GetProperty("type").GetString())
        {
            case "start":
                EndLine(); // a node of a pool begins anew what another had begun
                break;
            case "prefill":
                OnPrefill(e.GetProperty("done").GetInt32(), e.GetProperty("total").GetInt32());
                break;
            case "delta":
                OnText(e.GetProperty("text").GetString()!);
                break;
            case "tool_call":
                OnToolCall(new ToolCall(e.GetProperty("name").GetString()!, e.GetProperty("arguments")));
                break;
            case "tool_result":
                bool ok = e.GetProperty("ok").GetBoolean();
                ShowResult(e.GetProperty(ok ? "result" : "error").GetString()!, ok, e.TryGetProperty("dry_run", out _));
                break;
            case "done":
                EndLine();
                break;
            case "error":
                EndLine();
                JsonElement error = e.GetProperty("error");
                throw CommandException.Failed($"{error.GetProperty("message").GetString()} {error.GetProperty("hint").GetString()}");
        }
    }

    /// <inheritdoc/>
    public void OnFailed(GenerationFailure failure)
    {
        EndLine();
        terminal.Error.WriteLine($"{failure.Message} {failure.Hint}");
    }

    /// <summary>A call as people read it: <c>set_light(area: "kitchen", on: true)</c>.</summary>
    private static string Describe(ToolCall toolCall) =>
        $"{toolCall.Name}({string.Join(", ", toolCall.Arguments.EnumerateObject().Select(argument => $"{argument.Name}: {argument.Value.GetRawText()}"))})";

    /// <summary>Takes the progress bar away.</summary>
    public void Dispose() => _prefill.Dispose();

    private void ShowResult(string text, bool ok, bool dryRun)
    {
        if (ok && text == "ok" && !dryRun)
        {
            return; // the answer says it
        }

        EndLine();
        terminal.Out.WriteLine(terminal.Dim(terminal.Shown($"  {(ok ? "" : "error: ")}{text}{(dryRun ? " (dry run)" : "")}")));
    }

    private void Write(string text, bool thought)
    {
        _prefill.Dispose();
        _thinking = thought;
        _inLine = true;
        terminal.Stream(text);
    }

    private void EndLine()
    {
        if (_inLine)
        {
            terminal.Stream(Environment.NewLine);
        }

        _inLine = _thinking = false;
    }
}
