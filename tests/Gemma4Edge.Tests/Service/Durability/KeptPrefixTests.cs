using System.Text.Json;

namespace Gemma4Edge.Tests.Service.Durability;

/// <summary>A node that was killed need not compute its system text and tools again.</summary>
public sealed class KeptPrefixTests : IDisposable
{
    private readonly string _state = Directory.CreateTempSubdirectory("gemma4edge-state-").FullName;
    private readonly int _port = Mosquitto.FreePort();

    public void Dispose() => Directory.Delete(_state, recursive: true);

    [Fact]
    public async Task TheFirstAnswerAfterAKill_BeginsWhereTheToolsEnd_UnlessTheFileIsDamaged()
    {
        string[] files;
        using (ServeProcess first = Start())
        {
            Assert.Equal((0, true), await AskAsync("first"));
            files = await FilesAsync();
            (int cached, bool isRight) = await AskAsync("another");
            Assert.True(isRight);
            Assert.InRange(cached, 100, 10_000);
        }

        using (ServeProcess again = Start())
        {
            (int cached, bool isRight) = await AskAsync("first");
            Assert.True(isRight);
            Assert.InRange(cached, 100, 10_000);
        }

        byte[] bytes = await File.ReadAllBytesAsync(files[0], TestContext.Current.CancellationToken);
        bytes[bytes.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(files[0], bytes, TestContext.Current.CancellationToken);
        using ServeProcess last = Start();
        Assert.Contains(files[0], await last.LoggedAsync("damaged", TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.Equal((0, true), await AskAsync("first"));
    }

    /// <summary>Tokens that came from the cache, and whether the call was the right one.</summary>
    private async Task<(int Cached, bool IsRight)> AskAsync(string session)
    {
        await using Outsider outsider = await Outsider.ConnectWhenUpAsync(_port, Outsider.Reply, "gemma4edge/kitchen/availability");
        await outsider.NextAsync("availability", text => text == "online");
        string id = Guid.NewGuid().ToString("N"); // an answer that was not confirmed before the kill comes again
        await outsider.PublishAsync("request", JsonSerializer.Serialize(new { id, prompt = "turn on the kitchen light", session, temperature = 0, reply_to = Outsider.Reply }));
        JsonElement done = await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains(id, StringComparison.Ordinal));
        return (done.GetProperty("usage").GetProperty("cached").GetInt32(),
            done.GetProperty("tool_calls")[0].GetRawText() == """{"name":"set_light","arguments":{"area":"kitchen","on":true}}""");
    }

    /// <summary>They are written when the answer is out.</summary>
    private async Task<string[]> FilesAsync()
    {
        for (int attempts = 0; attempts < 6000; attempts++)
        {
            if (Directory.GetFiles(_state, "*.prefix", SearchOption.AllDirectories) is { Length: > 0 } files)
            {
                return files;
            }

            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        throw new InvalidOperationException("Nothing was kept.");
    }

    private ServeProcess Start() => new(JsonSerializer.Serialize(new
    {
        Model = new { System = "You are a home assistant. Areas: kitchen, living room, bedroom, bathroom, hallway, office, garage, garden." },
        Mqtt = new { Node = "kitchen", EmbeddedPort = _port },
        Store = new { State = _state },
        Tools = new { Path = Path.Combine(TestData.DemoModel, "tools") },
    }));
}
