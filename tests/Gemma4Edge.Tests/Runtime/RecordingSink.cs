using System.Text;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

/// <summary>Keeps everything a request tells.</summary>
internal sealed class RecordingSink : ITokenSink
{
    private readonly StringBuilder _text = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Text => _text.ToString();

    public int PromptTokens { get; private set; }

    public int CachedTokens { get; private set; }

    public List<(int Done, int Total)> Prefill { get; } = [];

    public List<ToolCall> ToolCalls { get; } = [];

    public List<ToolCall> Acting { get; } = [];

    public List<ToolResult> ToolResults { get; } = [];

    public GenerationResult? Result { get; private set; }

    public GenerationFailure? Failure { get; private set; }

    public int Ends { get; private set; }

    /// <summary>Called with each prefill step and text delta, on the compute thread.</summary>
    public Action? OnProgress { get; init; }

    /// <summary>Called before each act.</summary>
    public Action? BeforeAct { get; init; }

    /// <summary>Called with each end.</summary>
    public Action? OnEnd { get; init; }

    public Task Ended => _ended.Task;

    public void OnStart(double queueMs, int promptTokens, int cachedTokens) => (PromptTokens, CachedTokens) = (promptTokens, cachedTokens);

    public void OnPrefill(int done, int total)
    {
        Prefill.Add((done, total));
        OnProgress?.Invoke();
    }

    public void OnText(string delta)
    {
        _text.Append(delta);
        OnProgress?.Invoke();
    }

    public void OnThought(string delta) => OnProgress?.Invoke();

    public void OnToolCall(ToolCall toolCall) => ToolCalls.Add(toolCall);

    public void OnActing(ToolCall toolCall)
    {
        BeforeAct?.Invoke();
        Acting.Add(toolCall);
    }

    public void OnToolResult(ToolCall toolCall, ToolResult result) => ToolResults.Add(result);

    public void OnDone(GenerationResult result)
    {
        Result = result;
        End();
    }

    public void OnFailed(GenerationFailure failure)
    {
        Failure = failure;
        End();
    }

    private void End()
    {
        Ends++;
        _ended.TrySetResult();
        OnEnd?.Invoke();
    }
}
