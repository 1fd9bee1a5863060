using System.Text.Json;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

public class PromptClientTests
{
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task Send_HearsTheEvents_OfItsOwnRequestOnly()
    {
        await using TestNode node = await TestNode.StartAsync();
        await using PromptClient client = await ConnectAsync(node);
        Task<List<JsonElement>> one = Collect(client.SendAsync("kitchen", new OutgoingRequest("one") { Stream = true }, s_silence, TestContext.Current.CancellationToken));
        Task<List<JsonElement>> two = Collect(client.SendAsync("kitchen", new OutgoingRequest("two"), s_silence, TestContext.Current.CancellationToken));
        Assert.Equal("You said: one", (await one)[^1].GetProperty("text").GetString());
        Assert.Equal("start", (await one)[0].GetProperty("type").GetString());
        Assert.Equal("You said: two", Assert.Single(await two).GetProperty("text").GetString());
    }

    [Fact]
    public async Task Send_SaysEveryField()
    {
        await using TestNode node = await TestNode.StartAsync();
        await using PromptClient client = await ConnectAsync(node);
        var request = new OutgoingRequest("hi") { Id = "a1", Session = "s", System = "x", MaxTokens = 3, Temperature = 0.5f, TopK = 4, TopP = 0.5f, Seed = 9, Think = true };
        await Collect(client.SendAsync("kitchen", request, s_silence, TestContext.Current.CancellationToken));
        Gemma4Edge.Runtime.PromptRequest seen = Assert.Single(node.Model.Seen);
        Assert.Equal(("a1", "hi", "s", "x", 3, true), (seen.Id, seen.Prompt, seen.Session, seen.System, seen.MaxTokens, seen.Think));
        Assert.Equal((0.5f, 4, 0.5f, 9ul), (seen.Sampling.Temperature, seen.Sampling.TopK, seen.Sampling.TopP, seen.Sampling.Seed!.Value));
    }

    [Fact]
    public async Task Leaving_CancelsTheRequest()
    {
        await using TestNode node = await TestNode.StartAsync();
        await using PromptClient client = await ConnectAsync(node);
        await foreach (JsonElement first in client.SendAsync("kitchen", new OutgoingRequest("wait") { Stream = true }, s_silence, TestContext.Current.CancellationToken))
        {
            break;
        }

        List<JsonElement> next = await Collect(client.SendAsync("kitchen", new OutgoingRequest("hi"), s_silence, TestContext.Current.CancellationToken));
        Assert.Equal("done", next[^1].GetProperty("type").GetString());
    }

    [Fact]
    public async Task UnknownNode_IsSaidAtOnce()
    {
        await using TestNode node = await TestNode.StartAsync();
        await using PromptClient client = await ConnectAsync(node);
        var problem = await Assert.ThrowsAsync<TimeoutException>(() => Collect(client.SendAsync("attic", new OutgoingRequest("hi"), s_silence, TestContext.Current.CancellationToken)));
        Assert.Contains("attic", problem.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LostBroker_EndsTheWait()
    {
        using var broker = new Mosquitto();
        await using TestNode node = await TestNode.StartAsync(broker);
        await using PromptClient client = await ConnectAsync(node);
        await Assert.ThrowsAsync<BrokerUnavailableException>(async () =>
        {
            await foreach (JsonElement first in client.SendAsync("kitchen", new OutgoingRequest("wait") { Stream = true }, s_silence, TestContext.Current.CancellationToken))
            {
                broker.Kill();
            }
        });
    }

    private static Task<PromptClient> ConnectAsync(TestNode node) => PromptClient.ConnectAsync(node.Options.Mqtt.Address, null, TestContext.Current.CancellationToken);

    private static async Task<List<JsonElement>> Collect(IAsyncEnumerable<JsonElement> events)
    {
        List<JsonElement> all = [];
        await foreach (JsonElement e in events)
        {
            all.Add(e);
        }

        return all;
    }
}
