using System.Diagnostics;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>The way from a turn's calls to the messages that answer them. One per request; on the compute thread, which waits for the tools.</summary>
internal sealed class ToolRounds(PromptRequest request, ITokenSink sink, CancellationToken cancellation)
{
    private readonly List<ToolResult> _results = [];
    private int _rounds;

    /// <summary>The results of all rounds so far, in the order of the calls.</summary>
    public IReadOnlyList<ToolResult> Results => _results;

    /// <summary>Whether the calls of one turn are run here. All of them or none: a sender who has to run one must know what was done about the others.</summary>
    public bool Takes(IReadOnlyList<ToolCall> calls) => calls.Count > 0 && request.Acting is { } acting && calls.All(call => acting.Find(call.Name) is not null);

    /// <summary>Whether a tool may have acted.</summary>
    public bool HasActed { get; private set; }

    /// <summary>Runs the calls of one turn one after the other, and adds the turn and what came of each call to the conversation.</summary>
    /// <param name="turn">What the model said.</param>
    /// <param name="messages">The conversation. However this ends, every call in it has its answer: a next prompt can follow.</param>
    /// <exception cref="RequestFailedException">The deadline has passed, the model has used up its rounds, or the sink allows no act.</exception>
    /// <exception cref="OperationCanceledException">The request was cancelled; whether the act that was under way happened is not known.</exception>
    public void Run(RoundAnswer turn, List<ChatMessage> messages)
    {
        ActingTools acting = request.Acting!;
        List<ToolCall> calls = turn.ToolCalls;
        if (_rounds++ == acting.MaxRounds)
        {
            throw new RequestFailedException(Failures.TooManyRounds(acting.MaxRounds, calls[0].Name));
        }

        messages.AddRange(turn.AsMessages());
        int before = _results.Count;
        try
        {
            foreach (ToolCall call in calls)
            {
                ToolResult result = Run(acting, acting.Find(call.Name)!, call);
                _results.Add(result);
                messages.Add(Answer(call, result));
                sink.OnToolResult(call, result);
            }
        }
        finally
        {
            messages.AddRange(calls.Skip(_results.Count - before).Select(call => Answer(call, ToolResult.Failed("not done: the request ended before"))));
        }

        cancellation.ThrowIfCancellationRequested();
    }

    private static ChatMessage Answer(ToolCall call, ToolResult result) =>
        new(ChatRole.Tool, result.Ok ? result.Text : $"error: {result.Text}") { Name = call.Name, ToolCallId = call.Id };

    private ToolResult Run(ActingTools acting, ITool tool, ToolCall call)
    {
        if (tool.Refusal(call, request.Id) is { } refusal)
        {
            return ToolResult.Failed(refusal);
        }

        cancellation.ThrowIfCancellationRequested();
        if (request.DeadlineTimestamp is { } deadline && Stopwatch.GetTimestamp() > deadline)
        {
            throw new RequestFailedException(Failures.ExpiredBeforeActing(call.Name));
        }

        sink.OnActing(call);
        HasActed = true;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(acting.Timeout);
        try
        {
            return tool.RunAsync(call, request.Id, limit.Token).WaitAsync(limit.Token).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            string reason = cancellation.IsCancellationRequested ? "cancelled meanwhile" : FormattableString.Invariant($"no answer within {acting.Timeout.TotalSeconds} s");
            return ToolResult.Failed($"{reason}; it may have been done all the same");
        }
    }
}
