using System.Text.Json;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Telemetry;
using Microsoft.Extensions.Logging.Abstractions;

namespace Gemma4Edge.Tests.Service;

public sealed class NodeGuardTests : IDisposable
{
    private readonly ScriptedModel _model = new();
    private readonly MadeMachine _pi = MadeMachine.RaspberryPi(celsius: 60);
    private readonly List<int> _threads = [];

    public void Dispose()
    {
        _model.Dispose();
        _pi.Dispose();
    }

    [Fact]
    public void Heat_HalvesTheThreads_ThenRefuses_AndEndsOnlyWhenItIsCooler()
    {
        NodeGuard guard = Guard();
        string[] steps = [.. ((double[])[79, 80, 76, 75.1, 74, 89, 90, 86, 84, 70]).Select(celsius =>
        {
            _pi.With("/sys/class/thermal/thermal_zone0/temp", $"{(int)(celsius * 1000)}\n");
            guard.Look();
            return $"{celsius}: {guard.Threads} {guard.Refusal?.Code}";
        })];
        Assert.Equal(["79: 4 ", "80: 2 ", "76: 2 ", "75.1: 2 ", "74: 4 ", "89: 2 ", "90: 2 Overheated", "86: 2 Overheated", "84: 2 ", "70: 4 "], steps);
        Assert.Equal([2, 4, 2, 4], _threads);
    }

    [Fact]
    public void LittleMemory_RefusesUntilThereIsMoreAgain()
    {
        NodeGuard guard = Guard();
        string[] steps = [.. ((int[])[65, 63, 70, 79, 80]).Select(mib =>
        {
            _pi.With("/proc/meminfo", $"MemTotal: 8000000 kB\nMemAvailable: {mib * 1024} kB\n");
            guard.Look();
            return $"{mib}: {guard.Refusal?.Code}";
        })];
        Assert.Equal(["65: ", "63: NoMemory", "70: NoMemory", "79: NoMemory", "80: "], steps);
    }

    [Fact]
    public void Pressure_RefusesUntilHalfOfItIsGone()
    {
        NodeGuard guard = Guard();
        string[] steps = [.. ((int[])[39, 41, 30, 21, 19]).Select(percent =>
        {
            _pi.With("/proc/pressure/memory", $"some avg10={percent}.00 avg60=0.00 avg300=0.00 total=1\n");
            guard.Look();
            return $"{percent}: {guard.Refusal?.Code}";
        })];
        Assert.Equal(["39: ", "41: NoMemory", "30: NoMemory", "21: NoMemory", "19: "], steps);
    }

    [Fact]
    public void MachineThatTellsNothing_IsNeverRefused()
    {
        using var nothing = new MadeMachine();
        NodeGuard guard = Guard(nothing);
        guard.Look();
        Assert.Null(guard.Refusal);
        Assert.Equal(4, guard.Threads);
    }

    [Fact]
    public async Task HotNode_AnswersOverheated_AndThrottledNodeKeepsAnswering()
    {
        using var device = new MadeMachine().With("/sys/class/thermal/thermal_zone0/temp", "95000\n").With("/sys/devices/platform/soc/soc:firmware/get_throttled", "4\n");
        await using TestNode node = await TestNode.StartAsync(change: options => options with { Telemetry = new TelemetryOptions { SystemRoot = device.Root, IntervalSeconds = 1 } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "gemma4edge/kitchen/telemetry");

        await outsider.PublishAsync("request", $$"""{"id":"a1","prompt":"hello","reply_to":"{{Outsider.Reply}}"}""");
        JsonElement error = (await outsider.EventsAsync())[^1].GetProperty("error");
        Assert.Equal("overheated", error.GetProperty("code").GetString());

        await using Outsider watcher = await Outsider.ConnectAsync(node.Port, "gemma4edge/kitchen/state");
        JsonElement state = await watcher.NextJsonAsync("state");
        Assert.Equal("""{"bits":4,"now":["throttled"],"since_boot":[]}""", state.GetProperty("throttled").GetRawText());
        device.With("/sys/devices/platform/soc/soc:firmware/get_throttled", "40000\n");
        await watcher.NextAsync("state", text => text.Contains("\"now\":[],\"since_boot\":[\"throttled\"]", StringComparison.Ordinal));
        device.With("/sys/devices/platform/soc/soc:firmware/get_throttled", "4\n");

        device.With("/sys/class/thermal/thermal_zone0/temp", "60000\n");
        JsonElement telemetry = await outsider.NextJsonAsync("telemetry", text => text.Contains("\"cpu_celsius\":60", StringComparison.Ordinal) && text.Contains("\"bits\":4", StringComparison.Ordinal));
        Assert.Equal("""{"bits":4,"now":["throttled"],"since_boot":[]}""", telemetry.GetProperty("throttled").GetRawText());
        string type = "error";
        for (int i = 0; type == "error"; i++) // the guard looks once a second
        {
            await outsider.PublishAsync("request", $$"""{"id":"b{{i}}","prompt":"hello","reply_to":"{{Outsider.Reply}}"}""");
            type = (await outsider.EventsAsync())[^1].GetProperty("type").GetString()!;
            await Task.Delay(100, TestContext.Current.CancellationToken);
            Assert.True(i < 100);
        }
    }

    private NodeGuard Guard(MadeMachine? machine = null)
    {
        ServedModel served = _model.Served with { Info = _model.Served.Info with { Threads = 4 }, SetThreads = _threads.Add };
        var device = new DeviceMonitor((machine ?? _pi).Files, () => default, new EveryReadIsLater());
        return new NodeGuard(new ModelOptions { Path = "none" }, served, device, NullLogger<NodeGuard>.Instance);
    }

    /// <summary>A clock on which every reading is too old.</summary>
    private sealed class EveryReadIsLater : TimeProvider
    {
        private long _now;

        public override long GetTimestamp() => _now += TimestampFrequency * 100;
    }
}
