using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Service;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Tests.Service;

/// <summary>The whole service with the demo model behind it.</summary>
public class DemoServiceTests
{
    [Fact]
    public async Task HomeCommand_BecomesAToolCall_AndTheNodeTellsAboutItself()
    {
        var options = new ServiceOptions
        {
            Model = new ModelOptions { Path = TestData.DemoModel, Threads = 1, System = "You are a home assistant. Areas: kitchen, living room, bedroom, bathroom, hallway, office, garage, garden." },
            Mqtt = new MqttOptions { Node = "kitchen", EmbeddedPort = Mosquitto.FreePort() },
            Sampling = new SamplingDefaults { Temperature = 0 },
            Tools = new ToolsOptions { Path = Path.Combine(TestData.DemoModel, "tools") },
            Telemetry = new TelemetryOptions { IntervalSeconds = 1 },
        };
        await using ServiceHost host = ServiceHost.Open(options, LogLevel.None);
        await host.StartAsync(TestContext.Current.CancellationToken);
        await using Outsider outsider = await Outsider.ConnectAsync(options.Mqtt.EmbeddedPort, Outsider.Reply, "gemma4edge/kitchen/info", "gemma4edge/kitchen/telemetry", "gemma4edge/kitchen/state");

        JsonElement info = await outsider.NextJsonAsync("info", text => text.Contains("model_sha256", StringComparison.Ordinal)); // announced again when it is known
        string expected = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(await File.ReadAllBytesAsync(Path.Combine(TestData.DemoModel, "model.safetensors"), TestContext.Current.CancellationToken)));
        Assert.Equal(expected, info.GetProperty("model_sha256").GetString());
        Assert.InRange(info.GetProperty("memory_planned_bytes").GetInt64(), 1 << 20, info.GetProperty("memory_budget_bytes").GetInt64());
        Assert.Equal(("bf16", "kv8/k8v4", 8), (info.GetProperty("weights").GetString(), info.GetProperty("kv").GetString(), info.GetProperty("tools").GetArrayLength()));
        Assert.True(info.GetProperty("bytes_per_token").GetInt64() > 1 << 20);

        await outsider.PublishAsync("request", $$"""{"id":"a1","prompt":"turn on the kitchen light","session":"s","stream":true,"reply_to":"{{Outsider.Reply}}"}""");
        List<JsonElement> events = await outsider.EventsAsync();
        Assert.Equal(["start", "prefill", "tool_call", "done"], events.Select(e => e.GetProperty("type").GetString()!).Distinct());
        JsonElement call = Assert.Single(events[^1].GetProperty("tool_calls").EnumerateArray());
        Assert.Equal("""{"name":"set_light","arguments":{"area":"kitchen","on":true}}""", call.GetRawText());
        Assert.Equal("tool_calls", events[^1].GetProperty("finish_reason").GetString());

        await outsider.PublishAsync("request", $$"""{"id":"a2","prompt":"make it blue","session":"s","reply_to":"{{Outsider.Reply}}"}""");
        JsonElement second = Assert.Single(await outsider.EventsAsync());
        Assert.True(second.GetProperty("usage").GetProperty("cached").GetInt32() > 0); // the session's conversation is still there
        await outsider.NextAsync("state", text => text.Contains("\"id\":\"a2\"", StringComparison.Ordinal) && text.StartsWith("{\"busy\":false", StringComparison.Ordinal));

        JsonElement telemetry = await outsider.NextJsonAsync("telemetry", text => text.Contains("\"requests_ok\":2", StringComparison.Ordinal));
        Assert.True(telemetry.GetProperty("weights_resident_bytes").GetInt64() > 1 << 20);
        Assert.True(telemetry.GetProperty("ple_resident_bytes").GetInt64() > 0);
        await host.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public void HeadThatTheModelDoesNotHave_NamesTheKey()
    {
        var options = new ServiceOptions { Model = new ModelOptions { Path = TestData.DemoModel, Head = HeadMode.TwoStage } };
        string message = Assert.Throws<ConfigurationException>(() => ServiceHost.Open(options, LogLevel.None)).Message;
        Assert.Contains("Model:Head is 'two-stage'", message, StringComparison.Ordinal);
        Assert.Contains("bf16", message, StringComparison.Ordinal);
    }
}
