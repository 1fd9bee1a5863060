using System.Text.Json;
using Gemma4Edge.Cli;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Tests.Service;

namespace Gemma4Edge.Tests.Cli;

/// <summary>fleet: on a Mosquitto with the access rules of deploy/mosquitto, and with what anybody may have published.</summary>
public sealed class FleetVerbTests
{
    [Fact]
    public async Task Fleet_ShowsAnOperatorWhatTheNodesTell_AndEndsWhenAllHave()
    {
        using var broker = new GuardedMosquitto();
        await using TestNode node = await TestNode.StartAsync(change: options => OftenEnough(broker.Secure(options)));
        await using Outsider gone = await broker.ConnectAsync("operator");
        await gone.Client.PublishAsync(new MQTTnet.MqttApplicationMessage { Topic = "gemma4edge/attic/availability", Retain = true, PayloadSegment = "offline"u8.ToArray() }, TestContext.Current.CancellationToken);
        string[] fleet =
            ["fleet", "--wait", "600", "--broker", $"mqtts://localhost:{broker.TlsPort}", "--cafile", broker.CaFile, "--user", "operator", "--password-file", broker.PasswordFileOf("operator")];

        JsonElement json = (await TestCli.RunAsync([.. fleet, "--json"])).Json();
        Assert.Equal(["attic", "kitchen"], json.GetProperty("nodes").EnumerateArray().Select(row => row.GetProperty("node").GetString()));
        JsonElement attic = json.GetProperty("nodes")[0], kitchen = json.GetProperty("nodes")[1];
        Assert.Equal("""{"node":"attic","availability":"offline"}""", attic.GetRawText());
        Assert.Equal("online", kitchen.GetProperty("availability").GetString());
        Assert.Equal("kitchen", kitchen.GetProperty("info").GetProperty("node").GetString());
        Assert.False(kitchen.GetProperty("state").GetProperty("busy").GetBoolean());
        Assert.True(kitchen.GetProperty("telemetry").GetProperty("rss_bytes").GetInt64() > 0);
        Assert.True(kitchen.TryGetProperty("last_seen", out _));

        CliResult table = await TestCli.RunAsync(fleet);
        Assert.Equal((0, ""), (table.Code, table.Error));
        Assert.Equal(3, table.Lines.Length);
        Assert.Matches("^attic +offline( +-)+$", table.Lines[1]);
        Assert.Matches($"^kitchen +online +{NodeInfo.ProgramVersion} .* idle +0 .*[MG]B", table.Lines[2]);
    }

