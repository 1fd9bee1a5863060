using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

/// <summary>Nodes are stopped in turn, by SIGTERM as systemd does it, while jobs come in. GEMMA4EDGE_SOAK_STOPS raises how often.</summary>
public sealed class PoolStopTests
{
    private const int Senders = 3;
    private static readonly int s_stops = int.Parse(Environment.GetEnvironmentVariable("GEMMA4EDGE_SOAK_STOPS") ?? "6", CultureInfo.InvariantCulture);
    private static readonly TimeSpan s_timeout = TimeSpan.FromMinutes(2);

    /// <summary>A job that is dealt to a node which goes is answered by it at once: no sender waits until it believes that the node is dead.</summary>
    [Fact]
    public async Task EveryJob_IsAnswered_WithoutAWaitForSilence()
    {
        using var broker = new Mosquitto();
        using var enough = new CancellationTokenSource();
        var waits = new ConcurrentBag<string>();
        int answered = 0;
        ServeProcess[] nodes = [Start(broker, 0), Start(broker, 1)];
        await using Outsider watcher = await Outsider.ConnectAsync(broker.Port, "gemma4edge/+/availability");
        await watcher.NextAsync(wanted: text => text == "online");
        await watcher.NextAsync(wanted: text => text == "online");
        Task[] senders = [.. Enumerable.Range(0, Senders).Select(SendAsync)];
        for (int stop = 0; stop < s_stops; stop++)
        {
            ServeProcess node = nodes[stop % 2];
            await Task.Delay(200 + Random.Shared.Next(300), TestContext.Current.CancellationToken);
            node.Terminate();
            Assert.Equal(0, await node.ExitAsync(TestContext.Current.CancellationToken));
            node.Dispose();
            nodes[stop % 2] = Start(broker, stop % 2);
            await watcher.NextAsync(wanted: text => text == "online");
        }

        await enough.CancelAsync();
        await Task.WhenAll(senders);
        Array.ForEach(nodes, node => node.Dispose());
        string summary = string.Join(", ", waits.CountBy(why => why).Select(pair => $"{pair.Value} × {pair.Key}"));
        TestContext.Current.TestOutputHelper!.WriteLine($"{s_stops} stops, {answered} prompts answered; sent again: {summary}");
        Assert.DoesNotContain(waits, why => why.Contains("sent nothing", StringComparison.Ordinal));

        async Task SendAsync(int sender)
        {
            await using PromptClient client = await PromptClient.ConnectAsync(new BrokerAddress("127.0.0.1", broker.Port), null, TestContext.Current.CancellationToken);
            for (int i = 0; !enough.IsCancellationRequested; i++)
            {
                var request = new OutgoingRequest("hello") { Id = $"{sender}-{i}", Stream = true, MaxTokens = 2 };
                await foreach (JsonElement e in client.SendToPoolAsync(PoolTests.Pool, request, s_timeout, waits.Add, TestContext.Current.CancellationToken))
                {
                    string type = e.GetProperty("type").GetString()!;
                    Assert.NotEqual("error", type);
                    Interlocked.Add(ref answered, type == "done" ? 1 : 0);
                }
            }
        }
    }

    private static ServeProcess Start(Mosquitto broker, int number) =>
        new($$"""{ "Mqtt": { "Node": "node-{{number}}", "Pools": ["{{PoolTests.Pool}}"], "Broker": "mqtt://127.0.0.1:{{broker.Port}}" } }""");
}
