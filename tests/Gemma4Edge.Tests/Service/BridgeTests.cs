using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Logging.Abstractions;
using MQTTnet;
using MQTTnet.Formatter;

namespace Gemma4Edge.Tests.Service;

/// <summary>The protocol, row by row, by a client from outside; each on the embedded broker and on Mosquitto.</summary>
public class BridgeTests
{
    public static TheoryData<bool> Brokers => [false, true];

    /// <summary>Both brokers, and outsiders of both versions: for whatever needs no properties.</summary>
    public static TheoryData<bool, MqttProtocolVersion> Clients => new()
    {
        { false, MqttProtocolVersion.V500 }, { true, MqttProtocolVersion.V500 }, { false, MqttProtocolVersion.V311 }, { true, MqttProtocolVersion.V311 },
    };

    [Theory, MemberData(nameof(Brokers))]
    public async Task Request_GetsExactlyOneReply(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        byte[] correlation = [0, 255, 13, 10, 128];

        await outsider.PublishAsync("request", """{"id":"a1","prompt":"hello"}""", Outsider.Reply, correlation);

        MqttApplicationMessage reply = await outsider.NextAsync();
        Assert.Equal(correlation, reply.CorrelationData);
        JsonElement done = Outsider.Json(reply);
        Assert.Equal(
            """{"id":"a1","seq":0,"type":"done","text":"You said: hello","tool_calls":[],"finish_reason":"stop","usage":{"input":12,"cached":4,"output":5},"timings":{"queue_ms":1.2,"ttft_ms":20,"prefill_tps":400,"decode_tps":50,"total_ms":120}}""",
            done.GetRawText());
        Assert.Empty(await outsider.DrainAsync());
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task Stream_IsNumberedWithoutGaps_AndItsDeltasAreTheText(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, Outsider.Reply);

        await outsider.PublishAsync("request", $$"""{"id":"a1","prompt":"one. two. three","stream":true,"stream_mode":"sentence","reply_to":"{{Outsider.Reply}}"}""");

        List<JsonElement> events = await outsider.EventsAsync();
        Assert.Equal(Enumerable.Range(0, events.Count), events.Select(e => e.GetProperty("seq").GetInt32()));
        Assert.All(events, e => Assert.Equal("a1", e.GetProperty("id").GetString()));
        Assert.Equal("""{"id":"a1","seq":0,"type":"start","queue_ms":1.2,"prompt_tokens":12,"cached_tokens":4}""", events[0].GetRawText());
        Assert.Equal("""{"id":"a1","seq":1,"type":"prefill","done":4,"total":8}""", events[1].GetRawText());
        Assert.Equal(["You said: one. ", "two. ", "three"], events.Where(e => e.GetProperty("type").GetString() == "delta").Select(e => e.GetProperty("text").GetString()!));
        Assert.Equal("You said: one. two. three", events[^1].GetProperty("text").GetString());
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task ToolCalls_AreShown_AndUndeclaredOnesAreMarked(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, Outsider.Reply, "gemma4edge/kitchen/event");

        await outsider.PublishAsync("request", $$"""{"id":"a1","prompt":"call","stream":true,"reply_to":"{{Outsider.Reply}}"}""");

        List<JsonElement> messages = [];
        while (!messages.Exists(m => m.TryGetProperty("event_type", out JsonElement type) && type.GetString() == "completed"))
        {
            messages.Add(await outsider.NextJsonAsync());
        }

        string[] all = [.. messages.Select(m => m.GetRawText())];
        Assert.Contains("""{"id":"a1","seq":3,"type":"tool_call","name":"set_light","arguments":{"area":"kitchen","on":true}}""", all);
        Assert.Contains("""{"id":"a1","seq":4,"type":"tool_call","name":"open_safe","arguments":{},"declared":false}""", all);
        Assert.Contains("""{"event_type":"tool_called","id":"a1","name":"set_light","arguments":{"area":"kitchen","on":true}}""", all);
        Assert.Contains(all, m => m.Contains("\"tool_calls\":[{\"name\":\"set_light\",\"arguments\":{\"area\":\"kitchen\",\"on\":true}},{\"name\":\"open_safe\",\"arguments\":{},\"declared\":false}],\"finish_reason\":\"tool_calls\"", StringComparison.Ordinal));
        Assert.Equal("""{"event_type":"completed","id":"a1","finish_reason":"tool_calls"}""", all[^1]);
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task Cancel_EndsTheRunningAndTheWaiting(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, Outsider.Reply);
        await StartWaitingAsync(outsider, "run");
        await SendAsync(outsider, "queued", "hi");
        await SendAsync(outsider, "kept", "hi");

        await outsider.PublishAsync("cancel", """{"id":"queued"}""");
        Assert.Equal(("queued", "cancelled"), Failure(await outsider.NextJsonAsync()));
        await outsider.PublishAsync("cancel", """{"id":"run"}""");
        Assert.Equal(("run", "cancelled"), Failure(await outsider.NextJsonAsync(Outsider.Reply, text => !text.Contains("prefill", StringComparison.Ordinal))));
        Assert.Equal("kept", (await outsider.NextJsonAsync()).GetProperty("id").GetString());

        await StartWaitingAsync(outsider, "run2");
        await SendAsync(outsider, "queued2", "hi");
        await outsider.PublishAsync("cancel", "{}");
        List<JsonElement> both = [await Final(), await Final()];
        Assert.Equal([("queued2", "cancelled"), ("run2", "cancelled")], both.Select(Failure).Order());

        Task<JsonElement> Final() => outsider.NextJsonAsync(Outsider.Reply, text => text.Contains("error", StringComparison.Ordinal));
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task QueueFull_IsSaidAtOnce_AndMayComeAgain(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker, capacity: 1);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, Outsider.Reply);
        await StartWaitingAsync(outsider, "run");
        await SendAsync(outsider, "queued", "hi");
        await SendAsync(outsider, "refused", "hi");
        Assert.Equal(("refused", "queue_full"), Failure(await outsider.NextJsonAsync(Outsider.Reply, IsFinal)));

