using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;
using MQTTnet;

namespace Gemma4Edge.Tests.Service;

/// <summary>Three nodes of a pool on one Mosquitto.</summary>
public sealed class FleetTests
{
    private const int Senders = 6;
    private const int PromptsEach = 10;
    private const string Pool = PoolTests.Pool;

    /// <summary>60 prompts, uneven nodes; one hangs and is then killed with whatever it had taken.</summary>
    [Fact]
    public async Task EveryPrompt_IsAnsweredOnce_ThoughANodeDies_AndNoneWaitsAtABusyNode()
    {
        using var broker = new Mosquitto();
        await using Outsider monitor = await Outsider.ConnectAsync(broker.Port, "gemma4edge/reply/#", "gemma4edge/doomed/availability");
        await using TestNode fast = await PoolTests.StartAsync(broker, "fast", TimeSpan.FromMilliseconds(20));
        await using TestNode slow = await PoolTests.StartAsync(broker, "slow", TimeSpan.FromMilliseconds(200));
        using var doomed = new ServeProcess($$"""{ "Mqtt": { "Node": "doomed", "Pools": ["{{Pool}}"], "Broker": "mqtt://127.0.0.1:{{broker.Port}}" } }""");
        Assert.Equal("online", Outsider.Text(await monitor.NextAsync("gemma4edge/doomed/availability")));
        await using (PromptClient direct = await PromptClient.ConnectAsync(new BrokerAddress("127.0.0.1", broker.Port), null, TestContext.Current.CancellationToken))
        {
            await foreach (JsonElement _ in direct.SendAsync("doomed", new OutgoingRequest("hello") { Id = "direct", MaxTokens = 2 }, TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken))
            {
                // it works, and is as fast as it will be
            }
        }

        var answered = new ConcurrentDictionary<string, JsonElement>();
        var waits = new ConcurrentBag<string>();
        long start = Stopwatch.GetTimestamp();
        Task[] senders = [.. Enumerable.Range(0, Senders).Select(sender => SendAsync(broker.Port, sender, answered, waits))];
        await UntilAsync(() => answered.Count >= Senders * PromptsEach / 3, senders);
        doomed.Freeze(); // it holds a job, or is still a member and gets one
        int before = answered.Count;
        await UntilAsync(() => answered.Count >= before + 10, senders);
        doomed.Kill();
        await Task.WhenAll(senders);
        TimeSpan took = Stopwatch.GetElapsedTime(start);

        Assert.Equal(Senders * PromptsEach, answered.Count);
        Assert.All(answered.Values, final => Assert.Equal("done", final.GetProperty("type").GetString()));
        Dictionary<string, int> finals = await FinalsAsync(monitor, broker.Port, answered.Count);
        Assert.All(answered.Keys, id => Assert.True(finals[id] == 1, $"{id} got {finals[id]} finals"));
        foreach (TestNode node in new[] { fast, slow })
        {
            // what reaches a node is started at once: a job never lies at one node while another has nothing to do
            foreach ((var earlier, var later) in node.Model.Done.Zip(node.Model.Done.Skip(1)))
            {
                Assert.True(later.Received >= earlier.End, $"{later.Id} came to {node.Options.Mqtt.Node} while {earlier.Id} was worked on");
            }
        }

        int byDoomed = answered.Count - fast.Model.Done.Count - slow.Model.Done.Count;
        Assert.True(fast.Model.Done.Count > slow.Model.Done.Count, $"fast {fast.Model.Done.Count}, slow {slow.Model.Done.Count}");
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{took.TotalSeconds:F1} s; fast {fast.Model.Done.Count}, slow {slow.Model.Done.Count}, doomed {byDoomed}; sent again: {string.Join(", ", waits.CountBy(why => why).Select(pair => $"{pair.Value} × {pair.Key}"))}");
    }

