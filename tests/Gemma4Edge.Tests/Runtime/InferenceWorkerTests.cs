using System.Diagnostics;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

/// <summary>The compute thread with the demo model.</summary>
public sealed class InferenceWorkerTests : IDisposable
{
    private readonly InferenceEngine _engine = InferenceEngine.Open(new EngineOptions { Model = TestData.DemoModel, Context = 256, PrefillChunk = 16 });
    private readonly EngineMetrics _metrics = new("demo");
    private readonly RequestQueue _queue;
    private readonly InferenceWorker _worker;

    public InferenceWorkerTests()
    {
        _queue = new RequestQueue(16, _metrics);
        _worker = new InferenceWorker(_engine, _queue, _metrics, maxSessions: 2);
    }

    public void Dispose()
    {
        _worker.Dispose();
        _engine.Dispose();
        _queue.Dispose();
        _metrics.Dispose();
    }

    [Fact]
    public async Task Requests_AreAnsweredInOrder_OneEndEach()
    {
        RecordingSink[] sinks = [.. Enumerable.Range(0, 3).Select(_ => Add("hello"))];
        _worker.Start();
        await All(sinks);
        Assert.All(sinks, sink => Assert.Equal(1, sink.Ends));
        Assert.All(sinks, sink => Assert.NotEmpty(sink.Result!.Text));
        Assert.Equal(3, Requests("ok"));
        Assert.True(sinks[0].Result!.Timings.QueueMs < sinks[2].Result!.Timings.QueueMs);
    }

    [Fact]
    public async Task RequestsPastTheirDeadline_AreNotStarted()
    {
        RecordingSink late = Add("hello", r => r with { DeadlineTimestamp = Stopwatch.GetTimestamp() - 1 });
        RecordingSink inTime = Add("hello", r => r with { DeadlineTimestamp = Stopwatch.GetTimestamp() + (60 * Stopwatch.Frequency) });
        _worker.Start();
        await All(late, inTime);
        Assert.Equal(FailureCode.Expired, late.Failure!.Code);
        Assert.Equal(0, late.PromptTokens);
        Assert.NotNull(inTime.Result);
        Assert.Equal((1, 1), (Requests("ok"), Requests("failed")));
    }

    [Fact]
    public async Task CancellingTheRunningRequest_EndsIt_AndTheNextGoesOn()
    {
        var running = new RecordingSink { OnProgress = () => _queue.Cancel("victim") };
        _queue.Add(new QueuedRequest(Request("hello", "victim"), running));
        RecordingSink next = Add("hello");
        _worker.Start();
        await All(running, next);
        Assert.Equal(FailureCode.Cancelled, running.Failure!.Code);
        Assert.NotNull(next.Result);
    }

    [Fact]
    public async Task WhatRequestsWillBeginWith_IsPrepared()
    {
        const string System = "Smart home with these areas: kitchen, hallway, office.";
        DirectoryInfo folder = Directory.CreateTempSubdirectory("prefixes-");
        _engine.Prefixes = new PrefixStore(folder.FullName, 1, _engine, problem => Assert.Fail(problem));
        _worker.Expected = Request("", "") with { DefaultSystem = System };
        _worker.Start();
        for (int attempts = 0; attempts < 6000 && folder.GetFiles("*.prefix").Length == 0; attempts++)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        RecordingSink sink = Add("hello", request => request with { DefaultSystem = System, Session = "new" });
        await All(sink);
        Assert.InRange(sink.CachedTokens, 10, sink.PromptTokens - 5);
        folder.Delete(recursive: true);
    }

    /// <summary>A thousand tokens take a while; who comes meanwhile is answered at once, and nothing half done is kept.</summary>
    [Fact]
    public async Task Preparing_GivesWay()
    {
        const int Words = 1000;
        DirectoryInfo folder = Directory.CreateTempSubdirectory("prefixes-");
        using InferenceEngine engine = InferenceEngine.Open(new EngineOptions { Model = TestData.DemoModel, Context = 1024, PrefillChunk = 1, Threads = 1 });
        engine.Prefixes = new PrefixStore(folder.FullName, 1, engine, problem => Assert.Fail(problem));
        using var worker = new InferenceWorker(engine, _queue, _metrics, maxSessions: 1) { Expected = Request("", "") with { DefaultSystem = string.Join(' ', Enumerable.Repeat("kitchen", Words)) } };
        worker.Start();
        Assert.True(SpinWait.SpinUntil(() => engine.Transformer.LayersRun > 0, TimeSpan.FromMinutes(1)));
        RecordingSink sink = Add("hello");
        await All(sink);
        Assert.NotEmpty(sink.Result!.Text);
        worker.Dispose();
        Assert.Empty(folder.GetFiles());
        folder.Delete(recursive: true);
    }

