using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

/// <summary>A node is online only when it hears: Mosquitto grants every subscription, also those that its access rules forbid.</summary>
public sealed class SubscriptionProbeTests
{
    private const string MayRead = "pattern readwrite gemma4edge/%u/#";

    [Theory]
    [InlineData("pattern write gemma4edge/%u/#", "gemma4edge/kitchen/request, gemma4edge/kitchen/prompt/set, gemma4edge/kitchen/cancel")]
    [InlineData("pattern write gemma4edge/%u/#\npattern read gemma4edge/%u/request\npattern read gemma4edge/%u/+/set\npattern read gemma4edge/%u/session/clear\npattern read gemma4edge/%u/config/+/set", "delivers nothing on gemma4edge/kitchen/cancel.")]
    public async Task NodeThatMayNotRead_IsNotOnline_AndNamesTheTopics(string rule, string topics)
    {
        using var broker = new GuardedMosquitto(acl: rules => rules.Replace(MayRead, rule, StringComparison.Ordinal));
        await using Outsider person = await broker.ConnectAsync("operator", "gemma4edge/kitchen/availability");
        var problem = await Assert.ThrowsAsync<BrokerUnavailableException>(() => TestNode.StartAsync(change: broker.Secure));
        Assert.Contains(topics, problem.Message, StringComparison.Ordinal);
        Assert.Contains($"acl_file: {MayRead}", problem.Message, StringComparison.Ordinal);
        Assert.Equal("offline", Outsider.Text(await person.NextAsync()));
        Assert.DoesNotContain('\n', problem.Message);
    }

    [Fact]
    public async Task NodeThatMayNotReadAnyMore_GoesOffline_UntilItMay()
    {
        string rules = "";
        using var broker = new GuardedMosquitto(acl: given => rules = given);
        await using TestNode node = await TestNode.StartAsync(change: broker.Secure);
        broker.Broker.Kill();
        broker.WriteAcl(rules.Replace(MayRead, "pattern write gemma4edge/%u/#", StringComparison.Ordinal));
        broker.Broker.Start();
        await using Outsider person = await broker.ConnectAsync("operator", "gemma4edge/kitchen/availability");
        Assert.Equal("offline", Outsider.Text(await person.NextAsync()));
        broker.WriteAcl(rules);
        broker.Broker.Reload();
        Assert.Equal("online", Outsider.Text(await person.NextAsync(wanted: text => text == "online")));
    }

    /// <summary>A node that may only read its topics cannot prove it, and works.</summary>
    [Fact]
    public async Task NodeThatMayOnlyRead_WorksAllTheSame()
    {
        using var broker = new GuardedMosquitto(acl: rules => rules.Replace(
            MayRead, "pattern read gemma4edge/%u/#\n" + string.Join('\n', new[] { "response", "answer", "prompt", "availability", "info", "state", "telemetry", "event" }.Select(topic => $"pattern write gemma4edge/%u/{topic}")), StringComparison.Ordinal));
        await using TestNode node = await TestNode.StartAsync(change: broker.Secure);
        await using Outsider person = await broker.ConnectAsync("operator", Outsider.Reply, "gemma4edge/kitchen/availability");
        Assert.Equal("online", Outsider.Text(await person.NextAsync("availability")));
        await person.PublishAsync("request", """{"prompt":"hello"}""", Outsider.Reply);
        Assert.Equal("done", (await person.NextJsonAsync(Outsider.Reply)).GetProperty("type").GetString());
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task Probes_AreNoCommands_WhoeverSendsThem(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        await using TestNode node = await TestNode.StartAsync(broker);
        await using Outsider person = await Outsider.ConnectAsync(node.Port, "gemma4edge/kitchen/response", "gemma4edge/kitchen/answer", "gemma4edge/kitchen/prompt", Outsider.Reply);
        foreach (string topic in new NodeTopics("kitchen").InboundProbes)
        {
            await person.Client.PublishAsync(SubscriptionProbe.MessageOn(topic), TestContext.Current.CancellationToken);
        }

        Assert.Empty(await person.DrainAsync());
        Assert.Equal("last", Assert.Single(node.Model.Seen).Prompt);
    }
}
