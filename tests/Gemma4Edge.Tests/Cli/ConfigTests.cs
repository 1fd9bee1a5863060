using System.Text.Json;

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
}