    [Fact]
    public async Task AnOverlongPrompt_IsToldSo_AndTheNextGoesOn()
    {
        RecordingSink big = Add(string.Join(' ', Enumerable.Repeat("kitchen", 600)));
        RecordingSink next = Add("hello");
        _worker.Start();
        await All(big, next);
        Assert.Equal(FailureCode.ContextOverflow, big.Failure!.Code);
        Assert.NotNull(next.Result);
    }

    [Fact]
    public async Task AnImage_IsABadRequest()
    {
        ChatMessage message = new(ChatRole.User) { Parts = [new ContentPart(ContentKind.Text, "what is this?"), new ContentPart(ContentKind.Image)] };
        RecordingSink image = Add("", r => r with { Prompt = null, Messages = [message] });
        _worker.Start();
        await All(image);
        Assert.Equal(FailureCode.BadRequest, image.Failure!.Code);
    }

    [Fact]
    public async Task AForbiddenAct_EndsTheRequest_AndTheNextGoesOn()
    {
        var full = new GenerationFailure(FailureCode.Internal, "The disk is full.", "Free some space.");
        var forbidden = new RecordingSink { BeforeAct = () => throw new RequestFailedException(full) };
        FakeTool light = new("set_light");
        PromptRequest command = Request("turn on the kitchen light", "r") with { Tools = [light.Definition], Acting = new ActingTools([light]) };
        _queue.Add(new QueuedRequest(command, forbidden));
        RecordingSink next = Add("turn on the kitchen light", r => command);
        _worker.Start();
        await All(forbidden, next);
        Assert.Equal((full, 1), (forbidden.Failure!, forbidden.Ends));
        Assert.Equal(new ToolResult("ok", Ok: true), next.Result!.ToolResults[0]);
        Assert.Single(light.Ran);
        Assert.Equal((1, 1), (Requests("ok"), Requests("failed")));
    }

    [Fact]
    public async Task KvBytes_AreThoseOfEveryKeptSession()
    {
        long one = KvCache.BytesOf(_engine.Config, _engine.Kv, _engine.Context, maxChunk: 16); // with a context of 256 all rows are there from the start
        Assert.Equal(one, KvBytes()); // requests without a session have theirs
        _worker.Start();
        foreach ((string session, int kept) in ((string, int)[])[("a", 2), ("b", 3), ("a", 3), ("c", 3)])
        {
            await All(Add("hello", r => r with { Session = session }));
            Assert.Equal(kept * one, KvBytes());
        }

        _worker.ClearSessions("a");
        Assert.Equal(2 * one, KvBytes());
        _worker.ClearSessions(null);
        Assert.Equal(one, KvBytes());

        double KvBytes() => Assert.Single(_metrics.Reader.Read().Single(family => family.Metric == MetricTable.KvBytes).Series).Value;
    }

    [Fact]
    public async Task SessionThatGoes_GivesItsMemoryBackAtOnce()
    {
        const int Sessions = 22;
        _worker.Start();
        int before = GC.CollectionCount(GC.MaxGeneration);
        for (int session = 0; session < Sessions; session++)
        {
            await All(Add("hello", r => r with { Session = $"s{session}", MaxTokens = 1 }));
        }

        Assert.True(GC.CollectionCount(GC.MaxGeneration) - before >= Sessions - 2, "A cache that nobody holds stays in memory until the collector looks at it.");
    }

    [Fact]
    public async Task Sessions_AreKept_LeastRecentlyUsedGoesFirst()
    {
        _worker.Start();
        foreach (string session in (string[])["a", "b", "a", "c"]) // c pushes out b
        {
            await All(Add("hello", r => r with { Session = session }));
        }

        Assert.InRange(await InputOf("a"), 30, 256); // third turn
        Assert.InRange(await InputOf("b"), 5, 15);   // forgotten: a first turn
        _worker.ClearSessions("b");
        Assert.InRange(await InputOf("b"), 5, 15);
        Assert.InRange(await InputOf(null), 5, 15);

        async Task<int> InputOf(string? session)
        {
            RecordingSink sink = Add("hello", r => r with { Session = session });
            await All(sink);
            return sink.Result!.Usage.Input;
        }
    }

