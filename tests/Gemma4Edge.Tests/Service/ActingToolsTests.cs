using System.Diagnostics.Metrics;
using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Tools;
using Gemma4Edge.Tests.Cli;
using Microsoft.Extensions.Logging;
using MQTTnet;

namespace Gemma4Edge.Tests.Service;

/// <summary>The demo model, the demo's tools, and a broker: what is said to the home changes its topics.</summary>
public class ActingToolsTests
{
    private const string KitchenLight = "home/kitchen/light";

    public static TheoryData<bool> Brokers => [false, true];

    [Theory]
    [MemberData(nameof(Brokers))]
    public async Task TurnOnTheKitchenLight_ChangesItsTopic(bool isMosquitto)
    {
        using Mosquitto? mosquitto = isMosquitto ? new Mosquitto() : null;
        await using Node node = await Node.StartAsync(mosquitto);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, "home/#", "gemma4edge/kitchen/answer", "gemma4edge/kitchen/event");

        await outsider.PublishAsync("prompt/set", "Turn on the kitchen light");
        MqttApplicationMessage act = await outsider.NextAsync(KitchenLight);
        Assert.Equal("""{"on":true}""", Outsider.Text(act));
        JsonElement answer = await outsider.NextJsonAsync("answer");
        Assert.Equal(("The kitchen light is now on.", "stop"), (answer.GetProperty("text").GetString(), answer.GetProperty("finish_reason").GetString()));
        Assert.Equal("""[{"name":"set_light","arguments":{"area":"kitchen","on":true},"ok":true,"result":"ok"}]""", answer.GetProperty("tool_calls").GetRawText());

