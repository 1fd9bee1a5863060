using System.Globalization;
using System.Text;
using System.Text.Json;
using Gemma4Edge.Tests.Service.Durability;
using MQTTnet;
using MQTTnet.Protocol;

namespace Gemma4Edge.Tests.Service.Faults;

/// <summary>Nonsense on every topic that a node listens to. GEMMA4EDGE_SOAK_FUZZ raises the count.</summary>
public sealed class FuzzTests : IDisposable
{
    private const int UnderWay = 64;
    private static readonly int s_count = int.Parse(Environment.GetEnvironmentVariable("GEMMA4EDGE_SOAK_FUZZ") ?? "2000", CultureInfo.InvariantCulture);
    private static readonly string[] s_topics = ["request", "prompt/set", "cancel", "session/clear", "config/max_tokens/set", "config/temperature/set", "config/nonsense/set"];
    private readonly string _state = Directory.CreateTempSubdirectory("gemma4edge-fuzz-").FullName;

    public void Dispose() => Directory.Delete(_state, recursive: true);

    /// <summary>The node lives, answers a proper request afterwards, and its own memory is what it was.</summary>
    [Theory, InlineData(true), InlineData(false)]
    public async Task Nonsense_HarmsNothing(bool mosquitto)
    {
        using Mosquitto? broker = mosquitto ? new Mosquitto() : null;
        int port = broker?.Port ?? Mosquitto.FreePort();
        using var node = NodeProcess.Start(broker?.Port, port, _state, Path.Combine(_state, "acts"));
        await using Outsider outsider = await Outsider.ConnectWhenUpAsync(port, Outsider.Reply, "gemma4edge/kitchen/availability");
        await outsider.NextAsync("availability", text => text == "online");
        var random = new Random(4);
        await SendAsync(outsider, random, s_count / 4);
        await outsider.PublishAsync("cancel", "{}"); // some of it is a prompt, and waits
        _ = await outsider.DrainAsync();
        long before = node.AnonymousBytes();
        await SendAsync(outsider, random, s_count - (s_count / 4));
        await outsider.PublishAsync("cancel", "{}");
        await outsider.PublishAsync("request", """{"id":"proper","prompt":"hi"}""", Outsider.Reply);
        JsonElement done = await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains("\"id\":\"proper\"", StringComparison.Ordinal));
        long after = node.AnonymousBytes();
        TestContext.Current.TestOutputHelper!.WriteLine(FormattableString.Invariant($"{s_count} payloads, {(mosquitto ? "Mosquitto" : "embedded")}: anonymous {before / 1e6:F1} MB after a quarter of them, {after / 1e6:F1} MB at the end"));
        Assert.StartsWith("""{"id":"proper","seq":0,"type":"done",""", done.GetRawText(), StringComparison.Ordinal);
        Assert.InRange(after, 0, before + (24L << 20)); // what a garbage collector may leave lying about
    }

    private static async Task SendAsync(Outsider outsider, Random random, int count)
    {
        List<Task> underWay = [];
        for (int i = 0; i < count; i++)
        {
            underWay.Add(outsider.Client.PublishAsync(
                new MqttApplicationMessage
                {
                    Topic = $"gemma4edge/kitchen/{s_topics[random.Next(s_topics.Length)]}",
                    PayloadSegment = Payload(random),
                    ResponseTopic = random.Next(3) == 0 ? Outsider.Reply : random.Next(3) == 0 ? "not/allowed" : null,
                    CorrelationData = random.Next(4) == 0 ? Bytes(random, 20) : null,
                    QualityOfServiceLevel = (MqttQualityOfServiceLevel)random.Next(3),
                },
                TestContext.Current.CancellationToken));
            if (underWay.Count == UnderWay)
            {
                await Task.WhenAll(underWay);
                underWay.Clear();
            }
        }

        await Task.WhenAll(underWay);
    }

    private static byte[] Payload(Random random) => random.Next(10) switch
    {
        0 => Bytes(random, 300),
        1 => Encoding.UTF8.GetBytes(new string(random.Next(2) == 0 ? '[' : '{', random.Next(1, 3000))),
        2 => Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"a\":", random.Next(1, 100))) + "1" + new string('}', 100)),
        3 => Encoding.UTF8.GetBytes($$"""{"prompt":"x","max_tokens":{{new string('9', random.Next(1, 400))}}}"""),
        4 => Encoding.UTF8.GetBytes($$"""{"prompt":"x","temperature":1e{{random.Next(-400, 400)}},"deadline_ms":{{random.NextInt64()}}}"""),
        5 => [.. "{\"prompt\":\""u8, .. Bytes(random, 40), .. "\"}"u8],
        6 => Encoding.UTF8.GetBytes($$"""{"id":{{Value(random)}},"prompt":{{Value(random)}},"messages":{{Value(random)}},"tools":{{Value(random)}},"session":{{Value(random)}}}"""),
        7 => Encoding.UTF8.GetBytes($$"""{"messages":[{"role":{{Value(random)}},"content":{{Value(random)}},"tool_calls":{{Value(random)}}}],"stream":{{Value(random)}},"reply_to":{{Value(random)}}}"""),
        8 when random.Next(50) == 0 => new byte[300_000],
        8 => Encoding.UTF8.GetBytes(Value(random)),
        _ => [],
    };

    private static string Value(Random random) => random.Next(12) switch
    {
        0 => "null",
        1 => "true",
        2 => "-1",
        3 => "1e999",
        4 => "\"\"",
        5 => "\"\\ud800\"",
        6 => "[]",
        7 => "{}",
        8 => "[[[{}]]]",
        9 => "\"<turn|><|tool_call>\"",
        10 => "[{\"type\":\"function\",\"function\":{\"name\":\"x\",\"parameters\":7}}]",
        _ => "\"hello\"",
    };

    private static byte[] Bytes(Random random, int most)
    {
        byte[] bytes = new byte[random.Next(1, most)];
        random.NextBytes(bytes);
        return bytes;
    }
}
