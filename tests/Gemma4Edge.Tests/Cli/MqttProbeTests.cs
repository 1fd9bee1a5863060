using System.Text.Json;
using Gemma4Edge.Tests.Service;

namespace Gemma4Edge.Tests.Cli;

/// <summary>mqtt probe, on a Mosquitto with the access rules of deploy/mosquitto.</summary>
public sealed class MqttProbeTests
{
    [Fact]
    public async Task Probe_SaysOk_AndDisturbsNeitherTheNodeNorWhatIsRetained()
    {
        using var broker = new GuardedMosquitto();
        await using TestNode node = await TestNode.StartAsync(change: broker.Secure);
        await using Outsider person = await broker.ConnectAsync("operator", "gemma4edge/kitchen/#", Outsider.Reply);
        Dictionary<string, string> before = await RetainedAsync(broker);

        CliResult result = await ProbeAsync(broker, "kitchen", "--json");

        JsonElement json = result.Json();
        Assert.Equal(("kitchen", "kitchen"), (json.GetProperty("node").GetString(), json.GetProperty("user").GetString()));
        Dictionary<string, string> statuses = Statuses(json);
        string[] unproven = [.. statuses.Where(pair => pair.Value == "unproven").Select(pair => pair.Key)]; // a node may not give itself jobs, nor play Home Assistant
        Assert.Equal(["gemma4edge/fleet/home/request", "homeassistant/status", "homeassistant/device/kitchen/config", "home/+/light", "alarm/#"], unproven);
        Assert.Equal(14, statuses.Count(pair => pair.Value == "ok"));
        Assert.Equal(19, statuses.Count);
        Assert.Equal(before, await RetainedAsync(broker));
        await person.PublishAsync("request", """{"id":"a1","prompt":"hello"}""", Outsider.Reply);
        Assert.Equal("done", (await person.NextJsonAsync(Outsider.Reply)).GetProperty("type").GetString());
        Assert.Equal("hello", Assert.Single(node.Model.Seen).Prompt);
        Assert.DoesNotContain(await person.DrainAsync(), message => Outsider.Text(message) == "offline");
    }

    [Fact]
    public async Task Probe_NamesWhatIsRefused_AndTheRule()
    {
        using var broker = new GuardedMosquitto(acl: rules => rules
            .Replace("pattern readwrite gemma4edge/%u/#", "pattern write gemma4edge/%u/#\npattern read gemma4edge/%u/request", StringComparison.Ordinal)
            .Replace("pattern write gemma4edge/reply/#", "", StringComparison.Ordinal));
        CliResult result = await ProbeAsync(broker, "kitchen");

        Assert.Equal(1, result.Code);
        Assert.Matches(@"(?m)^gemma4edge/kitchen/request +hear +ok$", result.Output);
        Assert.Matches(@"(?m)^gemma4edge/kitchen/cancel +hear +refused +in Mosquitto's acl_file: pattern readwrite gemma4edge/%u/#$", result.Output);
        Assert.Matches(@"(?m)^gemma4edge/reply/gemma4edge-probe +speak +refused +in Mosquitto's acl_file: pattern write gemma4edge/reply/#$", result.Output);
        Assert.Matches(@"(?m)^gemma4edge/kitchen/state +speak +ok$", result.Output);
        Assert.Matches(@"(?m)^home/\+/light +speak +unproven +tools act there, and so would a trial; needed is: user kitchen / topic write home/\+/light$", result.Output);
    }

    [Fact]
    public async Task Probe_WithAWrongPassword_Is4()
    {
        using var broker = new GuardedMosquitto();
        broker.Write("kitchen.password", "guess");
        CliResult result = await ProbeAsync(broker, "kitchen", password: "guess");
        Assert.Equal(4, result.Code);
        Assert.Contains("'kitchen'", result.Error, StringComparison.Ordinal);
    }

    private static async Task<CliResult> ProbeAsync(GuardedMosquitto broker, string user, string? option = null, string? password = null)
    {
        string passwordFile = password is null ? broker.PasswordFileOf(user) : broker.Write("wrong", password);
        using var config = new TempFile([$$"""
            { "Mqtt": { "Node": "{{user}}", "Pools": ["home"], "Broker": "mqtts://localhost:{{broker.TlsPort}}", "CaFile": "{{broker.CaFile}}", "PasswordFile": "{{passwordFile}}" }, "Tools": { "AllowTopics": ["home/+/light", "alarm/#"] } }
            """]);
        string[] arguments = ["mqtt", "probe", "--config", config.Path];
        return await TestCli.RunAsync(option is null ? arguments : [.. arguments, option]);
    }

    private static Dictionary<string, string> Statuses(JsonElement json) =>
        json.GetProperty("topics").EnumerateArray().ToDictionary(row => row.GetProperty("topic").GetString()!, row => row.GetProperty("status").GetString()!);

    private static async Task<Dictionary<string, string>> RetainedAsync(GuardedMosquitto broker)
    {
        Dictionary<string, string> retained = [];
        await using Outsider reader = await broker.ConnectAsync("operator", "gemma4edge/kitchen/availability", "gemma4edge/kitchen/info", "gemma4edge/kitchen/state");
        while (retained.Count < 3)
        {
            var message = await reader.NextAsync();
            Assert.True(message.Retain);
            retained[message.Topic] = Outsider.Text(message);
        }

        return retained;
    }
}