        // who comes later finds the light as it is
        await using Outsider late = await Outsider.ConnectAsync(node.Port, KitchenLight);
        MqttApplicationMessage kept = await late.NextAsync(KitchenLight);
        Assert.Equal(("""{"on":true}""", true), (Outsider.Text(kept), kept.Retain));
    }

    [Fact]
    public async Task Stream_TellsCallActAndAnswer_WithoutGaps()
    {
        await using Node node = await Node.StartAsync();
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await using Outsider home = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "home/#");
        List<JsonElement> events = await AskAsync(outsider, """ "prompt":"turn off the hallway light and lock the back door","stream":true """);
        Assert.Equal(
            ["start", "prefill", "tool_call", "tool_result", "prefill", "delta", "done"],
            events.Select(e => e.GetProperty("type").GetString()!).Where((type, i) => i == 0 || type != events[i - 1].GetProperty("type").GetString()));
        Assert.Equal(Enumerable.Range(0, events.Count), events.Select(e => e.GetProperty("seq").GetInt32()));
        Assert.Equal(
            ["""type":"tool_result","name":"set_light","ok":true,"result":"ok"}""", """type":"tool_result","name":"set_lock","ok":true,"result":"ok"}"""],
            events.Where(e => e.GetProperty("type").GetString() == "tool_result").Select(e => e.GetRawText()[e.GetRawText().IndexOf("type", StringComparison.Ordinal)..]));
        JsonElement done = events[^1];
        Assert.Equal(done.GetProperty("text").GetString(), string.Concat(events.Where(e => e.GetProperty("type").GetString() == "delta").Select(e => e.GetProperty("text").GetString())));
        Assert.Equal([("home/hallway/light", """{"on":false}"""), ("home/back door/lock", """{"state":"LOCKED"}""")], await ActsAsync(home));
    }

    [Fact]
    public async Task ExecuteFalse_OwnTools_AndToolsWithoutAction_AreTheSenders()
    {
        await using Node node = await Node.StartAsync();
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await using Outsider home = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "home/#");
        string tool = File.ReadAllText(Path.Combine(TestData.DemoModel, "tools", "set_light.json"));
        foreach (string fields in (string[])[
            """ "prompt":"turn on the kitchen light","execute":false """,
            $$""" "prompt":"turn on the kitchen light","tools":[{"type":"function","function":{{tool}}}] """,
            """ "prompt":"what is the temperature in the garage?" """])
        {
            JsonElement done = Assert.Single(await AskAsync(outsider, fields));
            Assert.Equal("tool_calls", done.GetProperty("finish_reason").GetString());
            JsonElement call = Assert.Single(done.GetProperty("tool_calls").EnumerateArray());
            Assert.False(call.TryGetProperty("ok", out _));
        }

        Assert.Empty(await ActsAsync(home));
    }

    [Fact]
    public async Task UndeclaredTool_DoesNotExist()
    {
        // the model knows set_light from its training even where nobody declares it
        await using Node node = await Node.StartAsync(change: options => options with { Tools = options.Tools with { Path = Path.Combine(TestData.DemoModel, "tools", "set_lock.json") } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await using Outsider home = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "home/#");
        JsonElement done = Assert.Single(await AskAsync(outsider, """ "prompt":"turn on the kitchen light" """));
        Assert.Equal("tool_calls", done.GetProperty("finish_reason").GetString());
        Assert.Contains("""{"name":"set_light","arguments":{"area":"kitchen","on":true},"declared":false}""", done.GetProperty("tool_calls").GetRawText(), StringComparison.Ordinal);
        Assert.Empty(await ActsAsync(home));
    }

    [Fact]
    public async Task TopicOutsideTheAllowList_IsToldToTheModel_AndNotSent()
    {
        await using Node node = await Node.StartAsync(change: options => options with { Tools = options.Tools with { AllowTopics = ["home/office/+", "home/scene", "home/timer", "home/front door/lock"] } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await using Outsider home = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "home/#");
        JsonElement done = Assert.Single(await AskAsync(outsider, """ "prompt":"turn on the kitchen light" """));
        JsonElement call = done.GetProperty("tool_calls")[0];
        Assert.False(call.GetProperty("ok").GetBoolean());
        Assert.Contains("home/kitchen/light is not allowed", call.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Empty(await ActsAsync(home));
    }

    /// <summary>A house with zigbee2mqtt: the allow-list names the one lamp there is.</summary>
    [Fact]
    public async Task Zigbee2Mqtt_OnlyTheLampThatIsAllowedCanBeSwitched()
    {
        using var tool = new TempFile(["""
            {"name":"set_light","description":"Switch, dim or color lights",
             "parameters":{"type":"object","properties":{"area":{"type":"string"},"brightness":{"type":"integer","minimum":0,"maximum":100},"color":{"type":"string"},"on":{"type":"boolean"}},"required":["area"]},
             "action":{"publish":{"topic":"zigbee2mqtt/{area}_light/set","payload":{"state":"{on}","brightness":"{brightness}"},"map":{"on":{"true":"ON","false":"OFF"}}}}}
            """]);
        const string Lamp = "zigbee2mqtt/kitchen_light/set";
        await using Node node = await Node.StartAsync(change: options => options with { Tools = new ToolsOptions { Path = tool.Path, AllowTopics = [Lamp] } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, "zigbee2mqtt/#", "gemma4edge/kitchen/answer");

        await outsider.PublishAsync("prompt/set", "Turn off the kitchen light", retain: true); // ignored
        foreach (string prompt in (string[])["Turn off the garage light", "Is the kitchen light on?", "Turn off the kitchen light"])
        {
            await outsider.PublishAsync("prompt/set", prompt);
            MqttApplicationMessage first = await outsider.NextAsync();
            bool acts = prompt == "Turn off the kitchen light";
            Assert.Equal(acts ? Lamp : "gemma4edge/kitchen/answer", first.Topic);
            if (acts)
            {
                Assert.Equal("""{"state":"OFF"}""", Outsider.Text(first));
            }
            else
            {
                Assert.DoesNotContain("is now off", Outsider.Text(first), StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task DryRun_DoesEverythingButTheAct()
    {
        await using Node node = await Node.StartAsync(change: options => options with { Tools = options.Tools with { DryRun = true } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await using Outsider home = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "home/#");
        JsonElement done = Assert.Single(await AskAsync(outsider, """ "prompt":"turn on the kitchen light" """));
        Assert.Equal("""[{"name":"set_light","arguments":{"area":"kitchen","on":true},"ok":true,"result":"ok","dry_run":true}]""", done.GetProperty("tool_calls").GetRawText());
        Assert.Empty(await ActsAsync(home));
    }

    /// <summary>Mosquitto answers a forbidden publish with "not authorized": that is no act.</summary>
    [Fact]
    public async Task BrokerThatRefuses_IsToldToTheModel()
    {
        using var acl = new TempFile(["topic readwrite gemma4edge/#", "topic read home/#"]);
        using var mosquitto = new Mosquitto(port => $"listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {acl.Path}\n");
        await using Node node = await Node.StartAsync(mosquitto);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        JsonElement done = Assert.Single(await AskAsync(outsider, """ "prompt":"turn on the kitchen light" """));
        JsonElement call = done.GetProperty("tool_calls")[0];
        Assert.False(call.GetProperty("ok").GetBoolean());
        Assert.Contains("NotAuthorized", call.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.DoesNotContain("is now on", done.GetProperty("text").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Audit_HasOneLineForEachCall_AndTheMetricItsOutcome()
    {
        var log = new ListLogger<ActingToolsTests>();
        using var metrics = new EngineMetrics("scripted");
        List<string> outcomes = []; // and the error.type
        using var listener = new MeterListener { InstrumentPublished = (instrument, self) => { if (instrument.Name == "gen_ai.execute_tool.duration") { self.EnableMeasurementEvents(instrument); } } };
        listener.SetMeasurementEventCallback<double>((_, _, tags, _) => outcomes.Add(string.Join(' ', tags.ToArray().Select(tag => tag.Value))));
        listener.Start();

        Exception? fault = null;
        var context = new ActionContext((_, _) => fault is null ? Task.CompletedTask : Task.FromException(fault));
        DeclaredTool light = ToolFiles.Load(Node.DemoTools).Single(tool => tool.Definition.Name == "set_light");
        var tool = new ConfiguredTool(light, dryRun: false, context, metrics, log);
        ToolCall call = new("set_light", JsonDocument.Parse("""{"area":"kitchen","on":true}""").RootElement);

        Assert.Null(tool.Refusal(call, "a1"));
        Assert.Equal(new ToolResult("ok", Ok: true), await tool.RunAsync(call, "a1", CancellationToken.None));
        fault = new ToolActException("the broker is away");
        Assert.Equal(ToolResult.Failed("the broker is away"), await tool.RunAsync(call, "a2", CancellationToken.None));
        fault = new OperationCanceledException();
        await Assert.ThrowsAsync<OperationCanceledException>(() => tool.RunAsync(call, "a3", CancellationToken.None));
        Assert.NotNull(tool.Refusal(call with { Arguments = JsonDocument.Parse("""{"area":7}""").RootElement }, "a4"));
        await new ConfiguredTool(light, dryRun: true, context, metrics, log).RunAsync(call, "a5", CancellationToken.None);

        const string Act = """publish home/kitchen/light {"on":true} retained, arguments {"area":"kitchen","on":true}""";
        Assert.Equal(
            [
                $"Tool set_light, request a1: ok: {Act}",
                "Tool set_light, request a2: the broker is away",
                $"Tool set_light, request a2: failed: {Act}",
                $"Tool set_light, request a3: unknown: {Act}",
                """Tool set_light, request a4: refused: arguments.area: expected a string, found 7. Arguments {"area":7}""",
                $"Tool set_light, request a5: dry_run: {Act}",
            ],
            log.Lines);
        Assert.Equal(["set_light ok", "set_light failed failed", "set_light unknown unknown", "set_light refused refused", "set_light dry_run"], outcomes);
    }

    [Fact]
    public async Task BrokerAway_FailsAtOnce()
    {
        using var mosquitto = new Mosquitto();
        var options = new MqttOptions { Node = "kitchen", Broker = $"mqtt://127.0.0.1:{mosquitto.Port}" };
        using var connection = new MqttConnection(options, new NodeTopics("kitchen"), new Outbox(), () => [], _ => Task.CompletedTask, new ListLogger<ActingToolsTests>());
        await connection.StartAsync(TestContext.Current.CancellationToken);
        var message = new OutboundMessage(KitchenLight, "x"u8.ToArray());
        await connection.PublishAsync(message, TestContext.Current.CancellationToken);
        mosquitto.Kill();
        BrokerUnavailableException away = await Assert.ThrowsAsync<BrokerUnavailableException>(
            () => connection.PublishAsync(message, TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(15), TestContext.Current.CancellationToken));
        Assert.Contains("was not published", away.Message, StringComparison.Ordinal);
    }

    private static async Task<List<JsonElement>> AskAsync(Outsider outsider, string fields)
    {
        await outsider.PublishAsync("request", $$"""{"id":"{{Guid.NewGuid():N}}","reply_to":"{{Outsider.Reply}}",{{fields}}}""");
        return await outsider.EventsAsync();
    }

    /// <summary>What has been published under home/ so far.</summary>
    private static async Task<List<(string Topic, string Payload)>> ActsAsync(Outsider home) =>
        [.. (await home.DrainAsync()).Where(message => message.Topic.StartsWith("home/", StringComparison.Ordinal)).Select(message => (message.Topic, Outsider.Text(message)))];

    /// <summary>A node with the demo model and its home.</summary>
    private sealed class Node(ServiceHost host, int port) : IAsyncDisposable
    {
        public static ToolsOptions DemoTools { get; } = new() { Path = Path.Combine(TestData.DemoModel, "tools"), AllowTopics = ["home/#"] };

        public int Port { get; } = port;

        public static async Task<Node> StartAsync(Mosquitto? broker = null, Func<ServiceOptions, ServiceOptions>? change = null)
        {
            var options = new ServiceOptions
            {
                Model = new ModelOptions { Path = TestData.DemoModel, Threads = 1, System = "You are a home assistant. Areas: kitchen, living room, bedroom, bathroom, hallway, office, garage, garden." },
                Mqtt = new MqttOptions { Node = "kitchen", EmbeddedPort = Mosquitto.FreePort(), Broker = broker is null ? MqttOptions.Embedded : $"mqtt://127.0.0.1:{broker.Port}" },
                Sampling = new SamplingDefaults { Temperature = 0 },
                Tools = DemoTools,
            };
            options = change?.Invoke(options) ?? options;
            ServiceHost host = ServiceHost.Open(options, LogLevel.None);
            await host.StartAsync(TestContext.Current.CancellationToken);
            return new Node(host, options.Mqtt.Address.Port);
        }

        public async ValueTask DisposeAsync()
        {
            await host.StopAsync(CancellationToken.None);
            await host.DisposeAsync();
        }
    }
}
