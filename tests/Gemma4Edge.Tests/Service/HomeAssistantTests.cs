using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Tests.Cli;
using Microsoft.Extensions.Logging.Abstractions;
using MQTTnet;

namespace Gemma4Edge.Tests.Service;

/// <summary>What Home Assistant is told, held against its field list and against what the node really publishes.</summary>
public partial class HomeAssistantTests
{
    private const string Config = "homeassistant/device/kitchen/config";
    private const string Base = "gemma4edge/kitchen";

    /// <summary>Root keys of the device form, short.</summary>
    private static readonly string[] s_rootKeys = ["dev", "o", "cmps", "avty", "avty_mode", "avty_t", "stat_t", "cmd_t", "qos", "encoding"];

    private static readonly string[] s_deviceKeys = ["ids", "cns", "name", "mf", "mdl", "mdl_id", "hw", "sw", "sn", "sa", "cu", "via_device"];

    private static readonly string[] s_everyPlatform = ["p", "name", "uniq_id", "ic", "ent_cat"];

    /// <summary>By platform: keys that must be there (a state topic may stand at the root), and those that may.</summary>
    private static readonly Dictionary<string, (string[] Required, string[] Optional)> s_platforms = new()
    {
        ["text"] = (["cmd_t"], ["stat_t", "val_tpl", "min", "max", "mode", "pattern"]),
        ["sensor"] = ([], ["stat_t", "val_tpl", "unit_of_meas", "dev_cla", "stat_cla", "sug_dsp_prc", "exp_aft", "json_attr_t"]),
        ["binary_sensor"] = ([], ["stat_t", "val_tpl", "dev_cla", "exp_aft", "pl_on", "pl_off"]),
        ["event"] = (["stat_t", "evt_typ"], ["dev_cla"]),
        ["button"] = (["cmd_t"], ["pl_prs", "dev_cla"]),
        ["switch"] = (["cmd_t"], ["stat_t", "val_tpl", "pl_on", "pl_off", "dev_cla"]),
        ["select"] = (["cmd_t", "ops"], ["stat_t", "val_tpl"]),
        ["number"] = (["cmd_t"], ["stat_t", "val_tpl", "min", "max", "step", "mode", "unit_of_meas", "dev_cla"]),
    };

    public static TheoryData<bool> Brokers => [false, true];

    [Fact]
    public async Task Discovery_KeepsToHomeAssistantsFields()
    {
        await using TestNode node = await TestNode.StartAsync();
        JsonElement root = await DiscoveryAsync(node.Port);
        Assert.Subset(s_rootKeys.ToHashSet(), Keys(root));
        Assert.Subset(s_deviceKeys.ToHashSet(), Keys(root.GetProperty("dev")));
        Assert.NotEmpty(root.GetProperty("dev").GetProperty("ids").EnumerateArray());
        Assert.Equal("gemma4edge", root.GetProperty("o").GetProperty("name").GetString());
        Assert.Equal($$"""[{"t":"{{Base}}/availability"}]""", root.GetProperty("avty").GetRawText());

        JsonProperty[] components = [.. root.GetProperty("cmps").EnumerateObject()];
        Assert.Equal(
            ["answer", "busy", "cache_hit", "clear", "decode_tps", "enabled", "max_tokens", "memory", "model", "prefill_tps", "prompt", "queue", "request", "soc_temperature", "stop", "temperature", "throttled", "ttft"],
            components.Select(component => component.Name).Order(StringComparer.Ordinal));
        Assert.All(components, component =>
        {
            (string[] required, string[] optional) = s_platforms[component.Value.GetProperty("p").GetString()!];
            Assert.Subset(s_everyPlatform.Concat(required).Concat(optional).ToHashSet(), Keys(component.Value));
            Assert.Superset(required.Concat(["p", "name", "uniq_id"]).ToHashSet(), Keys(component.Value));
            Assert.Matches("^gemma4edge_kitchen_[a-z_]+$", component.Value.GetProperty("uniq_id").GetString());
        });
        Assert.Equal(components.Length, components.Select(component => component.Value.GetProperty("uniq_id").GetString()).Distinct().Count());
    }

