using System.Diagnostics;
using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Tests.Service;

/// <summary>Stands where the model stands: a thread that takes requests and answers them as its prompt says.</summary>
/// <remarks>
/// <c>wait</c> = works until it is cancelled; <c>call</c> = two tool calls; <c>act TEXT</c> = a tool acts: it adds TEXT to <see cref="ActsFile"/>;
/// <c>die</c> = the process is gone; anything else = <c>You said: </c> and the prompt, word by word, <see cref="WordTime"/> apart.
/// </remarks>
internal sealed class ScriptedModel : IDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _completion = new();
    private readonly Thread _thread;
    private long _ended;

    public ScriptedModel(int capacity = 16)
    {
        var metrics = new EngineMetrics("scripted");
        metrics.Observe(MetricTable.KvBytes, () => 4096);
        var queue = new RequestQueue(capacity, metrics);
        Served = new ServedModel(queue, metrics, new NodeInfo { Model = "scripted", Context = 1024, Kernel = "none", Threads = 1 })
        {
            HasAnswered = true,
            ClearSessions = Cleared.Add,
            Residency = () => new MappedResidency(123, null),
            Tools = [new ToolDefinition("set_light", "Switch lights")],
        };
        _thread = new Thread(Work) { IsBackground = true };
    }

    public ServedModel Served { get; }

    /// <summary>Where tools act.</summary>
    public string? ActsFile { get; init; }

    public TimeSpan WordTime { get; init; }

    public List<string?> Cleared { get; } = [];

    public List<PromptRequest> Seen { get; } = [];

    /// <summary>How long each answer takes.</summary>
    public TimeSpan Pace { get; init; }

    /// <summary>When each request was received, taken up and done: Stopwatch timestamps.</summary>
    public List<(string Id, long Received, long Start, long End)> Done { get; } = [];

    public Task Completion => _completion.Task;

    public void Start() => _thread.Start();

    public void Stop()
    {
        _stopping.Cancel();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }
    }

    public void Dispose()
    {
        Stop();
        Served.Queue.Dispose();
        Served.Metrics.Dispose();
    }

    private void Work()
    {
        try
        {
            while (true)
            {
                QueuedRequest next = Served.Queue.Take(_stopping.Token);
                long start = Stopwatch.GetTimestamp();
                Answer(next);
                Done.Add((next.Request.Id, next.Request.ReceivedTimestamp, start, _ended));
                Served.Queue.Release();
            }
        }
        catch (OperationCanceledException)
        {
            _completion.SetResult();
        }
    }

    private void Answer(QueuedRequest queued)
    {
        lock (Seen)
        {
            Seen.Add(queued.Request);
        }

        if (queued.Request.DeadlineTimestamp < Stopwatch.GetTimestamp())
        {
            queued.Sink.OnFailed(Failures.Expired);
            return;
        }

        string prompt = queued.Request.Prompt ?? "messages";
        queued.Sink.OnStart(1.25, 12, 4);
        queued.Sink.OnPrefill(4, 8);
        queued.Sink.OnPrefill(8, 8);
        if (prompt == "wait")
        {
            WaitHandle.WaitAny([queued.Cancellation.WaitHandle, _stopping.Token.WaitHandle]);
            _ended = Stopwatch.GetTimestamp();
            queued.Sink.OnFailed(_stopping.IsCancellationRequested ? Failures.Interrupted : Failures.Cancelled);
            return;
        }

        _stopping.Token.WaitHandle.WaitOne(Pace);
        if (prompt == "die")
        {
            Process.GetCurrentProcess().Kill();
        }

        string text = "";
        List<ToolCall> calls = [];
        if (prompt.StartsWith("act ", StringComparison.Ordinal))
        {
            var call = new ToolCall("set_light", JsonDocument.Parse("{}").RootElement);
            queued.Sink.OnToolCall(call);
            queued.Sink.OnActing(call);
            File.AppendAllText(ActsFile!, prompt["act ".Length..] + "\n");
            queued.Sink.OnToolResult(call, new ToolResult("ok", true));
        }

        if (prompt == "call")
        {
            calls.Add(new ToolCall("set_light", JsonDocument.Parse("""{"area":"kitchen","on":true}""").RootElement));
            calls.Add(new ToolCall("open_safe", JsonDocument.Parse("{}").RootElement));
            calls.ForEach(queued.Sink.OnToolCall);
        }
        else
        {
            foreach (string word in $"You said: {prompt}".Split(' '))
            {
                string delta = text.Length == 0 ? word : $" {word}";
                text += delta;
                queued.Sink.OnText(delta);
                Thread.Sleep(WordTime);
            }
        }

        var result = new GenerationResult(text, calls, calls.Count > 0 ? FinishReason.ToolCalls : FinishReason.Stop, new TokenUsage(12, 4, 5), new RequestTimings(1.25, 20.04, 400, 50, 120));
        Served.Metrics.RequestFinished(result, winnerRanks: null);
        _ended = Stopwatch.GetTimestamp(); // before anybody can know it
        queued.Sink.OnDone(result);
    }
}
