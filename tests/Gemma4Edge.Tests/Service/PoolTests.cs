using System.Text;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;
using Microsoft.Extensions.Logging.Abstractions;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Tests.Service;

/// <summary>A pool on Mosquitto: which nodes get its jobs, and what a sender does when none will.</summary>
public sealed class PoolTests
{
    public const string Pool = "home";
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task BusyNode_LeavesThePool_AndComesBack()
    {
        using var broker = new Mosquitto();
        await using TestNode node = await StartAsync(broker, "kitchen");
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply);
        Assert.Equal("done", await AskAsync(outsider, "first"));
        await outsider.PublishAsync("request", """{"id":"long","prompt":"wait"}""", Outsider.Reply);
        await LeftAsync(outsider);
        await outsider.PublishAsync("cancel", """{"id":"long"}""");
        Assert.Equal("cancelled", (await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("error").GetProperty("code").GetString());
        Assert.Equal("done", await AskAsync(outsider, "second"));
        await outsider.PublishAsync("config/enabled/set", "OFF");
        await LeftAsync(outsider);
        await outsider.PublishAsync("config/enabled/set", "ON");
        Assert.Equal("done", await AskAsync(outsider, "third"));
    }

    [Fact]
    public async Task JobsDealtToABusyNode_AreAnsweredQueueFullAtOnce()
    {
        using var broker = new Mosquitto();
        await using TestNode node = await StartAsync(broker, "kitchen");
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply);
        await JoinedAsync(outsider);
        Task<MqttClientPublishResult>[] published = [.. Enumerable.Range(0, 8).Select(i => PublishAsync(outsider, $"j{i}", "wait"))];
        MqttClientPublishResult[] results = await Task.WhenAll(published);
        int dealt = results.Count(result => result.ReasonCode != MqttClientPublishReasonCode.NoMatchingSubscribers);
        for (int i = 1; i < dealt; i++)
        {
            Assert.Equal("queue_full", (await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("error").GetProperty("code").GetString());
        }

        await outsider.PublishAsync("cancel", "{}");
        Assert.Equal("cancelled", (await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("error").GetProperty("code").GetString());
        Assert.Single(node.Model.Seen, request => request.Prompt == "wait");
    }

    [Fact]
    public async Task SecondJob_IsRefused_WhileTheFirstWaits()
    {
        using var model = new ScriptedModel();
        var options = new ServiceOptions { Model = new ModelOptions { Path = "none" }, Mqtt = new MqttOptions { Node = "kitchen", Pools = [Pool] } };
        using var bridge = new MqttBridge(options, model.Served, new RequestLedger(null, TimeProvider.System), NullLogger<MqttBridge>.Instance);
        foreach (string id in new[] { "a", "b" })
        {
            await bridge.Receive(new InboundMessage(NodeTopics.PoolRequest(Pool), Encoding.UTF8.GetBytes($$"""{"id":"{{id}}","prompt":"hello"}""")) { Pool = true, ResponseTopic = Outsider.Reply });
        }

        OutboundMessage reply = await bridge.Outbox.TakeAsync(TestContext.Current.CancellationToken);
        JsonElement error = JsonElement.Parse(reply.Payload);
        Assert.Equal((Outsider.Reply, "b", "queue_full"), (reply.Topic, error.GetProperty("id").GetString(), error.GetProperty("error").GetProperty("code").GetString()));
        Assert.Equal(1, model.Served.Queue.Count);
    }

    [Fact]
    public async Task Sender_WaitsUntilANodeIsFree()
    {
        using var broker = new Mosquitto();
        await using PromptClient client = await PromptClient.ConnectAsync(new BrokerAddress("127.0.0.1", broker.Port), null, TestContext.Current.CancellationToken);
        List<string> waits = [];
        TestNode? node = null;
        List<JsonElement> events = [];
        await foreach (JsonElement e in client.SendToPoolAsync(Pool, new OutgoingRequest("hello") { Stream = true }, s_timeout, Wait, TestContext.Current.CancellationToken))
        {
            events.Add(e);
        }

        await node!.DisposeAsync();
        Assert.Equal("no node is free", waits[0]);
        Assert.Equal("You said: hello", events[^1].GetProperty("text").GetString());

        void Wait(string problem)
        {
            waits.Add(problem);
            node ??= StartAsync(broker, "kitchen").GetAwaiter().GetResult();
        }
    }

    /// <summary>A member that takes the job and dies silently; here it never was a node.</summary>
    [Fact]
    public async Task Sender_AsksAnother_WhenANodeFallsSilent()
    {
        using var broker = new Mosquitto();
        await using Outsider dead = await Outsider.ConnectAsync(broker.Port, $"$share/{Pool}/gemma4edge/fleet/{Pool}/request");
        await using PromptClient client = await PromptClient.ConnectAsync(new BrokerAddress("127.0.0.1", broker.Port), null, TestContext.Current.CancellationToken);
        List<string> waits = [];
        TestNode? node = null;
        JsonElement last = default;
        await foreach (JsonElement e in client.SendToPoolAsync(Pool, new OutgoingRequest("hello"), TimeSpan.FromSeconds(16), Wait, TestContext.Current.CancellationToken))
        {
            last = e;
        }

        await node!.DisposeAsync();
        Assert.Equal("a node took the request and sent nothing for 4 s", waits[0]);
        Assert.All(waits.Skip(1), why => Assert.Equal("no node is free", why)); // the new one may still be on its way into the pool
        Assert.Equal("done", last.GetProperty("type").GetString());
        Assert.Single(node.Model.Seen);

        void Wait(string problem)
        {
            waits.Add(problem);
            if (node is null)
            {
                dead.Client.DisconnectAsync().GetAwaiter().GetResult();
                node = StartAsync(broker, "kitchen").GetAwaiter().GetResult();
            }
        }
    }

    [Fact]
    public async Task Sender_GivesUp_WhenNobodyIsThere()
    {
        using var broker = new Mosquitto();
        await using PromptClient client = await PromptClient.ConnectAsync(new BrokerAddress("127.0.0.1", broker.Port), null, TestContext.Current.CancellationToken);
        var problem = await Assert.ThrowsAsync<TimeoutException>(async () =>
        {
            await foreach (JsonElement e in client.SendToPoolAsync(Pool, new OutgoingRequest("hello"), TimeSpan.FromSeconds(1), _ => { }, TestContext.Current.CancellationToken))
            {
                Assert.Fail("nobody can have answered");
            }
        });
        Assert.Contains("Pool home", problem.Message, StringComparison.Ordinal);
        Assert.Contains("no node is free", problem.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"type":"error","error":{"code":"queue_full"}}""", true)]
    [InlineData("""{"type":"error","error":{"code":"interrupted"}}""", true)]
    [InlineData("""{"type":"error","error":{"code":"interrupted","may_have_acted":true}}""", false)]
    [InlineData("""{"type":"error","error":{"code":"bad_request"}}""", false)]
    [InlineData("""{"type":"error","error":{"code":"cancelled"}}""", false)]
    [InlineData("""{"type":"done"}""", false)]
    public void Retry_OnlyWhereAnotherNodeMayHaveTheAnswer(string json, bool again)
    {
        var retry = new PoolRetry(s_timeout, isStream: true);
        Assert.Equal(again, retry.Judge(new Heard(JsonElement.Parse(json), retry.NextAttempt())) is not null);
    }

    [Fact]
    public void Retry_NeverAfterAToolWasCalled()
    {
        var retry = new PoolRetry(s_timeout, isStream: true);
        int attempt = retry.NextAttempt();
        Assert.Null(retry.Judge(new Heard(JsonElement.Parse("""{"type":"tool_call","name":"open_safe","declared":false}"""), attempt)));
        Assert.NotNull(retry.Judge(null));
        Assert.NotNull(retry.NextDelay());
        attempt = retry.NextAttempt();
        Assert.Null(retry.Judge(new Heard(JsonElement.Parse("""{"type":"tool_call","name":"set_light"}"""), attempt)));
        Assert.NotNull(retry.Judge(null));
        Assert.Null(retry.NextDelay());
    }

    [Fact]
    public void Retry_TakesTheEndOfAnAttemptThatWasGivenUp_ButNothingElseOfIt()
    {
        var retry = new PoolRetry(s_timeout, isStream: true);
        int old = retry.NextAttempt();
        retry.NextAttempt();
        Assert.False(retry.IsCurrent(new Heard(JsonElement.Parse("""{"type":"delta"}"""), old)));
        Heard late = new(JsonElement.Parse("""{"type":"error","error":{"code":"interrupted"}}"""), old);
        Assert.False(retry.IsCurrent(late));
        Assert.Null(retry.Judge(late));
        Assert.True(retry.IsCurrent(new Heard(JsonElement.Parse("""{"type":"done"}"""), old)));
    }

    internal static Task<TestNode> StartAsync(Mosquitto broker, string name, TimeSpan pace = default) =>
        TestNode.StartAsync(broker, change: options => options with { Mqtt = options.Mqtt with { Node = name, Pools = [Pool] } }, pace: pace);

    private static Task<MqttClientPublishResult> PublishAsync(Outsider outsider, string id, string prompt) => outsider.Client.PublishAsync(
        new MqttApplicationMessage
        {
            Topic = $"gemma4edge/fleet/{Pool}/request",
            PayloadSegment = Encoding.UTF8.GetBytes($$"""{"id":"{{id}}","prompt":"{{prompt}}"}"""),
            ResponseTopic = Outsider.Reply,
            QualityOfServiceLevel = MqttQualityOfServiceLevel.AtLeastOnce,
        },
        TestContext.Current.CancellationToken);

    /// <summary>Sends a job until somebody takes it; the type of its final.</summary>
    private static async Task<string> AskAsync(Outsider outsider, string id)
    {
        await UntilAsync(async () => (await PublishAsync(outsider, id, "hello")).ReasonCode != MqttClientPublishReasonCode.NoMatchingSubscribers);
        return (await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains($"\"{id}\"", StringComparison.Ordinal))).GetProperty("type").GetString()!;
    }

    private static async Task JoinedAsync(Outsider outsider) => Assert.Equal("done", await AskAsync(outsider, Guid.NewGuid().ToString("N")));

    /// <summary>Waits until the broker knows no member any more. A marked message is no job.</summary>
    private static Task LeftAsync(Outsider outsider) => UntilAsync(async () =>
        (await outsider.Client.PublishAsync(SubscriptionProbe.MessageOn(NodeTopics.PoolRequest(Pool)), TestContext.Current.CancellationToken)).ReasonCode == MqttClientPublishReasonCode.NoMatchingSubscribers);

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        for (int i = 0; !await condition(); i++)
        {
            Assert.True(i < 500, "it did not come to pass within 10 s");
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }
}
