using System.Text;
using System.Text.Json;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Tests.Model;

namespace Gemma4Edge.Tests.Cli;

public sealed class ConfigTests
{
    [Fact]
    public async Task Check_PrintsEachValueOnce_AndItsSource()
    {
        using var config = new TempFile([$$"""{ "Mqtt": { "Node": "clitest", "PasswordFile": "{{TestData.DemoModel}}/config.json" } }"""]);
        string[] args = ["config", "check", "--config", config.Path, "--model", TestData.DemoModel, "--threads", "1"];

        CliResult lines = await TestCli.RunAsync(args);
        Assert.Equal(0, lines.Code);
        Assert.Single(lines.Lines, line => line.StartsWith("Mqtt:Node", StringComparison.Ordinal) && line.EndsWith($"\"clitest\"  ({config.Path})", StringComparison.Ordinal));

        JsonElement[] values = [.. (await TestCli.RunAsync([.. args, "--json"])).Json().GetProperty("values").EnumerateArray()];
        Assert.Equal(values.Length, lines.Lines.Length);
        Assert.Equal(values.Length, values.Select(value => value.GetProperty("key").GetString()).Distinct().Count());
        JsonElement threads = values.Single(value => value.GetProperty("key").GetString() == "Model:Threads");
        Assert.Equal((1, "command line"), (threads.GetProperty("value").GetInt32(), threads.GetProperty("source").GetString()));
        Assert.False(values.Single(value => value.GetProperty("key").GetString() == "Sampling:TopP").TryGetProperty("value", out _));
    }

    [Theory]
    [InlineData("""{"Mqtt":{"Node":"fleet"}}""", 2, "Mqtt:Node")]
    [InlineData("""{"Tools":{"Path":"CONFIG"}}""", 2, "tool")]
    [InlineData("""{"Model":{"Path":"CONFIG"}}""", 3, "CONFIG")]
    [InlineData("""{"Model":{"KvLayers":["77=f32"]}}""", 2, "77")]
    [InlineData("""{"Model":{"Context":1025}}""", 2, "Model:Context is 1025: this model was made for at most 1024 tokens")]
    [InlineData("""{"Model":{"MemoryBudget":"1MiB"}}""", 5, "the memory budget is 1.05 MB")]
    public async Task Check_EndsAsServeWould(string json, int code, string named)
    {
        using var config = new TempFile();
        await File.WriteAllTextAsync(config.Path, json.Replace("CONFIG", config.Path, StringComparison.Ordinal), TestContext.Current.CancellationToken);
        string[] args = ["--config", config.Path, .. json.Contains("Path\":\"C", StringComparison.Ordinal) && code == 3 ? Array.Empty<string>() : ["--model", TestData.DemoModel]];

        CliResult check = await TestCli.RunAsync(["config", "check", .. args]);
        CliResult serve = await TestCli.RunAsync(["serve", .. args]);

        Assert.Equal((code, ""), (check.Code, check.Output));
        Assert.Contains(named.Replace("CONFIG", config.Path, StringComparison.Ordinal), check.Error, StringComparison.Ordinal);
        Assert.Equal((serve.Code, serve.Error), (check.Code, check.Error));
    }

    [Theory]
    [InlineData("/proc/nothing")]
    [InlineData("CONFIG/state")]
    public async Task Check_EndsAsServeWould_WhereNoStateCanBeKept(string state)
    {
        using var config = new TempFile();
        state = state.Replace("CONFIG", config.Path, StringComparison.Ordinal);
        await File.WriteAllTextAsync(config.Path, $$"""{"Store":{"State":"{{state}}"} }""", TestContext.Current.CancellationToken);

        foreach (string[] verb in (string[][])[["config", "check"], ["serve", "--broker", "embedded"]])
        {
            CliResult result = await TestCli.RunAsync([.. verb, "--config", config.Path, "--model", TestData.DemoModel]);
            Assert.Equal((2, ""), (result.Code, result.Output));
            Assert.Contains($"The state directory {state} cannot be used", result.Error, StringComparison.Ordinal);
        }
    }

    /// <summary>A journal of another program, of another version, with a record that holds something else, and a folder in its place.</summary>
    [Theory]
    [InlineData("hello, world", "at byte 0: this is no journal of gemma4edge")]
    [InlineData("G4EJRN02", "at byte 0: this is no journal of gemma4edge")]
    [InlineData("G4EJRN01\u0001\0\0\0\u001D\u00B6\u00A6\u00C6\u0001\u0007", "a record of kind 1 does not hold what it should")]
    [InlineData(null, "is denied")]
    public async Task Check_EndsAsServeWould_WhereTheJournalCannotBeRead_AndLeavesIt(string? journal, string named)
    {
        using var folder = new TemporaryFolder();
        string path = folder[RequestLedger.FileName];
        if (journal is null)
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            File.WriteAllBytes(path, Encoding.Latin1.GetBytes(journal));
        }

        File.WriteAllText(folder["config.json"], $$"""{"Store":{"State":"{{folder.Path}}"} }""");
        string[] args = ["--config", folder["config.json"], "--model", TestData.DemoModel];
        CliResult check = await TestCli.RunAsync(["config", "check", .. args]);
        Assert.Equal((2, ""), (check.Code, check.Output));
        Assert.Contains(named, check.Error, StringComparison.Ordinal);
        Assert.Equal(journal, journal is null ? null : Encoding.Latin1.GetString(File.ReadAllBytes(path)));
        Assert.Equal(check.Error, (await TestCli.RunAsync(["serve", "--broker", "embedded", .. args])).Error);
        Assert.Contains("\"name\":\"state\",\"status\":\"error\"", (await TestCli.RunAsync(["doctor", .. args, "--json"])).Output, StringComparison.Ordinal);
    }

    /// <summary>The journal of a service that runs, one that a power cut has cut, and one that is only begun.</summary>
    [Theory]
    [InlineData(true, "G4EJRN01\u0005\0")]
    [InlineData(false, "G4EJRN01\u0005\0")]
    [InlineData(false, "")]
    public async Task Check_PassesAJournalThatServeWouldTakeUp_AndLeavesIt(bool isHeld, string journal)
    {
        using var folder = new TemporaryFolder();
        string path = folder[RequestLedger.FileName];
        File.WriteAllBytes(path, Encoding.Latin1.GetBytes(journal));
        using RequestLedger? running = isHeld ? new RequestLedger(folder.Path, TimeProvider.System) : null;
        long length = new FileInfo(path).Length;
        File.WriteAllText(folder["config.json"], $$"""{"Store":{"State":"{{folder.Path}}"} }""");
        CliResult check = await TestCli.RunAsync("config", "check", "--config", folder["config.json"], "--model", TestData.DemoModel);
        Assert.Equal((0, ""), (check.Code, check.Error));
        Assert.Equal((isHeld ? 8 : journal.Length, length), (length, new FileInfo(path).Length));
        Assert.Equal(["config.json", RequestLedger.FileName], Directory.GetFiles(folder.Path).Select(Path.GetFileName).Order());
        running?.Receive("a", "a", new("t", default)); // nothing was taken from it
    }
}