    /// <summary>With mosquitto_pub, which knows nothing of us: one node is off, one busy; the sender asks again where it is told to.</summary>
    [Fact]
    public async Task JobsOfMosquittoPub_AreAnswered_OrItsSenderIsTold()
    {
        const string Program = "/usr/bin/mosquitto_pub";
        Assert.SkipUnless(File.Exists(Program), $"{Program} is not installed");
        using var broker = new Mosquitto();
        await using TestNode free = await PoolTests.StartAsync(broker, "free", TimeSpan.FromMilliseconds(20));
        await using TestNode busy = await PoolTests.StartAsync(broker, "kitchen");
        await using (await PoolTests.StartAsync(broker, "stopped"))
        {
            // and away
        }

        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, "gemma4edge/reply/f", "gemma4edge/kitchen/state");
        await outsider.PublishAsync("request", """{"id":"long","prompt":"wait"}""", "gemma4edge/reply/f");
        await outsider.NextAsync("state", text => text.StartsWith("""{"busy":true""", StringComparison.Ordinal));
        for (int i = 1; i <= 10; i++)
        {
            string id = $"j{i}";
            string type = "";
            for (int attempts = 0; type != "done"; attempts++)
            {
                Assert.True(attempts < 100, $"{id} is never taken");
                using var pub = Process.Start(new ProcessStartInfo(Program,
                [
                    "-p", $"{broker.Port}", "-V", "5", "-q", "1", "-t", $"gemma4edge/fleet/{Pool}/request", "-D", "publish", "response-topic", "gemma4edge/reply/f",
                    "-D", "publish", "message-expiry-interval", "120", "-m", $$"""{"id":"{{id}}","prompt":"{{i}}"}""",
                ])
                { RedirectStandardError = true, RedirectStandardOutput = true })!;
                string said = await pub.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken) + await pub.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
                await pub.WaitForExitAsync(TestContext.Current.CancellationToken);
                if (!said.Contains("No matching subscribers", StringComparison.OrdinalIgnoreCase))
                {
                    JsonElement final = await outsider.NextJsonAsync("gemma4edge/reply/f");
                    Assert.Equal(id, final.GetProperty("id").GetString());
                    type = final.GetProperty("type").GetString()!;
                    Assert.True(type == "done" || final.GetProperty("error").GetProperty("code").GetString() == "queue_full", final.GetRawText());
                }
            }
        }

        Assert.Equal(10, free.Model.Done.Count);
        Assert.Equal("long", Assert.Single(busy.Model.Seen).Id);
    }

    private static async Task SendAsync(int port, int sender, ConcurrentDictionary<string, JsonElement> answered, ConcurrentBag<string> waits)
    {
        await using PromptClient client = await PromptClient.ConnectAsync(new BrokerAddress("127.0.0.1", port), null, TestContext.Current.CancellationToken);
        for (int i = 0; i < PromptsEach; i++)
        {
            var request = new OutgoingRequest($"prompt {i} of {sender}") { Id = $"{sender}-{i}", Stream = true, MaxTokens = 16 };
            await foreach (JsonElement e in client.SendToPoolAsync(Pool, request, TimeSpan.FromMinutes(1), waits.Add, TestContext.Current.CancellationToken))
            {
                if (e.GetProperty("type").GetString() is "done" or "error")
                {
                    Assert.True(answered.TryAdd(request.Id, e), $"{request.Id} was answered twice");
                }
            }
        }
    }

    private static async Task UntilAsync(Func<bool> condition, Task[] senders)
    {
        while (!condition() && senders.All(sender => !sender.IsCompleted))
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>How many <c>done</c> each request got, of everything that was published before now.</summary>
    private static async Task<Dictionary<string, int>> FinalsAsync(Outsider monitor, int port, int atLeast)
    {
        await using Outsider last = await Outsider.ConnectAsync(port);
        await last.Client.PublishStringAsync("gemma4edge/reply/last", "", cancellationToken: TestContext.Current.CancellationToken);
        Dictionary<string, int> finals = [];
        while (true)
        {
            MqttApplicationMessage message = await monitor.NextAsync();
            if (message.Topic == "gemma4edge/reply/last")
            {
                Assert.True(finals.Count >= atLeast);
                return finals;
            }

            if (message.Topic.StartsWith("gemma4edge/reply/", StringComparison.Ordinal) && Outsider.Json(message) is var e && e.GetProperty("type").GetString() == "done")
            {
                string id = e.GetProperty("id").GetString()!;
                finals[id] = finals.GetValueOrDefault(id) + 1;
            }
        }
    }
}
