using System.Diagnostics;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Systemd;
using Gemma4Edge.Tests.Runtime;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Tests.Service.Systemd;

public sealed class SystemdTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromMilliseconds(600);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Host_TellsHowItStartsAndStops(bool isAbstract)
    {
        using var systemd = new NotifyListener(isAbstract);
        TestNode node = await TestNode.StartAsync(systemd: systemd.Notifier);

        Assert.Equal($"STATUS=connecting to mqtt://127.0.0.1:{node.Port}", await systemd.NextAsync(""));
        Assert.Equal("READY=1", await systemd.NextAsync(""));
        Assert.Equal("STATUS=online, idle", await systemd.NextAsync("STATUS="));
        node.Model.Served.Queue.Add(new QueuedRequest(Request("a", "wait"), new RecordingSink()));
        node.Model.Served.Queue.Add(new QueuedRequest(Request("b", "wait"), new RecordingSink()));
        Assert.Equal("STATUS=online, busy, 1 waiting", await systemd.NextAsync("STATUS=online, busy, "));
        await node.DisposeAsync();
        Assert.Equal("STOPPING=1", await systemd.NextAsync("STOPPING"));
    }

    [Fact]
    public async Task Host_IsNotReady_WhileItsBrokerDoesNotAnswer()
    {
        using var systemd = new NotifyListener();
        int port = Mosquitto.FreePort();
        await Assert.ThrowsAnyAsync<Exception>(() => TestNode.StartAsync(
            change: options => options with { Mqtt = options.Mqtt with { Broker = $"mqtt://127.0.0.1:{port}" } }, systemd: systemd.Notifier));

        Assert.Equal($"STATUS=connecting to mqtt://127.0.0.1:{port}", await systemd.NextAsync(""));
        Assert.Null(await systemd.NextAsync("READY", TimeSpan.FromMilliseconds(200)));
    }

    [Fact]
    public async Task Open_TellsWhichModelItLoads()
    {
        using var systemd = new NotifyListener();
        await using ServiceHost host = ServiceHost.Open(new ServiceOptions { Model = new ModelOptions { Path = TestData.DemoModel, Context = 256 } }, LogLevel.None, systemd.Notifier);

        Assert.Equal($"STATUS=loading model {TestData.DemoModel}", await systemd.NextAsync(""));
    }

    [Fact]
    public async Task Watchdog_IsFedWhileTheThreadWaitsOrGetsOn_AndNotWhileItHangs()
    {
        using var systemd = new NotifyListener();
        using var model = new ScriptedModel();
        using var stop = new CancellationTokenSource();
        long layers = 0;
        ServedModel served = model.Served with { Progress = () => model.Served.Queue.Looks + Interlocked.Read(ref layers) };
        Task running = new Watchdog(systemd.Notifier, served, () => "online", s_timeout).RunAsync(stop.Token);

        Assert.Null(await systemd.NextAsync("WATCHDOG", 3 * s_timeout)); // the thread has not even started
        model.Start();
        Assert.NotNull(await systemd.NextAsync("WATCHDOG")); // it waits for work
        Assert.NotNull(await systemd.NextAsync("WATCHDOG"));

        served.Queue.Add(new QueuedRequest(Request("a", "wait"), new RecordingSink()));
        Assert.True(SpinWait.SpinUntil(() => served.Queue.Busy, TimeSpan.FromSeconds(20)));
        _ = await systemd.NextAsync("WATCHDOG", 3 * s_timeout); // what it did before counts once more
        Assert.Null(await systemd.NextAsync("WATCHDOG", 3 * s_timeout)); // it hangs in a request
        Interlocked.Increment(ref layers);
        Assert.NotNull(await systemd.NextAsync("WATCHDOG")); // a layer further
        Assert.Null(await systemd.NextAsync("WATCHDOG", 3 * s_timeout));

        served.Queue.Cancel(null);
        Assert.NotNull(await systemd.NextAsync("WATCHDOG")); // free again
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task Watchdog_WithoutATimeout_TellsTheStatusOnly()
    {
        using var systemd = new NotifyListener();
        using var model = new ScriptedModel();
        model.Start();
        using var stop = new CancellationTokenSource();
        Task running = new Watchdog(systemd.Notifier, model.Served, () => "online", null).RunAsync(stop.Token);

        Assert.Equal("STATUS=online", await systemd.NextAsync(""));
        Assert.Null(await systemd.NextAsync("", TimeSpan.FromSeconds(3)));
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task TheModelsProgress_MovesWithItsLayers()
    {
        using InferenceEngine engine = InferenceEngine.Open(new EngineOptions { Model = TestData.DemoModel, Context = 256, Threads = 1 });
        ChatSession session = engine.OpenSession();
        GenerationResult result = await Task.Run(() => session.Generate(Request("a", "turn on the kitchen light"), new RecordingSink(), CancellationToken.None));

        Assert.InRange(engine.Transformer.LayersRun, result.Usage.Output * engine.Config.NumHiddenLayers, long.MaxValue);
    }

    [Fact]
    public void Notify_OfASocketThatIsGone_IsNoFailure() => new NotifySocket("/no/such/socket").Notify(ServiceState.Ready);

    private static PromptRequest Request(string id, string prompt) =>
        new() { Id = id, Prompt = prompt, Sampling = SamplingOptions.Greedy, MaxTokens = 4, ReceivedTimestamp = Stopwatch.GetTimestamp() };
}
