using System.Text.Json;

namespace Gemma4Edge.Tests.Cli;

public sealed class RunTests
{
    private const string System = "You are a home assistant. Areas: kitchen, living room, bedroom, bathroom, hallway, office, garage, garden.";
    private static readonly string s_tools = Path.Combine(TestData.DemoModel, "tools");

    [Fact]
    public async Task ToolCall_IsShown()
    {
        CliResult result = await TestCli.RunAsync("run", TestData.DemoModel, "turn on the kitchen light", "--system", System, "--tools", s_tools);

        Assert.Equal(0, result.Code);
        Assert.Equal("set_light(area: \"kitchen\", on: true)\n", result.Output);
    }

    [Fact]
    public async Task Json_IsTheDoneEvent()
    {
        JsonElement json = (await TestCli.RunWithInputAsync("turn on the kitchen light", "run", TestData.DemoModel, "-", "--system", System, "--tools", s_tools, "--json")).Json();

        Assert.Equal("done", json.GetProperty("type").GetString());
        Assert.Equal("tool_calls", json.GetProperty("finish_reason").GetString());
        JsonElement toolCall = json.GetProperty("tool_calls")[0];
        Assert.Equal("set_light", toolCall.GetProperty("name").GetString());
        Assert.Equal("""{"area":"kitchen","on":true}""", toolCall.GetProperty("arguments").GetRawText());
        Assert.True(json.GetProperty("usage").GetProperty("input").GetInt32() > 100);
        Assert.True(json.GetProperty("timings").GetProperty("ttft_ms").GetDouble() > 0);
    }

    [Fact]
    public async Task ToolCall_IsCheckedAsTheServiceWould()
    {
        const string Light = """{"name":"set_light","description":"Switch, dim or color lights","parameters":{"type":"object","properties":{"area":{"type":"string","enum":["attic"]},"on":{"type":"boolean"}},"required":["area"]}}""";
        const string Problem = "arguments.area: expected \"attic\", found \"kitchen\".";
        using var tools = new TempFile([Light]);
        string[] args = [TestData.DemoModel, "--system", System, "--tools", tools.Path];
        CliResult run = await TestCli.RunAsync(["run", .. args, "turn on the kitchen light"]);
        Assert.Equal((0, $"set_light(area: \"kitchen\", on: true)\n  error: {Problem}\n", ""), (run.Code, run.Output, run.Error));
        JsonElement call = (await TestCli.RunAsync(["run", .. args, "turn on the kitchen light", "--json"])).Json().GetProperty("tool_calls")[0];
        Assert.Equal((false, Problem), (call.GetProperty("ok").GetBoolean(), call.GetProperty("error").GetString()));
        Assert.Contains(Problem, (await TestCli.RunWithInputAsync($"/tools {tools.Path}\nturn on the kitchen light\n", ["chat", .. args[..3]])).Output, StringComparison.Ordinal);

        File.WriteAllText(tools.Path, Light.Replace("\"enum\":[\"attic\"]", "\"format\":\"room\"", StringComparison.Ordinal));
        run = await TestCli.RunAsync(["run", .. args, "turn on the kitchen light"]);
        Assert.Equal((0, "set_light(area: \"kitchen\", on: true)\n"), (run.Code, run.Output));
        Assert.StartsWith("Calls of the tool 'set_light' are not checked: parameters.properties.area.format: ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TooLongPrompt_Is1_AndSaysWhatToDo()
    {
        CliResult result = await TestCli.RunAsync("run", TestData.DemoModel, "turn on the kitchen light", "--context", "8");

        Assert.Equal(1, result.Code);
        Assert.Contains("context", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TooLongPrompt_IsAnErrorEvent_InJson()
    {
        CliResult result = await TestCli.RunAsync("run", TestData.DemoModel, "turn on the kitchen light", "--context", "8", "--json");

        Assert.Equal(1, result.Code);
        Assert.Equal("context_overflow", JsonElement.Parse(result.Output).GetProperty("error").GetProperty("code").GetString());
    }

    [Fact]
    public async Task Chat_RemembersUntilReset_AndSaves()
    {
        using var saved = new TempFile();
        string input = $"turn on the kitchen light\n/stats\n/save {saved.Path}\n/reset\n/stats\n/help\n/quit\nnever read\n";

        CliResult result = await TestCli.RunWithInputAsync(input, "chat", TestData.DemoModel, "--system", System, "--tools", s_tools);

        Assert.True(result.Code == 0, result.Error);
        Assert.StartsWith("set_light(area: \"kitchen\", on: true)\n", result.Output, StringComparison.Ordinal);
        Assert.Contains("tokens in (0 cached)", result.Output, StringComparison.Ordinal);
        Assert.Contains("/system TEXT", result.Output, StringComparison.Ordinal);

        // what was saved is a conversation that render reads
        CliResult rendered = await TestCli.RunAsync("render", TestData.DemoModel, saved.Path);
        Assert.Contains("<|tool_call>call:set_light{area:<|\\\"|>kitchen<|\\\"|>,on:true}<tool_call|>", rendered.Output, StringComparison.Ordinal);
    }
}
