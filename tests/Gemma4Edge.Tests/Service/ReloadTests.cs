using Gemma4Edge.Service;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Telemetry;
using Gemma4Edge.Tests.Service.Systemd;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Gemma4Edge.Tests.Service;

public sealed class ReloadTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("gemma4edge-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Reload_ChangesTheRunningNode_AndTellsSystemd()
    {
        Write("""{"Model":{"Path":"none"},"Sampling":{"MaxTokens":5,"Temperature":0.5}}""");
        using var systemd = new NotifyListener();
        await using TestNode node = await TestNode.StartAsync(change: given => Read() with { Mqtt = given.Mqtt }, systemd: systemd.Notifier);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, "gemma4edge/kitchen/state");
        Assert.NotNull(await systemd.NextAsync("READY"));
        await outsider.PublishAsync("config/temperature/set", "0.7");
        await outsider.NextAsync("state", text => text.Contains("\"temperature\":0.7", StringComparison.Ordinal));

        Write("""{"Model":{"Path":"none"},"Sampling":{"MaxTokens":6,"Temperature":0.5}}""");
        node.Host.Reload(Read);
        Assert.Matches(@"\ARELOADING=1\nMONOTONIC_USEC=\d{6,}\z", await systemd.NextAsync("RELOADING"));
        Assert.Equal("READY=1", await systemd.NextAsync("READY"));
        await outsider.NextAsync("state", text => text.Contains("\"max_tokens\":6,\"temperature\":0.7", StringComparison.Ordinal)); // set over MQTT, and not changed since
        Write("""{"Model":{"Path":"none"},"Sampling":{"MaxTokens":6,"Temperature":0.4}}""");
        node.Host.Reload(Read);
        await outsider.NextAsync("state", text => text.Contains("\"temperature\":0.4", StringComparison.Ordinal));
        Write("""{"Model":{"Path":"none"},"Sampling":{"MaxTokens":-1,"Temperature":0.3}}""");
        node.Host.Reload(Read);
        Assert.Equal("READY=1", await systemd.NextAsync("READY"));
        await outsider.PublishAsync("config/thinking/set", "ON");
        await outsider.NextAsync("state", text => text.Contains("\"thinking\":true,\"model\":\"scripted\",\"max_tokens\":6,\"temperature\":0.4", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Reload_TakesOverTheTools()
    {
        string tools = Path.Combine(_folder, "tools");
        Directory.CreateDirectory(tools);
        Write($$"""{ "Model": { "Path": "none" }, "Tools": { "Path": "{{tools}}" } }""");
        await using TestNode node = await TestNode.StartAsync(change: given => Read() with { Mqtt = given.Mqtt });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, "gemma4edge/kitchen/info");

        await File.WriteAllTextAsync(Path.Combine(tools, "bell.json"), """{"name":"ring_bell","description":"Rings"}""", TestContext.Current.CancellationToken);
        node.Host.Reload(Read);
        await outsider.NextAsync("info", text => text.Contains("\"tools\":[\"ring_bell\"]", StringComparison.Ordinal));
        await outsider.PublishAsync("request", """{"id":"a","prompt":"hello"}""");
        Assert.True(SpinWait.SpinUntil(() => SeenBy(node) > 0, TimeSpan.FromSeconds(20)));
        Assert.Equal("ring_bell", Assert.Single(node.Model.Seen[0].Tools!).Name);

        await File.WriteAllTextAsync(Path.Combine(tools, "bell.json"), "{", TestContext.Current.CancellationToken);
        node.Host.Reload(Read); // a wrong file leaves the old tools
        await outsider.PublishAsync("request", """{"id":"b","prompt":"hello"}""");
        Assert.True(SpinWait.SpinUntil(() => SeenBy(node) > 1, TimeSpan.FromSeconds(20)));
        Assert.Equal("ring_bell", Assert.Single(node.Model.Seen[1].Tools!).Name);
    }

    [Fact]
    public void Reload_SaysWhatChanged_WhatNeedsARestart_AndWhatIsWrong()
    {
        string file = Write("""{"Model":{"Path":"none"}}""");
        using var model = new ScriptedModel();
        ServiceOptions start = Read();
        using var bridge = new MqttBridge(start, model.Served, new RequestLedger(null, TimeProvider.System), NullLogger<MqttBridge>.Instance);
        using var telemetry = new TelemetryPublisher(start, model.Served, null!, bridge);
        var log = new Lines();
        var reload = new ConfigurationReload(start, bridge, telemetry, log);

        Write("""{"Model":{"Path":"none","Threads":3},"Telemetry":{"IntervalSeconds":7}}""");
        reload.Run(Read);
        Assert.Equal(
            [$"Model:Threads is 3 in the configuration ({file}) and needs a restart", $"Telemetry:IntervalSeconds is now 7 ({file})", "The configuration was read again"], log.Take());
        Assert.Equal(TimeSpan.FromSeconds(7), telemetry.Interval);

        reload.Run(Read);
        Assert.Equal([$"Model:Threads is 3 in the configuration ({file}) and needs a restart", "The configuration was read again"], log.Take());

        Write("""{"Model":{"Path":"none","Thread":3},"Telemetry":{"IntervalSeconds":8}}""");
        reload.Run(Read);
        Assert.Contains("the old one stays in force: Model:Thread", Assert.Single(log.Take()), StringComparison.Ordinal);
        Assert.Equal(TimeSpan.FromSeconds(7), telemetry.Interval);

        Write("""{"Model":{"Path":"none"}}""");
        reload.Run(Read);
        Assert.Equal(["Telemetry:IntervalSeconds is now 10 (default)", "The configuration was read again"], log.Take());
    }

    private static int SeenBy(TestNode node)
    {
        lock (node.Model.Seen)
        {
            return node.Model.Seen.Count;
        }
    }

    private string Write(string json)
    {
        string file = Path.Combine(_folder, "10.json");
        File.WriteAllText(file, json);
        return file;
    }

    private ServiceOptions Read() => ServiceOptions.Read(ServiceConfiguration.Load(_folder, []));

    private sealed class Lines : ILogger<ConfigurationReload>
    {
        private readonly List<string> _lines = [];

        public string[] Take()
        {
            string[] lines = [.. _lines];
            _lines.Clear();
            return lines;
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            _lines.Add(formatter(state, exception));
    }
}
