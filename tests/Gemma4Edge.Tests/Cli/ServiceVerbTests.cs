using System.Text.Json;
using Gemma4Edge.Cli;
using Gemma4Edge.Tests.Service;

namespace Gemma4Edge.Tests.Cli;

public sealed class ServiceVerbTests
{
    [Fact]
    public async Task Demo_AnswersEveryCommand_AndEnds()
    {
        CliResult result = await TestCli.RunAsync("demo", "--once");

        Assert.True(result.Code == 0, result.Error);
        Assert.Contains("> turn on the kitchen light\nset_light(area: \"kitchen\", on: true)\nThe kitchen light is now on.\n  home/kitchen/light {\"on\":true}\n", result.Output, StringComparison.Ordinal);
        Assert.Contains("> turn on the toaster\n", result.Output, StringComparison.Ordinal);
        Assert.Matches(@"(?m)^turn on the toaster +[\d.]+ ms +[\d.]+ tok/s +[\d.]+ tok/s +\d+ +\d+ +\d+$", result.Output);
        Assert.Contains("Memory of the whole process", result.Output, StringComparison.Ordinal);
        Assert.Contains("mosquitto_pub", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_AnswersSend_UntilItIsStopped()
    {
        string broker = $"mqtt://127.0.0.1:{Mosquitto.FreePort()}";
        using var config = new TempFile([$$"""{ "Mqtt": { "Node": "clitest", "EmbeddedPort": {{broker.Split(':')[^1]}} }, "Tools": { "Path": "{{TestData.DemoModel}}/tools" } }"""]);
        using var stop = new CancellationTokenSource();
        var error = new StringWriter();
        Task<int> serving = CommandLine.RunAsync(
            ["serve", "--model", TestData.DemoModel, "--broker", "embedded", "--config", config.Path, "--threads", "1", "--kv", "auto"],
            new Terminal(TextReader.Null, TextWriter.Null, error, stop.Token));

        CliResult sent = await SendWhenUpAsync(broker, serving, error, "turn on the kitchen light");
        Assert.Equal("set_light(area: \"kitchen\", on: true)\n", sent.Output);

        JsonElement json = (await TestCli.RunAsync("send", "turn on the kitchen light", "--node", "clitest", "--broker", broker, "--json")).Json();
        Assert.Equal("done", json.GetProperty("type").GetString());

        CliResult nobody = await TestCli.RunAsync("send", "Hello", "--node", "nobody", "--broker", broker, "--timeout", "1");
        Assert.Equal(1, nobody.Code);
        Assert.Contains("nobody", nobody.Error, StringComparison.Ordinal);

        await stop.CancelAsync();
        Assert.Equal(0, await serving);
    }

    [Fact]
    public async Task Serve_RefusesAWrongConfiguration_AndNamesTheKey()
    {
        using var config = new TempFile(["""{"Mqtt":{"Node":"fleet"}}"""]);

        CliResult result = await TestCli.RunAsync("serve", "--model", TestData.DemoModel, "--config", config.Path);

        Assert.Equal(2, result.Code);
        Assert.Contains("Mqtt:Node", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_WithoutItsBroker_Is4()
    {
        CliResult result = await TestCli.RunAsync("serve", "--model", TestData.DemoModel, "--broker", "mqtt://127.0.0.1:1");

        Assert.Equal(4, result.Code);
    }

    private static async Task<CliResult> SendWhenUpAsync(string broker, Task serving, StringWriter error, string prompt)
    {
        while (true)
        {
            Assert.False(serving.IsCompleted, error.ToString());
            CliResult sent = await TestCli.RunAsync("send", prompt, "--node", "clitest", "--broker", broker);
            if (sent.Code == 0)
            {
                return sent;
            }

            await Task.Delay(100, TestContext.Current.CancellationToken);
        }
    }
}
