using System.Diagnostics;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Logging.Abstractions;
using MQTTnet;

namespace Gemma4Edge.Tests.Service;

/// <summary>Coming, going, and coming back.</summary>
public class ConnectionTests
{
    [Fact]
    public async Task Online_IsSaidLast_AndOfflineAfterTheLastReply()
    {
        using var broker = new Mosquitto();
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, "gemma4edge/kitchen/#", Outsider.Reply);
        await using (await TestNode.StartAsync(broker))
        {
            List<string> announced = [];
            while (announced.LastOrDefault() != "availability")
            {
                announced.Add((await outsider.NextAsync(wanted: text => text.Length > 0)).Topic.Split('/')[^1]); // empty: the node proves its subscriptions
            }

            Assert.Equal(["info", "state", "availability"], announced);
            await outsider.PublishAsync("request", """{"id":"running","prompt":"wait"}""", Outsider.Reply);
            await outsider.PublishAsync("request", """{"id":"waiting","prompt":"wait"}""", Outsider.Reply);
            await outsider.NextAsync("state", text => text.StartsWith("""{"busy":true,"queue":1,""", StringComparison.Ordinal));
        }

        JsonElement running = await outsider.NextJsonAsync(Outsider.Reply);
        JsonElement waiting = await outsider.NextJsonAsync(Outsider.Reply);
        Assert.Equal(["running", "waiting"], [running.GetProperty("id").GetString()!, waiting.GetProperty("id").GetString()!]);
        Assert.All([running, waiting], error => Assert.Equal("interrupted", error.GetProperty("error").GetProperty("code").GetString()));
        Assert.Equal("offline", Outsider.Text(await outsider.NextAsync("availability")));

