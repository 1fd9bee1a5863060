using System.Globalization;
using System.Text.Json;
using Gemma4Edge.Service;

namespace Gemma4Edge.Tests.Service;

/// <summary>The broker is killed while answers stream, again and again. GEMMA4EDGE_SOAK_COUNT raises how often.</summary>
public sealed class BrokerRestartTests : IDisposable
{
    private const int PromptsEach = 4;
    private static readonly int s_count = int.Parse(Environment.GetEnvironmentVariable("GEMMA4EDGE_SOAK_COUNT") ?? "10", CultureInfo.InvariantCulture);
    private readonly string _state = Directory.CreateTempSubdirectory("gemma4edge-broker-").FullName;
    private readonly Dictionary<string, string> _finals = [];
    private readonly HashSet<string> _sent = [];
    private int _finalsAgain;

    public void Dispose() => Directory.Delete(_state, recursive: true);

    /// <summary>Mosquitto acknowledges before it keeps, so its clients send again what is not answered, with the same id. Whatever the node let in is run once and answered.</summary>
    [Fact]
    public async Task KilledWhileAnswersStream_NothingIsLostOrRunTwice()
    {
        using var broker = new Mosquitto();
        var random = new Random(5);
        await using TestNode node = await TestNode.StartAsync(
            broker, capacity: 64, change: options => options with { Store = new StoreOptions { State = _state } }, model: new ScriptedModel(64) { WordTime = TimeSpan.FromMilliseconds(10) });
        for (int kill = 0; kill < s_count; kill++)
        {
            await using Outsider outsider = await ConnectAsync(broker);
            for (int i = 0; i < PromptsEach; i++)
            {
                _sent.Add($"{kill}-{i}");
            }

            await SendUnansweredAsync(outsider);
            await HearAsync(outsider, started: 1);
            await Task.Delay(random.Next(150), TestContext.Current.CancellationToken);
            broker.Kill();
            broker.Start();
        }

        await using (Outsider last = await ConnectAsync(broker))
        {
            await SendUnansweredAsync(last);
            await HearAsync(last, started: int.MaxValue);
        }

        Assert.Equal(_sent.Order(), _finals.Keys.Order());
        Assert.All(_finals, final => Assert.Equal($"done You said: one two three four {final.Key}", final.Value));
        Assert.Equal(_sent.Order(), node.Model.Seen.Select(request => request.Id).Order());
        TestContext.Current.TestOutputHelper?.WriteLine($"{s_count} kills of the broker, {_sent.Count} prompts, all answered; {_finalsAgain} finals were delivered more than once");
    }

    /// <summary>Connects, and waits until the node is back.</summary>
    private static async Task<Outsider> ConnectAsync(Mosquitto broker)
    {
        Outsider outsider = await Outsider.ConnectAsync(broker.Port, Outsider.Reply, "gemma4edge/kitchen/availability");
        await outsider.NextAsync("availability", text => text == "online");
        return outsider;
    }

    private async Task SendUnansweredAsync(Outsider outsider)
    {
        foreach (string id in _sent.Where(id => !_finals.ContainsKey(id)))
        {
            await outsider.PublishAsync("request", $$"""{"id":"{{id}}","prompt":"one two three four {{id}}","stream":true,"reply_to":"{{Outsider.Reply}}"}""");
        }
    }

    /// <summary>Takes what comes, until so many requests have started or all are answered.</summary>
    private async Task HearAsync(Outsider outsider, int started)
    {
        while (started > 0 && _finals.Count < _sent.Count)
        {
            JsonElement e = await outsider.NextJsonAsync(Outsider.Reply);
            string type = e.GetProperty("type").GetString()!;
            started -= type == "start" ? 1 : 0;
            if (type is "done" or "error")
            {
                _finalsAgain += _finals.TryAdd(e.GetProperty("id").GetString()!, type == "done" ? $"done {e.GetProperty("text").GetString()}" : e.GetRawText()) ? 0 : 1;
            }
        }
    }
}
