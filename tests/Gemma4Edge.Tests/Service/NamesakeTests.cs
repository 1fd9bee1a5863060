using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Tests.Service.Systemd;

namespace Gemma4Edge.Tests.Service;

/// <summary>Two processes of one name at one broker, which lets only one of them in.</summary>
public sealed class NamesakeTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(40);

    /// <summary>One of them works undisturbed, the other says what is wrong and waits for its turn; no request that was sent meanwhile stays without an answer.</summary>
    [Fact]
    public async Task OneWorks_TheOtherStandsBack_UntilItIsGone()
    {
        using var broker = new Mosquitto();
        using var first = new NotifyListener();
        using var second = new NotifyListener();
        NotifyListener[] listeners = [first, second];
        TestNode older = await TestNode.StartAsync(broker, systemd: listeners[0].Notifier);
        await using Outsider outsider = await Outsider.ConnectAsync(older.Port, Outsider.Reply);
        using var enough = new CancellationTokenSource();
        Task<int> sending = SendAsync(outsider, enough.Token);
        TestNode newer = await TestNode.StartAsync(broker, systemd: listeners[1].Notifier);
        Task<string?>[] statuses = [.. listeners.Select(listener => listener.NextAsync("STATUS=idle; stands back: ", s_patience))];
        Task<string?> standsBack = await Task.WhenAny(statuses);
        Assert.EndsWith(" is online as kitchen", await standsBack, StringComparison.Ordinal);
        (TestNode works, TestNode waits) = standsBack == statuses[0] ? (newer, older) : (older, newer);

        await using Outsider watcher = await Outsider.ConnectAsync(older.Port, "gemma4edge/kitchen/availability", "gemma4edge/kitchen/info");
        await watcher.NextAsync("availability", text => text == "online");
        int seen = waits.Model.Seen.Count;
        await Task.Delay(5000, TestContext.Current.CancellationToken);
        await enough.CancelAsync();
        int sent = await sending;
        HashSet<string> answered = [];
        while (answered.Count < sent)
        {
            answered.Add((await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("id").GetString()!);
        }

        Assert.Equal(seen, waits.Model.Seen.Count);
        TestContext.Current.TestOutputHelper!.WriteLine($"{sent} requests: {works.Model.Seen.Count} by the one that works, {waits.Model.Seen.Count} by the one that stands back");

        await works.DisposeAsync();
        Assert.Equal("offline", Outsider.Text(await watcher.NextAsync("availability"))); // the one that stood back had nothing to say before
        Assert.Equal("online", Outsider.Text(await watcher.NextAsync("availability", patience: s_patience)));
        await outsider.PublishAsync("request", """{"id":"later","prompt":"hi"}""", Outsider.Reply);
        Assert.Equal("done", (await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains("later", StringComparison.Ordinal))).GetProperty("type").GetString());
        await waits.DisposeAsync();
        Assert.Equal("offline", Outsider.Text(await watcher.NextAsync("availability")));
    }

    /// <summary>Its broker hands the node everything by itself: a second one would do it all again.</summary>
    [Fact]
    public async Task EmbeddedBroker_LetsNobodyElseInAsItsNode()
    {
        await using TestNode node = await TestNode.StartAsync();
        var refused = await Assert.ThrowsAsync<BrokerUnavailableException>(() => TestNode.StartAsync(
            change: options => options with { Mqtt = options.Mqtt with { Broker = $"mqtt://127.0.0.1:{node.Port}" } }));
        Assert.Contains("part of node 'kitchen'", refused.Message, StringComparison.Ordinal);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await outsider.PublishAsync("request", """{"id":"a","prompt":"hi"}""", Outsider.Reply);
        Assert.Equal("done", (await outsider.NextJsonAsync()).GetProperty("type").GetString());
    }

    private static async Task<int> SendAsync(Outsider outsider, CancellationToken enough)
    {
        for (int i = 0; ; i++)
        {
            if (enough.IsCancellationRequested)
            {
                return i;
            }

            await outsider.PublishAsync("request", $$"""{"id":"{{i}}","prompt":"hi"}""", Outsider.Reply);
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }
}
