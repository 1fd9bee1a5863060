using System.Globalization;
using System.Text.Json;
using Gemma4Edge.Service.Durability;

namespace Gemma4Edge.Tests.Service.Durability;

/// <summary>SIGKILL with prompts queued and tools acting. GEMMA4EDGE_SOAK_KILLS raises the count.</summary>
public sealed class KillTests : IDisposable
{
    private static readonly int s_kills = int.Parse(Environment.GetEnvironmentVariable("GEMMA4EDGE_SOAK_KILLS") ?? "3", CultureInfo.InvariantCulture);
    private readonly string _folder = Directory.CreateTempSubdirectory("gemma4edge-kill-").FullName;

    private string ActsFile => Path.Combine(_folder, "acts");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Every prompt that the broker has for the node is answered, and nothing is done twice.</summary>
    [Fact]
    public async Task KilledAgainAndAgain_LosesNothingAndActsOnce()
    {
        using var broker = new Mosquitto();
        var random = new Random(11);
        await using Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply, "gemma4edge/kitchen/availability");
        File.WriteAllText(ActsFile, "");
        List<string> sent = [];
        NodeProcess node = await StartAsync(broker, outsider);
        Dictionary<string, string> finals = [];
        for (int kill = 0; kill < s_kills; kill++)
        {
            for (int i = 0; i < 4; i++)
            {
                string id = $"{kill}-{i}";
                sent.Add(id);
                string prompt = i == 1 ? $"act {id}" : "one two three four five six";
                await outsider.PublishAsync("request", $$"""{"id":"{{id}}","prompt":"{{prompt}}","stream":{{(i % 2 == 0 ? "true" : "false")}},"reply_to":"{{Outsider.Reply}}"}""");
            }

            await Task.Delay(random.Next(300), TestContext.Current.CancellationToken);
            node.Kill();
            node.Dispose();
            node = await StartAsync(broker, outsider, finals);
        }

        try
        {
            while (sent.Exists(id => !finals.ContainsKey(id)))
            {
                Note(await outsider.NextJsonAsync(Outsider.Reply), finals);
            }
        }
        catch (OperationCanceledException) when (!TestContext.Current.CancellationToken.IsCancellationRequested)
        {
            node.Dispose();
            using var ledger = new RequestLedger(_folder, TimeProvider.System);
            string open = string.Join(", ", ledger.Open().Select(entry => $"{entry.Id}: {entry.Starts} starts, final {entry.Final is not null}"));
            Assert.Fail($"No answer to {string.Join(", ", sent.Where(id => !finals.ContainsKey(id)))}. Open in the journal: {open}. {string.Join(", ", finals.CountBy(final => final.Value))}");
        }

        node.Dispose();
        string[] acts = File.ReadAllLines(ActsFile);
        Assert.Equal(acts.Distinct(), acts);
        ILookup<string, string> outcomes = finals.ToLookup(final => final.Value, final => final.Key);
        TestContext.Current.TestOutputHelper!.WriteLine($"{s_kills} kills, {sent.Count} prompts: {string.Join(", ", outcomes.Select(o => $"{o.Count()} {o.Key}"))}; {acts.Length} acts");
        Assert.All(outcomes, outcome => Assert.Contains(outcome.Key, (string[])["done", "interrupted", "internal", "queue_full"]));
        Assert.All(outcomes["interrupted"], id => Assert.EndsWith("-1", id, StringComparison.Ordinal)); // only what may have acted
        Assert.True(outcomes["done"].Count() >= sent.Count / 4);
    }

    /// <summary>A prompt that kills the process is tried twice, then told; the others are answered.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task PromptThatKills_IsNotTriedAThirdTime(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        int port = broker?.Port ?? Mosquitto.FreePort();
        var node = NodeProcess.Start(broker?.Port, port, _folder, ActsFile);
        Outsider? outsider = null;
        try
        {
            outsider = await Outsider.ConnectWhenUpAsync(port, Outsider.Reply, "gemma4edge/kitchen/availability");
            await outsider.NextAsync("availability", text => text == "online");
            await outsider.PublishAsync("request", """{"id":"deadly","prompt":"die"}""", Outsider.Reply);
            await outsider.PublishAsync("request", """{"id":"innocent","prompt":"hi"}""", Outsider.Reply);
        }
        catch (Exception died) when (died is not OperationCanceledException && !mosquitto)
        {
            // the embedded broker may be gone before it has answered: then the second one was never taken
        }

        for (int deaths = 0; deaths < 2; deaths++)
        {
            await node.ExitedAsync();
            node.Dispose();
            node = NodeProcess.Start(broker?.Port, port, _folder, ActsFile);
        }

        if (!mosquitto)
        {
            outsider = await Outsider.ConnectWhenUpAsync(port, Outsider.Reply, "gemma4edge/kitchen/availability");
            await outsider.PublishAsync("request", """{"id":"deadly","prompt":"die"}""", Outsider.Reply); // its sender asks again: the stored end
        }

        JsonElement end = await outsider!.NextJsonAsync(Outsider.Reply, patience: TimeSpan.FromMinutes(1));
        Assert.Equal(("deadly", "internal"), (end.GetProperty("id").GetString(), end.GetProperty("error").GetProperty("code").GetString()));
        if (mosquitto)
        {
            Assert.Equal("innocent", (await outsider.NextJsonAsync(Outsider.Reply)).GetProperty("id").GetString());
        }

        node.Dispose();
        await outsider.DisposeAsync();
    }

    private static void Note(JsonElement message, Dictionary<string, string> finals)
    {
        string outcome = message.GetProperty("type").GetString()!;
        if (outcome is "done" or "error")
        {
            finals[message.GetProperty("id").GetString()!] = outcome == "done" ? outcome : message.GetProperty("error").GetProperty("code").GetString()!;
        }
    }

    /// <summary>Starts a node and waits until it is online, noting what arrives meanwhile.</summary>
    private async Task<NodeProcess> StartAsync(Mosquitto broker, Outsider outsider, Dictionary<string, string>? finals = null)
    {
        var node = NodeProcess.Start(broker.Port, 0, _folder, ActsFile);
        while (true)
        {
            MQTTnet.MqttApplicationMessage message = await outsider.NextAsync();
            if (message.Topic != Outsider.Reply)
            {
                if (Outsider.Text(message) == "online")
                {
                    return node;
                }
            }
            else if (finals is not null)
            {
                Note(Outsider.Json(message), finals);
            }
        }
    }
}