        await using Outsider later = await Outsider.ConnectAsync(broker.Port, "gemma4edge/kitchen/availability");
        MqttApplicationMessage retained = await later.NextAsync();
        Assert.Equal(("offline", true), (Outsider.Text(retained), retained.Retain));
    }

    [Fact]
    public async Task Will_SaysOffline_WhenTheNodeDies()
    {
        using var broker = new Mosquitto();
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, "gemma4edge/kitchen/availability");
        var topics = new NodeTopics("kitchen");
        var connection = new MqttConnection(
            new MqttOptions { Broker = $"mqtt://127.0.0.1:{broker.Port}" }, topics, new Outbox(),
            () => [new OutboundMessage(topics.Availability, "online"u8.ToArray()) { Retain = true }], _ => Task.CompletedTask, NullLogger.Instance);
        await connection.StartAsync(TestContext.Current.CancellationToken);
        Assert.Equal("online", Outsider.Text(await outsider.NextAsync()));
        connection.Dispose(); // the socket closes, nothing is said
        Assert.Equal("offline", Outsider.Text(await outsider.NextAsync()));
    }

    [Fact]
    public async Task Reconnects_AndAnswersAgain_AlsoWhatEndedMeanwhile()
    {
        using var broker = new Mosquitto();
        await using TestNode node = await TestNode.StartAsync(broker);
        await using (Outsider before = await Outsider.ConnectAsync(broker.Port, Outsider.Reply))
        {
            await before.PublishAsync("request", """{"id":"long","prompt":"wait"}""", Outsider.Reply);
            await WaitUntil(() => node.Model.Served.Queue.Busy);
            broker.Kill();
        }

        node.Model.Served.Queue.Cancel("long"); // ends while nobody can be told
        await WaitUntil(() => !node.Model.Served.Queue.Busy);
        broker.Start();

        await using Outsider after = await Outsider.ConnectAsync(broker.Port, Outsider.Reply, "gemma4edge/kitchen/availability");
        List<string> heard = [];
        while (!heard.Any(text => text.Contains("cancelled", StringComparison.Ordinal)) || !heard.Contains("online"))
        {
            heard.Add(Outsider.Text(await after.NextAsync()));
        }

        await after.PublishAsync("request", """{"id":"next","prompt":"hi"}""", Outsider.Reply);
        Assert.Equal("next", (await after.NextJsonAsync(Outsider.Reply)).GetProperty("id").GetString());
    }

    [Fact]
    public async Task RequestsSentWhileTheNodeIsAway_AreAnsweredWhenItIsBack()
    {
        using var broker = new Mosquitto();
        await using (await TestNode.StartAsync(broker))
        {
            // its session begins
        }

        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply);
        string[] ids = [.. Enumerable.Range(0, 60).Select(i => $"early-{i}")]; // more than the broker delivers without an answer
        foreach (string id in ids)
        {
            await outsider.PublishAsync("request", $$"""{"id":"{{id}}","prompt":"hi"}""", Outsider.Reply);
        }

        await using TestNode back = await TestNode.StartAsync(broker);
        List<string> answered = [];
        while (answered.Count < ids.Length)
        {
            answered.Add((await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("id").GetString()!);
        }

        Assert.Equal(ids.Order(StringComparer.Ordinal), answered.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task UnreachableBroker_AtTheStart_IsNamed()
    {
        int port = Mosquitto.FreePort();
        var problem = await Assert.ThrowsAsync<BrokerUnavailableException>(() => TestNode.StartAsync(
            change: options => options with { Mqtt = options.Mqtt with { Broker = $"mqtt://127.0.0.1:{port}" } }));
        Assert.Contains($"mqtt://127.0.0.1:{port}", problem.Message, StringComparison.Ordinal);
        Assert.Contains("refused", problem.Message, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task EmbeddedBroker_SaysThatItsPortIsTaken()
    {
        await using TestNode first = await TestNode.StartAsync();
        var problem = await Assert.ThrowsAsync<BrokerUnavailableException>(() => TestNode.StartAsync(
            change: options => options with { Mqtt = options.Mqtt with { EmbeddedPort = first.Port } }));
        Assert.Contains($"{first.Port}", problem.Message, StringComparison.Ordinal);
        Assert.Contains("EmbeddedPort", problem.Message, StringComparison.Ordinal);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task MosquittosRequestClient_GetsItsReply(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        string output = await RunAsync("mosquitto_rr", node.Port,
            "-V", "5", "-q", "1", "-W", "20", "-t", "gemma4edge/kitchen/request", "-e", "gemma4edge/reply/cli1", "-D", "publish", "message-expiry-interval", "60", "-m", """{"id":"a1","prompt":"Name three herbs."}""");
        JsonElement done = JsonDocument.Parse(output).RootElement;
        Assert.Equal(("done", "a1", "You said: Name three herbs."), (done.GetProperty("type").GetString(), done.GetProperty("id").GetString(), done.GetProperty("text").GetString()));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task MosquittosSimpleClients_SpeakMqtt311(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        Task<string> answer = RunAsync("mosquitto_sub", node.Port, "-V", "mqttv311", "-q", "1", "-W", "20", "-C", "1", "-t", "gemma4edge/kitchen/answer");
        await RunAsync("mosquitto_pub", node.Port, "-V", "mqttv311", "-q", "1", "-t", "gemma4edge/kitchen/prompt/set", "-m", "Name three herbs.");
        Assert.Equal("You said: Name three herbs.", JsonDocument.Parse(await answer).RootElement.GetProperty("text").GetString());
    }

    private static async Task<string> RunAsync(string program, int port, params string[] arguments)
    {
        string path = $"/usr/bin/{program}";
        Assert.SkipUnless(File.Exists(path), $"{path} is not installed");
        using var client = Process.Start(new ProcessStartInfo(path, ["-p", $"{port}", .. arguments]) { RedirectStandardOutput = true })!;
        string output = await client.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await client.WaitForExitAsync(TestContext.Current.CancellationToken);
        return output;
    }

    private static async Task WaitUntil(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.True(i < 1000, "it did not come to pass within 10 s");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }
}