    [Fact]
    public async Task Fleet_OfAUserWhoMayReadLess_ShowsThatMuch_AndSaysWhatIsMissing()
    {
        using var broker = new GuardedMosquitto();
        await using TestNode node = await TestNode.StartAsync(change: options => OftenEnough(broker.Secure(options)));
        CliResult panel = await TestCli.RunAsync(
            "fleet", "--wait", "2", "--broker", $"mqtt://127.0.0.1:{broker.Broker.Port}", "--user", "panel", "--password-file", broker.PasswordFileOf("panel"));
        Assert.Equal(0, panel.Code);
        Assert.Matches("^kitchen +online( +-)+$", panel.Lines[1]);
        Assert.Contains("Online without telemetry in that time: kitchen.", panel.Error, StringComparison.Ordinal);

        CliResult office = await TestCli.RunAsync( // a node, which may read its own topics only
            "fleet", "--wait", "2", "--broker", $"mqtt://127.0.0.1:{broker.Broker.Port}", "--user", "office", "--password-file", broker.PasswordFileOf("office"));
        Assert.Equal((0, ""), (office.Code, office.Output));
        Assert.Contains("hide the nodes from user office it looks the same", office.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Fleet_ShowsWhatCannotBeRead_AndLetsNoControlCharacterThrough()
    {
        using var broker = new Mosquitto();
        await using Outsider evil = await Outsider.ConnectAsync(broker.Port);
        string[] fleet = ["fleet", "--broker", $"mqtt://127.0.0.1:{broker.Port}"];
        await RetainAsync(evil, "evil/info", """{"version":"\u001b[2J\u009b1m\r\n","model":["a"],"kernel":"avx2"}"""u8.ToArray());
        await RetainAsync(evil, "evil/state", """{"busy":1,"queue":1e300,"enabled":"no","throttled":{"now":["\u001b]0;x\u0007"]}}"""u8.ToArray());
        await RetainAsync(evil, "evil/telemetry", """{"ttft_ms":7,"decode_tps":"fast","rss_bytes":-1,"cpu_celsius":{}}"""u8.ToArray());
        await RetainAsync(evil, "dark/availability", "on\u001b[31m"u8.ToArray());
        await RetainAsync(evil, "dark/info", [0xFF, .. "{}"u8]);
        await RetainAsync(evil, "dark/state", """{"model":"\ud800"}"""u8.ToArray());
        await RetainAsync(evil, "dark/telemetry", """{"queue":1,"queue":2}"""u8.ToArray());
        await RetainAsync(evil, "big/info", [.. """{"model":"""u8, (byte)'"', .. Enumerable.Repeat((byte)'a', 40_000), (byte)'"', (byte)'}']);
        await RetainAsync(evil, "big/state", [.. Enumerable.Repeat((byte)'[', 20_000)]);
        await RetainAsync(evil, "not a node/info", "{}"u8.ToArray());
        await RetainAsync(evil, "fleet/info", "{}"u8.ToArray());

        CliResult table = await TestCli.RunAsync(fleet);
        Assert.Equal(0, table.Code);
        Assert.DoesNotContain(table.Output + table.Error, c => char.IsControl(c) && c != '\n');
        Assert.Equal(["node", "big", "dark", "evil"], table.Lines.Select(line => line.Split(' ')[0]));
        Assert.Matches("^evil +- +\uFFFD\\[2J\uFFFD1m\uFFFD\uFFFD +- +avx2 +- +- +- +- +- +- +\uFFFD\\]0;x\uFFFD +-$", table.Lines[3]);
        Assert.Equal(6, table.Error.TrimEnd().Split('\n').Length);
        Assert.Contains("gemma4edge/big/info: expected at most 32768 bytes, found 40012.", table.Error, StringComparison.Ordinal);

        JsonElement[] nodes = [.. (await TestCli.RunAsync([.. fleet, "--json"])).Json().GetProperty("nodes").EnumerateArray()];
        Assert.Equal(["info", "state"], nodes[0].GetProperty("problems").EnumerateObject().Select(problem => problem.Name));
        Assert.Equal(["availability", "info", "state", "telemetry"], nodes[1].GetProperty("problems").EnumerateObject().Select(problem => problem.Name));
        Assert.Equal("\u001b[2J\u009b1m\r\n", nodes[2].GetProperty("info").GetProperty("version").GetString());
    }

    [Fact]
    public async Task Fleet_LeavesOutNodesBeyondItsBound_AndSaysSo()
    {
        using var broker = new Mosquitto();
        await using Outsider many = await Outsider.ConnectAsync(broker.Port);
        for (int node = 0; node <= FleetListener.MaxNodes; node++)
        {
            await RetainAsync(many, $"n{node}/availability", "offline"u8.ToArray());
        }

        CliResult table = await TestCli.RunAsync("fleet", "--broker", $"mqtt://127.0.0.1:{broker.Port}");
        Assert.Equal(FleetListener.MaxNodes + 1, table.Lines.Length);
        Assert.Equal($"There are more nodes than the {FleetListener.MaxNodes} that are shown.\n", table.Error);
    }

    [Fact]
    public async Task Fleet_WithoutABroker_Is4_AndWithoutNodesSaysWhatItLookedFor()
    {
        Assert.Equal(ExitCode.Broker, (await TestCli.RunAsync("fleet", "--broker", "mqtt://127.0.0.1:1")).Code);
        using var broker = new Mosquitto();
        CliResult empty = await TestCli.RunAsync("fleet", "--broker", $"mqtt://127.0.0.1:{broker.Port}");
        Assert.Equal((0, ""), (empty.Code, empty.Output));
        Assert.Contains("gemma4edge/+/availability", empty.Error, StringComparison.Ordinal);
        Assert.Equal("[]", (await TestCli.RunAsync("fleet", "--broker", $"mqtt://127.0.0.1:{broker.Port}", "--json")).Json().GetProperty("nodes").GetRawText());
    }

    private static ServiceOptions OftenEnough(ServiceOptions options) => options with { Telemetry = options.Telemetry with { IntervalSeconds = 3 } };

    private static Task<MQTTnet.MqttClientPublishResult> RetainAsync(Outsider outsider, string topic, byte[] payload) => outsider.Client.PublishAsync(
        new MQTTnet.MqttApplicationMessage { Topic = $"gemma4edge/{topic}", Retain = true, PayloadSegment = payload }, TestContext.Current.CancellationToken);
}