        await outsider.PublishAsync("cancel", """{"id":"run"}""");
        Assert.Equal(("run", "cancelled"), Failure(await outsider.NextJsonAsync(Outsider.Reply, IsFinal)));
        Assert.Equal("queued", (await outsider.NextJsonAsync()).GetProperty("id").GetString());
        await SendAsync(outsider, "refused", "hi");
        Assert.Equal("done", (await outsider.NextJsonAsync()).GetProperty("type").GetString());
    }

    /// <summary>Told when it happens, not when the turn would have come; and there is no second word about it.</summary>
    [Theory, MemberData(nameof(Brokers))]
    public async Task Deadline_CountsWhileQueued(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "gemma4edge/kitchen/event");
        await StartWaitingAsync(outsider, "run");
        await outsider.PublishAsync("request", $$"""{"id":"late2","prompt":"hi"}""", Outsider.Reply, expiry: 1);
        await outsider.PublishAsync("request", $$"""{"id":"late","prompt":"hi","deadline_ms":1,"reply_to":"{{Outsider.Reply}}"}""");
        Assert.Equal(("late", "expired"), Failure(await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains("late", StringComparison.Ordinal))));
        Assert.Equal("""{"event_type":"expired","id":"late","code":"expired"}""", (await outsider.NextJsonAsync("event")).GetRawText());
        Assert.Equal(("late2", "expired"), Failure(await outsider.NextJsonAsync(Outsider.Reply)));
        Assert.Equal(0, node.Model.Served.Queue.Count);
        await outsider.PublishAsync("cancel", """{"id":"run"}""");
        Assert.Equal(("run", "cancelled"), Failure(await outsider.NextJsonAsync(Outsider.Reply)));
        Assert.DoesNotContain(await outsider.DrainAsync(), message => message.Topic == Outsider.Reply);
        Assert.DoesNotContain(node.Model.Seen, request => request.Id.StartsWith("late", StringComparison.Ordinal));
    }

    [Theory, MemberData(nameof(Brokers))]
    public async Task RetainedMessages_AreDropped(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await outsider.PublishAsync("request", """{"id":"r1","prompt":"hi"}""", Outsider.Reply, retain: true);
        await outsider.PublishAsync("config/enabled/set", "OFF", retain: true);
        await outsider.PublishAsync("session/clear", "{}", retain: true);
        Assert.Empty(await outsider.DrainAsync());
        Assert.Single(node.Model.Seen);
        Assert.Empty(node.Model.Cleared);
    }

    [Theory, MemberData(nameof(Brokers))]
    public async Task ForbiddenReplyTopic_IsRefusedOnTheNodesOwn(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, "#");
        await outsider.PublishAsync("request", """{"id":"x1","prompt":"hi"}""", "zigbee2mqtt/lamp/set");
        Assert.Equal(("x1", "bad_request"), Failure(await outsider.NextJsonAsync("response")));
        await outsider.PublishAsync("request", """{"id":"x2","prompt":"hi","reply_to":"zigbee2mqtt/lamp/set"}""");
        Assert.Equal(("x2", "bad_request"), Failure(await outsider.NextJsonAsync("response")));
        await outsider.PublishAsync("request", "{no json", Outsider.Reply);
        Assert.Equal((null, "bad_request"), Failure(await outsider.NextJsonAsync(Outsider.Reply)));
        Assert.DoesNotContain(await outsider.DrainAsync(), m => m.Topic.StartsWith("zigbee2mqtt", StringComparison.Ordinal));
        Assert.Single(node.Model.Seen);
    }

    [Theory, MemberData(nameof(Brokers))]
    public async Task Duplicates_RunOnce(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply, "gemma4edge/reply/other");
        await StartWaitingAsync(outsider, "d1");
        await StartWaitingAsync(outsider, "d1", isDuplicate: true);
        await outsider.PublishAsync("cancel", "{}");
        Assert.Equal(("d1", "cancelled"), Failure(await outsider.NextJsonAsync(null, IsFinal)));

        await outsider.PublishAsync("request", """{"id":"d2","prompt":"hi"}""", Outsider.Reply, [1]);
        string first = Outsider.Text(await outsider.NextAsync());
        await outsider.PublishAsync("request", """{"id":"d2","prompt":"hi"}""", Outsider.Reply, [2]);
        MqttApplicationMessage again = await outsider.NextAsync();
        Assert.Equal(first, Outsider.Text(again));
        Assert.Equal([2], again.CorrelationData);

        await outsider.PublishAsync("request", """{"id":"d2","prompt":"other"}""", Outsider.Reply);
        Assert.Equal(("d2", "bad_request"), Failure(await outsider.NextJsonAsync()));
        await outsider.PublishAsync("request", """{"id":"d2","prompt":"hi"}""", "gemma4edge/reply/other");
        Assert.Equal("done", (await outsider.NextJsonAsync("gemma4edge/reply/other")).GetProperty("type").GetString());

        await outsider.PublishAsync("request", "hi", Outsider.Reply, [7, 7]);
        first = Outsider.Text(await outsider.NextAsync());
        await outsider.PublishAsync("request", "hi", Outsider.Reply, [7, 7]);
        Assert.Equal(first, Outsider.Text(await outsider.NextAsync()));

        Assert.Empty(await outsider.DrainAsync());
        Assert.Equal(["d1", "d2", "d2"], node.Model.Seen.Take(3).Select(request => request.Id));
        Assert.Equal(5, node.Model.Seen.Count); // and the plain one, and the drain's
    }

    [Theory, MemberData(nameof(Brokers))]
    public async Task PromptSet_IsMirrored_AndItsAnswerIsRetained(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, "gemma4edge/kitchen/answer", Outsider.Reply, "gemma4edge/kitchen/response");
        await outsider.PublishAsync("prompt/set", "Licht an", Outsider.Reply);
        JsonElement answer = await outsider.NextJsonAsync();
        Assert.Equal("You said: Licht an", answer.GetProperty("text").GetString());
        Assert.Equal("stop", answer.GetProperty("finish_reason").GetString());
        Assert.EndsWith("Z", answer.GetProperty("time").GetString()!, StringComparison.Ordinal);

        await outsider.PublishAsync("prompt/set", "hi");
        Assert.Equal("You said: hi", (await outsider.NextJsonAsync()).GetProperty("text").GetString()); // no two prompts are duplicates

        await outsider.PublishAsync("prompt/set", [0xff]);
        Assert.Equal("bad_request", (await outsider.NextJsonAsync()).GetProperty("error").GetProperty("code").GetString());
        Assert.Empty(await outsider.DrainAsync()); // the end goes to answer alone

        await using Outsider later = await Outsider.ConnectAsync(node.Port, "gemma4edge/kitchen/answer", "gemma4edge/kitchen/prompt");
        MqttApplicationMessage[] retained = [await later.NextAsync(), await later.NextAsync()];
        Assert.All(retained, message => Assert.True(message.Retain));
        Assert.Contains(retained, message => Outsider.Text(message) == "hi");
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task Config_ShowsInTheState_AndActs(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, "gemma4edge/kitchen/state", "gemma4edge/kitchen/response", Outsider.Reply);
        await outsider.PublishAsync("config/thinking/set", "ON");
        await outsider.PublishAsync("config/max_tokens/set", "32");
        await outsider.PublishAsync("config/temperature/set", "0.5");
        await outsider.PublishAsync("config/enabled/set", "OFF");
        await outsider.NextAsync("state", text => text == """{"busy":false,"queue":0,"enabled":false,"thinking":true,"model":"scripted","max_tokens":32,"temperature":0.5}""");

        await SendAsync(outsider, "a1", "hi");
        Assert.Equal(("a1", "disabled"), Failure(await outsider.NextJsonAsync(Outsider.Reply)));
        await outsider.PublishAsync("config/enabled/set", "ON");
        await SendAsync(outsider, "a1", "hi");
        Assert.Equal("done", (await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("type").GetString());
        Assert.Equal((true, 32, 0.5f), (node.Model.Seen[0].Think, node.Model.Seen[0].MaxTokens, node.Model.Seen[0].Sampling.Temperature));
        await outsider.NextAsync("state", text => text.EndsWith(
            ""","last":{"id":"a1","ttft_ms":20,"prefill_tps":400,"decode_tps":50,"prompt_tokens":12,"cached_tokens":4,"cache_hit_percent":33.3,"completion_tokens":5,"total_ms":120}}""", StringComparison.Ordinal)
            && text.StartsWith("""{"busy":false,"queue":0,"enabled":true""", StringComparison.Ordinal));

        foreach ((string topic, string payload) in ((string, string)[])[
            ("config/enabled/set", "on"), ("config/max_tokens/set", "0"), ("config/max_tokens/set", "2000"), ("config/temperature/set", "warm"), ("config/temperature/set", "0,7"), ("config/colour/set", "red"),
            ("cancel", "now"), ("cancel", """{"id":5}"""), ("cancel", """{"id":""}"""), ("cancel", """{"id":null}"""), ("cancel", """{"ID":"a1"}"""), ("session/clear", """{"session":null}"""), ("config/max_tokens/set", "12.7"), ("session/clear", "[]")])
        {
            await outsider.PublishAsync(topic, payload);
            JsonElement error = (await outsider.NextJsonAsync("response")).GetProperty("error");
            Assert.Equal("bad_request", error.GetProperty("code").GetString());
            Assert.Contains(topic, error.GetProperty("message").GetString()!, StringComparison.Ordinal);
        }
    }

    /// <summary>MQTT 3.1.1 has no properties: everything is in the payload.</summary>
    [Theory, MemberData(nameof(Brokers))]
    public async Task OldClients_SayEverythingInThePayload(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, MqttProtocolVersion.V311, Outsider.Reply);
        await SendAsync(outsider, "a1", "hi");
        Assert.Equal("a1", (await outsider.NextJsonAsync()).GetProperty("id").GetString());
        await outsider.PublishAsync("request", """{"id":"r1","prompt":"hi"}""", retain: true);
        Assert.Empty(await outsider.DrainAsync());
        Assert.Equal(2, node.Model.Seen.Count);
    }

    /// <summary>More refusals than may wait for the broker: the rest wait for those to leave.</summary>
    [Fact]
    public async Task RefusalsOfAFlood_AreAllTold()
    {
        const int Flood = 1200;
        using var model = new ScriptedModel();
        using var bridge = new MqttBridge(new ServiceOptions { Model = new ModelOptions { Path = "none" }, Mqtt = new MqttOptions { Node = "kitchen" } }, model.Served, new RequestLedger(null, TimeProvider.System), NullLogger<MqttBridge>.Instance);
        Task[] told = [.. Enumerable.Range(0, Flood).Select(_ => bridge.Receive(new InboundMessage("gemma4edge/kitchen/request", "{"u8.ToArray())))];
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromMinutes(1));
        for (int i = 0; i < Flood; i++)
        {
            OutboundMessage message = await bridge.Outbox.TakeAsync(limit.Token);
            bridge.Outbox.Published();
            Assert.Equal("gemma4edge/kitchen/response", message.Topic);
        }

        await Task.WhenAll(told);
    }

    [Fact]
    public async Task RetainedMessages_AreLogged_WhereTheNodeListens()
    {
        using var model = new ScriptedModel();
        var log = new ListLogger<MqttBridge>();
        using var bridge = new MqttBridge(new ServiceOptions { Model = new ModelOptions { Path = "none" }, Mqtt = new MqttOptions { Node = "kitchen" } }, model.Served, new RequestLedger(null, TimeProvider.System), log);
        foreach (string topic in (string[])["gemma4edge/kitchen/state", "home/kitchen/light", "gemma4edge/office/request", "gemma4edge/kitchen/request", "gemma4edge/kitchen/config/enabled/set"])
        {
            await bridge.Receive(new InboundMessage(topic, "OFF"u8.ToArray()) { Retained = true });
        }

        Assert.Equal(["gemma4edge/kitchen/request", "gemma4edge/kitchen/config/enabled/set"], log.Lines.Select(line => line.Split(' ')[5].TrimEnd(':')));
        Assert.Equal(0, model.Served.Queue.Count);
    }

    /// <summary>A request without an id and correlation data: two alike are two requests, unless the broker says that it delivers one again.</summary>
    [Fact]
    public async Task RedeliveredPacket_IsRunOnce()
    {
        using var model = new ScriptedModel();
        using var bridge = new MqttBridge(new ServiceOptions { Model = new ModelOptions { Path = "none" }, Mqtt = new MqttOptions { Node = "kitchen" } }, model.Served, new RequestLedger(null, TimeProvider.System), NullLogger<MqttBridge>.Instance);
        var message = new InboundMessage("gemma4edge/kitchen/request", "hi"u8.ToArray()) { PacketId = 7 };
        await bridge.Receive(message);
        await bridge.Receive(message with { Dup = true });
        Assert.Equal(1, model.Served.Queue.Count);
        await bridge.Receive(message);
        Assert.Equal(2, model.Served.Queue.Count);
        await bridge.Receive(message with { Dup = true, PacketId = 8 });
        Assert.Equal(3, model.Served.Queue.Count);
        model.Served.Queue.Cancel(null);
        await bridge.Receive(message with { Dup = true }); // has ended: its final is on its way
        Assert.Equal(0, model.Served.Queue.Count);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal("gemma4edge/kitchen/response", (await bridge.Outbox.TakeAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken)).Topic);
        }
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task State_ShowsBusyAndQueue(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, "gemma4edge/kitchen/state", Outsider.Reply);
        await StartWaitingAsync(outsider, "run");
        await SendAsync(outsider, "queued", "hi");
        await outsider.NextAsync("state", text => text.StartsWith("""{"busy":true,"queue":1,""", StringComparison.Ordinal));
        await outsider.PublishAsync("cancel", "{}");
        await outsider.NextAsync("state", text => text.StartsWith("""{"busy":false,"queue":0,""", StringComparison.Ordinal));
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task SessionClear_ClearsOneOrAll(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, Outsider.Reply);
        await outsider.PublishAsync("session/clear", """{"session":"kitchen"}""");
        await outsider.PublishAsync("session/clear", "{}");
        await outsider.DrainAsync();
        Assert.Equal(["kitchen", null], node.Model.Cleared);
    }

    [Theory, MemberData(nameof(Clients))]
    public async Task Telemetry_HasTheKeysOfTheContract(bool mosquitto, MqttProtocolVersion version)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker, change: options => options with { Telemetry = new TelemetryOptions { IntervalSeconds = 1 } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, version, "gemma4edge/kitchen/telemetry", "gemma4edge/kitchen/info", Outsider.Reply);
        JsonElement info = await outsider.NextJsonAsync("info");
        Assert.Equal(("kitchen", "scripted", 1024), (info.GetProperty("node").GetString(), info.GetProperty("model").GetString(), info.GetProperty("context").GetInt32()));
        Assert.Equal("set_light", info.GetProperty("tools")[0].GetString());
        Assert.False(info.TryGetProperty("weights", out _));

        await SendAsync(outsider, "a1", "hi");
        JsonElement telemetry = await outsider.NextJsonAsync("telemetry", text => text.Contains("\"requests_ok\":1", StringComparison.Ordinal));
        Assert.Equal("""{"p50":20,"p95":20,"max":20}""", telemetry.GetProperty("ttft_ms").GetRawText());
        Assert.Equal(4096, telemetry.GetProperty("kv_bytes").GetInt64());
        Assert.Equal(123, telemetry.GetProperty("weights_resident_bytes").GetInt64());
        Assert.False(telemetry.TryGetProperty("ple_resident_bytes", out _));
        long rss = telemetry.GetProperty("rss_bytes").GetInt64();
        Assert.InRange(telemetry.GetProperty("rss_anonymous_bytes").GetInt64() + telemetry.GetProperty("rss_file_bytes").GetInt64(), rss / 2, rss);
        Assert.InRange(telemetry.GetProperty("available_bytes").GetInt64(), 1 << 20, info.GetProperty("memory_bytes").GetInt64());
        Assert.All((string[])["pss_bytes", "major_faults", "load1", "uptime_s", "queue", "requests_failed", "broker_reconnects"], key => Assert.True(telemetry.TryGetProperty(key, out _), key));
    }

    private static Task SendAsync(Outsider outsider, string id, string prompt) =>
        outsider.PublishAsync("request", $$"""{"id":"{{id}}","prompt":"{{prompt}}","reply_to":"{{Outsider.Reply}}"}""");

    /// <summary>Sends a request that works until it is cancelled, and waits until it does.</summary>
    private static async Task StartWaitingAsync(Outsider outsider, string id, bool isDuplicate = false)
    {
        await outsider.PublishAsync("request", $$"""{"id":"{{id}}","prompt":"wait","stream":true,"reply_to":"{{Outsider.Reply}}"}""");
        if (!isDuplicate)
        {
            await outsider.NextAsync(Outsider.Reply, text => text.Contains("\"done\":8", StringComparison.Ordinal));
        }
    }

    private static bool IsFinal(string text) => text.Contains("\"type\":\"done\"", StringComparison.Ordinal) || text.Contains("\"error\"", StringComparison.Ordinal);

    private static (string? Id, string? Code) Failure(JsonElement error) => (error.GetProperty("id").GetString(), error.GetProperty("error").GetProperty("code").GetString());
}