    /// <summary>Command topics are topics the node listens to, state topics are topics it publishes on, and no state is longer than 255 characters.</summary>
    [Fact]
    public async Task Templates_ReadWhatTheNodePublishes()
    {
        using MadeMachine pi = MadeMachine.RaspberryPi(throttled: "4");
        await using TestNode node = await TestNode.StartAsync(change: options => options with { Telemetry = new TelemetryOptions { IntervalSeconds = 1, SystemRoot = pi.Root } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, $"{Base}/#", "homeassistant/#");
        string prompt = new('x', 300);
        await outsider.PublishAsync("prompt/set", prompt);
        await outsider.PublishAsync("prompt/set", ""); // an error
        Dictionary<string, List<string>> published = [];
        bool IsComplete() => published.TryGetValue($"{Base}/answer", out List<string>? answers) && answers.Count >= 2
            && published.TryGetValue($"{Base}/state", out List<string>? states) && states[^1].Contains("\"last\"", StringComparison.Ordinal)
            && published.TryGetValue($"{Base}/telemetry", out List<string>? telemetry) && telemetry[^1].Contains("\"requests_ok\":1", StringComparison.Ordinal);
        while (!IsComplete())
        {
            MqttApplicationMessage message = await outsider.NextAsync();
            (published.TryGetValue(message.Topic, out List<string>? list) ? list : published[message.Topic] = []).Add(Outsider.Text(message));
        }

        Assert.Equal([prompt], published[$"{Base}/prompt"]);
        JsonElement root = JsonDocument.Parse(published[Config][^1]).RootElement;
        var topics = new NodeTopics("kitchen");
        int paths = 0;
        foreach (JsonElement component in root.GetProperty("cmps").EnumerateObject().Select(member => member.Value))
        {
            if (component.TryGetProperty("cmd_t", out JsonElement command))
            {
                Assert.True(topics.Inbound.Contains(command.GetString()) || topics.ConfigKey(command.GetString()!) is not null, command.GetString());
            }

            string state = component.TryGetProperty("stat_t", out JsonElement own) ? own.GetString()! : root.GetProperty("stat_t").GetString()!;
            if (component.TryGetProperty("val_tpl", out JsonElement template))
            {
                foreach (string path in ValuePath().Matches(template.GetString()!).Select(match => match.Groups[1].Value).Distinct())
                {
                    paths++;
                    Assert.Contains(published[state], payload => Has(JsonDocument.Parse(payload).RootElement, path));
                }
            }
            else
            {
                Assert.Contains(component.GetProperty("p").GetString(), (string[])["event", "button"]);
            }
        }

        Assert.InRange(paths, 18, 40);
        JsonElement components = root.GetProperty("cmps");
        Assert.Equal((255, "{{ value[:255] }}"), (components.GetProperty("prompt").GetProperty("max").GetInt32(), components.GetProperty("prompt").GetProperty("val_tpl").GetString()));
        Assert.EndsWith("[:250] }}", components.GetProperty("answer").GetProperty("val_tpl").GetString(), StringComparison.Ordinal);
        Assert.Equal($"{Base}/answer", components.GetProperty("answer").GetProperty("json_attr_t").GetString());
        Assert.Equal("""["scripted"]""", components.GetProperty("model").GetProperty("ops").GetRawText());
        Assert.True(Has(JsonDocument.Parse(published[$"{Base}/telemetry"][^1]).RootElement, ".cpu_celsius")); // the Pi's
    }

    /// <summary>A value that comes every five minutes must not be gone for three of them.</summary>
    [Theory, InlineData(10, 120), InlineData(300, 900)]
    public async Task Telemetry_ExpiresWhenItStaysAway_NotBetweenTwoMessages(int intervalSeconds, int expirySeconds)
    {
        await using TestNode node = await TestNode.StartAsync(change: options => options with { Telemetry = new TelemetryOptions { IntervalSeconds = intervalSeconds } });
        JsonElement[] fromTelemetry = [.. (await DiscoveryAsync(node.Port)).GetProperty("cmps").EnumerateObject().Select(member => member.Value)
            .Where(component => component.TryGetProperty("stat_t", out JsonElement topic) && topic.GetString() == $"{Base}/telemetry")];
        Assert.Equal(3, fromTelemetry.Length);
        Assert.All(fromTelemetry, component => Assert.Equal(expirySeconds, component.GetProperty("exp_aft").GetInt32()));
    }

    [Fact]
    public async Task EventTypes_AreThoseThatTheNodePublishes()
    {
        await using TestNode node = await TestNode.StartAsync();
        JsonElement types = (await DiscoveryAsync(node.Port)).GetProperty("cmps").GetProperty("request").GetProperty("evt_typ");
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, $"{Base}/event");
        await outsider.PublishAsync("request", """{"prompt":"hello"}""");
        await outsider.PublishAsync("request", """{"prompt":"call"}""");
        await outsider.PublishAsync("request", """{"prompt":7}""");
        await outsider.PublishAsync("request", """{"id":"w","prompt":"wait"}""");
        await outsider.PublishAsync("request", """{"prompt":"late","deadline_ms":1}""");
        HashSet<string> seen = [];
        while (seen.Count < types.GetArrayLength())
        {
            MqttApplicationMessage message = await outsider.NextAsync();
            Assert.False(message.Retain);
            seen.Add(Outsider.Json(message).GetProperty("event_type").GetString()!);
            if (seen.Contains("expired")) // before that the late one could still be in time
            {
                await outsider.PublishAsync("cancel", """{"id":"w"}""");
            }
        }

        Assert.Equal(types.EnumerateArray().Select(type => type.GetString()!).Order(StringComparer.Ordinal), seen.Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Brokers))]
    public async Task Birth_BringsConfigAndEveryStateAgain(bool isMosquitto)
    {
        using Mosquitto? mosquitto = isMosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(mosquitto, change: options => options with { Telemetry = new TelemetryOptions { IntervalSeconds = 3600 } });
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, "#");
        await outsider.PublishAsync("prompt/set", "hello");
        await outsider.NextAsync("answer");
        await outsider.NextAsync("state", text => text.StartsWith("{\"busy\":false", StringComparison.Ordinal) && text.Contains("\"last\"", StringComparison.Ordinal));

        await outsider.Client.PublishStringAsync("homeassistant/status", "online", cancellationToken: TestContext.Current.CancellationToken);
        HashSet<string> missing = [Config, .. new[] { "info", "state", "availability", "telemetry", "prompt", "answer" }.Select(topic => $"{Base}/{topic}")];
        while (missing.Count > 0)
        {
            MqttApplicationMessage message = await outsider.NextAsync();
            Assert.NotEmpty(Outsider.Text(message));
            missing.Remove(message.Topic);
        }
    }

    [Fact]
    public async Task OnlyOnline_IsABirth()
    {
        using var model = new ScriptedModel();
        using var ledger = new RequestLedger(null, TimeProvider.System);
        using var bridge = new MqttBridge(new ServiceOptions { Model = new ModelOptions { Path = "none" }, HomeAssistant = new HomeAssistantOptions { Prefix = "ha" } }, model.Served, ledger, NullLogger<MqttBridge>.Instance);
        await bridge.Receive(new InboundMessage("ha/status", "offline"u8.ToArray()));
        await bridge.Receive(new InboundMessage("homeassistant/status", "online"u8.ToArray()));
        Assert.False(bridge.HomeAssistantBirths.TryRead(out _));
        await bridge.Receive(new InboundMessage("ha/status", "online"u8.ToArray()));
        await bridge.Receive(new InboundMessage("ha/status", "online"u8.ToArray()) { Retained = true });
        Assert.True(bridge.HomeAssistantBirths.TryRead(out _));
        Assert.False(bridge.HomeAssistantBirths.TryRead(out _)); // both are answered at once
    }

    [Fact]
    public async Task Connecting_PublishesTheConfigBeforeOnline_UnlessSwitchedOff()
    {
        using var mosquitto = new Mosquitto();
        await using Outsider outsider = await Outsider.ConnectAsync(mosquitto.Port, "#");
        await using (await TestNode.StartAsync(mosquitto, change: options => options with { HomeAssistant = new HomeAssistantOptions { Enabled = false } }))
        {
            Assert.DoesNotContain(Config, await UntilOnlineAsync());
        }

        await using (await TestNode.StartAsync(mosquitto))
        {
            Assert.Contains(Config, await UntilOnlineAsync());
        }

        async Task<List<string>> UntilOnlineAsync()
        {
            List<string> topics = [];
            MqttApplicationMessage message;
            do
            {
                message = await outsider.NextAsync();
                topics.Add(message.Topic);
            }
            while (message.Topic != $"{Base}/availability" || Outsider.Text(message) != "online");
            return topics;
        }
    }

    [Theory]
    [MemberData(nameof(Brokers))]
    public async Task Unregister_TakesTheDeviceAway(bool isMosquitto)
    {
        using Mosquitto? mosquitto = isMosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(mosquitto);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Config);
        Assert.NotEmpty(Outsider.Text(await outsider.NextAsync(Config)));

        using var config = new TempFile(["""{"Mqtt":{"Node":"kitchen"}}"""]);
        CliResult result = await TestCli.RunAsync("mqtt", "unregister", "--broker", $"mqtt://127.0.0.1:{node.Port}", "--config", config.Path);
        Assert.True(result.Code == 0, result.Error);
        Assert.Contains(Config, result.Error, StringComparison.Ordinal);
        Assert.Empty(Outsider.Text(await outsider.NextAsync(Config)));
        await using Outsider late = await Outsider.ConnectAsync(node.Port, Config, $"{Base}/availability");
        Assert.Equal($"{Base}/availability", (await late.NextAsync()).Topic); // nothing is kept on the config's topic
    }

    [Fact]
    public async Task Numbers_AreTakenExactlyAsFarAsDiscoverySays()
    {
        await using TestNode node = await TestNode.StartAsync();
        JsonElement components = (await DiscoveryAsync(node.Port)).GetProperty("cmps");
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, $"{Base}/state", $"{Base}/response");
        foreach (string key in (string[])["max_tokens", "temperature"])
        {
            JsonElement number = components.GetProperty(key);
            (double min, double max, double step) = (number.GetProperty("min").GetDouble(), number.GetProperty("max").GetDouble(), number.GetProperty("step").GetDouble());
            foreach (double value in (double[])[min, max])
            {
                await outsider.PublishAsync($"config/{key}/set", value.ToString(CultureInfo.InvariantCulture));
                await outsider.NextAsync("state", text => JsonDocument.Parse(text).RootElement.GetProperty(key).GetDouble() == value);
            }

            foreach (double value in (double[])[min - step, max + step])
            {
                await outsider.PublishAsync($"config/{key}/set", value.ToString(CultureInfo.InvariantCulture));
                Assert.Equal("bad_request", (await outsider.NextJsonAsync("response")).GetProperty("error").GetProperty("code").GetString());
            }
        }
    }

    [Fact]
    public async Task Model_IsTheOneThatRuns()
    {
        await using TestNode node = await TestNode.StartAsync();
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, $"{Base}/response", $"{Base}/state");
        await outsider.NextAsync("state");
        await outsider.PublishAsync("config/model/set", "scripted");
        Assert.Equal("scripted", (await outsider.NextJsonAsync("state")).GetProperty("model").GetString());
        await outsider.PublishAsync("config/model/set", "gemma-5");
        JsonElement error = (await outsider.NextJsonAsync("response")).GetProperty("error");
        Assert.Equal("bad_request", error.GetProperty("code").GetString());
        Assert.Contains("has the model scripted and no other", error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("home/+")]
    [InlineData("ha/")]
    [InlineData("gemma4edge/kitchen")]
    public async Task APrefixThatIsNoTopic_IsRefused(string prefix)
    {
        using var config = new TempFile([$$"""{ "HomeAssistant": { "Prefix": "{{prefix}}" } }"""]);
        CliResult result = await TestCli.RunAsync("mqtt", "unregister", "--config", config.Path);
        Assert.Equal(2, result.Code);
        Assert.Contains("HomeAssistant:Prefix", result.Error, StringComparison.Ordinal);
    }

    private static async Task<JsonElement> DiscoveryAsync(int port)
    {
        await using Outsider outsider = await Outsider.ConnectAsync(port, Config);
        MqttApplicationMessage message = await outsider.NextAsync(Config);
        Assert.True(message.Retain);
        return Outsider.Json(message);
    }

    private static HashSet<string> Keys(JsonElement json) => [.. json.EnumerateObject().Select(member => member.Name)];

    /// <summary>Whether a payload has the value of a path such as <c>.last.ttft_ms</c>.</summary>
    private static bool Has(JsonElement json, string path)
    {
        foreach (string name in path.Split('.', StringSplitOptions.RemoveEmptyEntries))
        {
            if (json.ValueKind != JsonValueKind.Object || !json.TryGetProperty(name, out json))
            {
                return false;
            }
        }

        return true;
    }

    [GeneratedRegex(@"value_json((?:\.[a-z_0-9]+)+)")]
    private static partial Regex ValuePath();
}