    /// <summary>A conversation is cleared for the requests that come after, not for those that wait already.</summary>
    [Theory]
    [InlineData("a")]
    [InlineData(null)]
    public async Task Clearing_DividesTheRequestsThatWait(string? cleared)
    {
        RecordingSink first = InA(), second = InA();
        _worker.ClearSessions(cleared);
        _worker.ClearSessions("b");
        RecordingSink third = InA(), fourth = InA();
        _worker.Start();
        await All(first, second, third, fourth);
        Assert.Equal(first.PromptTokens, third.PromptTokens);
        Assert.Equal(second.PromptTokens, fourth.PromptTokens);
        Assert.True(first.PromptTokens < second.PromptTokens);

        RecordingSink InA() => Add("hello", r => r with { Session = "a" });
    }

    [Fact]
    public async Task Stopping_InterruptsTheRunningRequest()
    {
        using var started = new SemaphoreSlim(0);
        var running = new RecordingSink { OnProgress = () => started.Release() };
        _queue.Add(new QueuedRequest(Request("hello", "r") with { Sampling = new SamplingOptions { Temperature = 10, Seed = 1 }, MaxTokens = 200 }, running));
        _worker.Start();
        await started.WaitAsync(TestContext.Current.CancellationToken);
        _worker.Dispose();
        await All(running);
        Assert.Equal(FailureCode.Interrupted, running.Failure!.Code);
        await _worker.Completion;
    }

    [Fact]
    public async Task ABrokenSink_EndsTheWorkerWithItsReason()
    {
        var broken = new RecordingSink { OnProgress = () => throw new InvalidOperationException("no such place") };
        _queue.Add(new QueuedRequest(Request("hello", "r"), broken));
        _worker.Start();
        await All(broken);
        Assert.Equal(FailureCode.Internal, broken.Failure!.Code);
        InvalidOperationException reason = await Assert.ThrowsAsync<InvalidOperationException>(() => _worker.Completion);
        Assert.Equal("no such place", reason.Message);
    }

    [Fact]
    public async Task ASinkThatBreaksOnItsEnd_GetsNoSecondEnd()
    {
        var broken = new RecordingSink { OnEnd = () => throw new InvalidOperationException("no such place") };
        _queue.Add(new QueuedRequest(Request("hello", "r"), broken));
        _worker.Start();
        await Assert.ThrowsAsync<InvalidOperationException>(() => _worker.Completion.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken));
        Assert.Equal(1, broken.Ends);
        Assert.Null(broken.Failure);
    }

    [Fact]
    public void FewerActiveThreads_ComputeTheSameLogits()
    {
        using InferenceEngine engine = InferenceEngine.Open(new EngineOptions { Model = TestData.DemoModel, Context = 64, Threads = 4 });
        float[][] logits = [.. ((int[])[4, 2, 1, 3]).Select(active =>
        {
            engine.ActiveThreads = active;
            return engine.Transformer.Forward([2, 5, 7, 11, 13, 17, 19, 23], engine.NewCache(), LogitRows.Last, CancellationToken.None).ToArray();
        })];
        Assert.All(logits, computed => Assert.Equal(logits[0], computed));
    }

    [Fact]
    public void SelfTest_PassesOnAModel_AndFailsOnWeightsThatAreNoNumbers()
    {
        _engine.SelfTest();
        byte[] model = File.ReadAllBytes(TestData.Path("oracle/tiny-a-f32.gguf"));
        using (LoadedModel whole = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf")))
        {
            TensorInfo matrix = whole.Tensors.Single(tensor => tensor.Name == "blk.1.ffn_down.weight");
            model.AsSpan((int)matrix.Offset, (int)matrix.Bytes).Fill(0xFF);
        }

        string path = Path.Combine(Path.GetTempPath(), $"nan-{Guid.NewGuid():N}.gguf");
        File.WriteAllBytes(path, model);
        try
        {
            using InferenceEngine broken = InferenceEngine.Open(new EngineOptions { Model = path, Context = 16 });
            Assert.Throws<InvalidDataException>(broken.SelfTest);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private double Requests(string outcome) => _metrics.Reader.Read().Single(family => family.Metric == MetricTable.Requests)
        .Series.Where(series => series.Tags.Contains(new(MetricTable.Outcome, outcome))).Sum(series => series.Value);

    private static PromptRequest Request(string prompt, string id) =>
        new() { Id = id, Prompt = prompt, Sampling = SamplingOptions.Greedy, MaxTokens = 32, ReceivedTimestamp = Stopwatch.GetTimestamp() };

    private static Task All(params RecordingSink[] sinks) =>
        Task.WhenAll(sinks.Select(s => s.Ended)).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);

    private RecordingSink Add(string prompt, Func<PromptRequest, PromptRequest>? change = null)
    {
        var sink = new RecordingSink();
        PromptRequest request = Request(prompt, "r");
        _queue.Add(new QueuedRequest(change?.Invoke(request) ?? request, sink));
        return sink;
    }
}
