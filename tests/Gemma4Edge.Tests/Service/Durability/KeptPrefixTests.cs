using System.Text.Json;

namespace Gemma4Edge.Tests.Service.Durability;

/// <summary>A node that was killed need not compute its system text and tools again.</summary>
public sealed class KeptPrefixTests : IDisposable
{
    private readonly string _state = Directory.CreateTempSubdirectory("gemma4edge-state-").FullName;
    private readonly int _port = Mosquitto.FreePort();

    public void Dispose() => Directory.Delete(_state, recursive: true);

    [Fact]
    public async Task EveryConversation_BeginsWhereTheToolsEnd_AfterAKillToo_AndADamagedFileIsTold()
    {
        string[] files;
        using (ServeProcess first = Start())
        {
            files = await FilesAsync(); // computed and written though nobody asked
            await AskAsync("one");
            await AskAsync("another");
        }

        using (ServeProcess again = Start())
        {
            await AskAsync("one");
        }

        Assert.Equal(files, await FilesAsync());
        byte[] bytes = await File.ReadAllBytesAsync(files[0], TestContext.Current.CancellationToken);
        bytes[bytes.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(files[0], bytes, TestContext.Current.CancellationToken);
        using ServeProcess last = Start();
        Assert.Contains(files[0], await last.LoggedAsync("damaged", TestContext.Current.CancellationToken), StringComparison.Ordinal);
        await FilesAsync();
        await AskAsync("one");
    }

    private async Task AskAsync(string session)
    {
        await using Outsider outsider = await Outsider.ConnectWhenUpAsync(_port, Outsider.Reply, "gemma4edge/kitchen/availability");
        await outsider.NextAsync("availability", text => text == "online");
        string id = Guid.NewGuid().ToString("N"); // an answer that was not confirmed before the kill comes again
        await outsider.PublishAsync("request", JsonSerializer.Serialize(new { id, prompt = "turn on the kitchen light", session, temperature = 0, reply_to = Outsider.Reply }));
        JsonElement done = await outsider.NextJsonAsync(Outsider.Reply, text => text.Contains(id, StringComparison.Ordinal));
        JsonElement usage = done.GetProperty("usage");
        Assert.InRange(usage.GetProperty("cached").GetInt32(), 500, usage.GetProperty("input").GetInt32() - 5);
        Assert.Equal("""{"name":"set_light","arguments":{"area":"kitchen","on":true}}""", done.GetProperty("tool_calls")[0].GetRawText());
    }

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
