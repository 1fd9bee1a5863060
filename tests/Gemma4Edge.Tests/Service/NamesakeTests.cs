using System.Net;
using System.Net.Sockets;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Tests.Service.Systemd;
using Microsoft.Extensions.Logging.Abstractions;
using MQTTnet;
using MQTTnet.Formatter;

namespace Gemma4Edge.Tests.Service;

/// <summary>Two processes of one name at one broker, which lets only one of them in.</summary>
public sealed class NamesakeTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(40);

    /// <summary>The older works undisturbed; the newer says what is wrong and waits for its turn.</summary>
    [Fact]
    public async Task TheNewerStandsBack_UntilTheOlderIsGone()
    {
        using var broker = new Mosquitto();
        using var listener = new NotifyListener();
        TestNode older = await TestNode.StartAsync(broker);
        await using Outsider outsider = await Outsider.ConnectAsync(older.Port, Outsider.Reply);
        using var enough = new CancellationTokenSource();
        Task<int> sending = SendAsync(outsider, enough.Token);
        TestNode newer = await TestNode.StartAsync(broker, systemd: listener.Notifier);
        Assert.EndsWith(" is online as kitchen", await listener.NextAsync("STATUS=idle; stands back: ", s_patience), StringComparison.Ordinal);
        await using Outsider watcher = await Outsider.ConnectAsync(older.Port, "gemma4edge/kitchen/availability", "gemma4edge/kitchen/info");
        await watcher.NextAsync("availability", text => text == "online");
        await Task.Delay(3000, TestContext.Current.CancellationToken);
        await enough.CancelAsync();
        int sent = await sending;
        HashSet<string> answered = [];
        while (answered.Count < sent)
        {
            answered.Add((await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("id").GetString()!);
        }

        Assert.Empty(newer.Model.Seen);
        Assert.Equal(older.Model.Seen.Count, older.Model.Seen.DistinctBy(request => request.Id).Count());
        await older.DisposeAsync();
        Assert.Equal("offline", Outsider.Text(await watcher.NextAsync("availability"))); // the one that stood back had nothing to say before
        Assert.Equal("online", Outsider.Text(await watcher.NextAsync("availability", patience: s_patience)));
        await outsider.PublishAsync("request", """{"id":"later","prompt":"hi"}""", Outsider.Reply);
        Assert.Equal("done", (await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains("later", StringComparison.Ordinal))).GetProperty("type").GetString());
        await newer.DisposeAsync();
        Assert.Equal("offline", Outsider.Text(await watcher.NextAsync("availability")));
    }

    /// <summary>The other one stirs too late, and comes back before the node has said that it is online: the node starts nevertheless, and waits for its turn.</summary>
    [Fact]
    public async Task NodeThatIsPushedOutWhileItStarts_StandsBack()
    {
        using var broker = new Mosquitto();
        using var listener = new NotifyListener();
        using IMqttClient other = new MqttClientFactory().CreateMqttClient();
        MqttClientOptions options = new MqttClientOptionsBuilder().WithTcpServer("127.0.0.1", broker.Port).WithProtocolVersion(MqttProtocolVersion.V500).WithClientId(MqttConnection.ClientIdOf("kitchen")).Build();
        await other.ConnectAsync(options, TestContext.Current.CancellationToken);
        await AnnounceAsync(other);
        other.DisconnectedAsync += async _ =>
        {
            await other.ConnectAsync(options);
            await AnnounceAsync(other);
            while (other.IsConnected)
            {
                await other.PublishStringAsync("gemma4edge/kitchen/telemetry", "{}");
                await Task.Delay(500);
            }
        };
        await using TestNode node = await TestNode.StartAsync(broker, systemd: listener.Notifier);
        Assert.Equal("STATUS=idle; stands back: attic-1 is online as kitchen", await listener.NextAsync("STATUS=idle; stands back", s_patience));
    }

    /// <summary>What a broker has kept of a node that is no more must not keep another off for ever.</summary>
    [Fact]
    public async Task NamesakeThatNeverStirs_IsNotWaitedFor()
    {
        using var broker = new Mosquitto();
        await using (Outsider dead = await Outsider.ConnectAsync(broker.Port))
        {
            await AnnounceAsync(dead.Client);
        }

        Namesake namesake = At(broker.Port);
        Assert.False(await namesake.IsAliveAsync(mayHaveJustCome: false, TestContext.Current.CancellationToken));
        Task waiting = namesake.WaitUntilGoneAsync(TestContext.Current.CancellationToken);
        await Task.Delay(3000, TestContext.Current.CancellationToken);
        Assert.Equal("attic-1", namesake.StandsBackFor);
        await waiting.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        Assert.Null(namesake.StandsBackFor);
    }

    /// <summary>A node that has nothing to do, and whose telemetry comes once an hour, lives nevertheless. That the looking connection breaks says nothing about it.</summary>
    [Fact]
    public async Task NamesakeThatIsIdle_IsWaitedFor()
    {
        using var broker = new Mosquitto();
        await using TestNode idle = await TestNode.StartAsync(broker, change: options => options with { Telemetry = options.Telemetry with { IntervalSeconds = 3600 } });
        await Task.Delay(1000, TestContext.Current.CancellationToken); // what it says at its start has been said
        Namesake namesake = At(broker.Port);
        Assert.True(await namesake.IsAliveAsync(mayHaveJustCome: false, TestContext.Current.CancellationToken));
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        Task waiting = namesake.WaitUntilGoneAsync(enough.Token);
        await Task.Delay(namesake.Silence + TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken);
        Assert.False(waiting.IsCompleted);
        Assert.NotNull(namesake.StandsBackFor);
        await (await Outsider.ReturnAsync(broker.Port, $"gemma4edge-kitchen-{namesake.Instance}")).DisposeAsync(); // throws the looking connection out
        while (namesake.StandsBackFor is not null)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        await Task.Delay(6000, TestContext.Current.CancellationToken);
        Assert.False(waiting.IsCompleted);
        Assert.NotNull(namesake.StandsBackFor);
        await enough.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    /// <summary>One that goes while it is looked for is not waited for any longer.</summary>
    [Fact]
    public async Task NamesakeThatGoesMeanwhile_IsNotWaitedFor()
    {
        using var broker = new Mosquitto();
        await using Outsider other = await Outsider.ConnectAsync(broker.Port);
        await other.Client.PublishStringAsync("gemma4edge/kitchen/availability", "online", retain: true, cancellationToken: TestContext.Current.CancellationToken); // of an earlier version: it has no info that names it
        Task<bool> looking = At(broker.Port).IsAliveAsync(mayHaveJustCome: false, TestContext.Current.CancellationToken);
        await Task.Delay(1000, TestContext.Current.CancellationToken);
        Assert.False(looking.IsCompleted);
        await other.Client.PublishStringAsync("gemma4edge/kitchen/availability", "offline", retain: true, cancellationToken: TestContext.Current.CancellationToken);
        Assert.False(await looking.WaitAsync(TimeSpan.FromSeconds(9), TestContext.Current.CancellationToken));
    }

    /// <summary>Where nobody answers, the look says so: a connect after it would wait as long again.</summary>
    [Fact]
    public async Task BrokerThatIsSilentOrAway_IsToldAtOnce()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        var unanswered = await Assert.ThrowsAsync<BrokerUnavailableException>(
            () => At(((IPEndPoint)silent.LocalEndpoint).Port).IsAliveAsync(mayHaveJustCome: false, TestContext.Current.CancellationToken));
        Assert.Contains("has not answered within", unanswered.Message, StringComparison.Ordinal);
        int port = Mosquitto.FreePort();
        await Assert.ThrowsAsync<BrokerUnavailableException>(() => At(port).WaitUntilGoneAsync(TestContext.Current.CancellationToken));
        var embedded = new Namesake(new MqttOptions { Broker = MqttOptions.Embedded, EmbeddedPort = port }, new NodeTopics("kitchen"), NullLogger.Instance);
        await embedded.WaitUntilGoneAsync(TestContext.Current.CancellationToken); // does not look: it lets nobody else in
    }

    /// <summary>Its broker hands the node everything by itself: a second one would do it all again.</summary>
    [Fact]
    public async Task EmbeddedBroker_LetsNobodyElseInAsItsNode()
    {
        await using TestNode node = await TestNode.StartAsync();
        var broker = new BrokerAddress("127.0.0.1", node.Port);
        using IMqttClient other = BrokerConnection.NewClient();
        MqttClientOptions options = BrokerConnection.Options(broker, MqttConnection.ClientIdOf("kitchen"), new BrokerCredentials()).Build();
        var refused = await Assert.ThrowsAsync<BrokerUnavailableException>(() => BrokerConnection.ConnectAsync(other, broker, options, TestContext.Current.CancellationToken));
        Assert.Contains("part of node 'kitchen'", refused.Message, StringComparison.Ordinal);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await outsider.PublishAsync("request", """{"id":"a","prompt":"hi"}""", Outsider.Reply);
        Assert.Equal("done", (await outsider.NextJsonAsync()).GetProperty("type").GetString());
    }

    private static Namesake At(int port) =>
        new(new MqttOptions { Broker = $"mqtt://127.0.0.1:{port}" }, new NodeTopics("kitchen"), NullLogger.Instance) { Silence = TimeSpan.FromSeconds(6) };

    private static async Task AnnounceAsync(IMqttClient client)
    {
        await client.PublishStringAsync("gemma4edge/kitchen/info", """{"version":"0.1.0","node":"kitchen","instance":"attic-1"}""", retain: true);
        await client.PublishStringAsync("gemma4edge/kitchen/availability", "online", retain: true);
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
            await Task.Delay(30, TestContext.Current.CancellationToken);
        }
    }
}
