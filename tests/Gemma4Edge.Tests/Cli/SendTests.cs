using System.Text.Json;
using Gemma4Edge.Tests.Service;

namespace Gemma4Edge.Tests.Cli;

/// <summary>send, with credentials and to a pool.</summary>
public sealed class SendTests
{
    [Fact]
    public async Task Send_GoesByTlsWithAUser()
    {
        using var broker = new GuardedMosquitto();
        await using TestNode node = await TestNode.StartAsync(change: broker.Secure);
        string[] send = ["send", "hello", "--node", "kitchen", "--broker", $"mqtts://localhost:{broker.TlsPort}", "--cafile", broker.CaFile, "--user", "operator", "--password-file"];
        CliResult good = await TestCli.RunAsync([.. send, broker.PasswordFileOf("operator")]);
        Assert.Equal((0, "You said: hello\n"), (good.Code, good.Output));
        CliResult wrong = await TestCli.RunAsync([.. send, broker.PasswordFileOf("office")]);
        Assert.Equal(4, wrong.Code);
        CliResult missing = await TestCli.RunAsync([.. send, "/no/such/file"]);
        Assert.Equal(2, missing.Code);
        Assert.Contains("--password-file is '/no/such/file'", missing.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Send_ToAPool_IsAnsweredByWhoeverIsFree()
    {
        using var broker = new Mosquitto();
        await using TestNode node = await PoolTests.StartAsync(broker, "kitchen");
        CliResult result = await TestCli.RunAsync("send", "hello", "--pool", PoolTests.Pool, "--broker", $"mqtt://127.0.0.1:{broker.Port}", "--json");
        JsonElement done = result.Json();
        Assert.Equal("You said: hello", done.GetProperty("text").GetString());
    }

    [Fact]
    public async Task Send_ToAnEmptyPool_SaysThatItWaits_AndGivesUp()
    {
        using var broker = new Mosquitto();
        CliResult result = await TestCli.RunAsync("send", "hello", "--pool", "attic", "--broker", $"mqtt://127.0.0.1:{broker.Port}", "--timeout", "1");
        Assert.Equal(1, result.Code);
        Assert.Empty(result.Output);
        string[] lines = result.Error.TrimEnd().Split('\n');
        Assert.Equal("gemma4edge: no node is free; asking again.", lines[0]);
        Assert.Contains("Pool attic", lines[^1], StringComparison.Ordinal);
        Assert.Equal(2, lines.Length);
    }
}
