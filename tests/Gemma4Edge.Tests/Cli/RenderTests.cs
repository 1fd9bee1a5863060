using System.Text.Json;

namespace Gemma4Edge.Tests.Cli;

public sealed class RenderTests
{
    [Theory]
    [InlineData("e2b", "small")]
    [InlineData("31b", "big")]
    public async Task Prompts_EqualThePublishedTemplate_ByteForByte(string form, string option)
    {
        JsonElement[] cases = [.. JsonElement.Parse(await File.ReadAllTextAsync(TestData.Path("oracle/template/cases.json"), TestContext.Current.CancellationToken))
            .EnumerateArray().Where(c => c.GetProperty("form").GetString() == form)];
        using var data = new TempFile(cases.Select(c => JsonSerializer.Serialize(c)));

        CliResult result = await TestCli.RunAsync("render", TestData.DemoModel, data.Path, "--form", option);

        Assert.Equal(0, result.Code);
        Assert.Equal(cases.Select(c => c.GetProperty("expected").GetString()), result.Lines.Select(line => JsonElement.Parse(line).GetString()));
    }

    [Fact]
    public async Task Ids_EqualTheTokensOfTheText()
    {
        using var data = new TempFile(["""{"messages":[{"role":"user","content":"turn on the light"}]}"""]);

        CliResult text = await TestCli.RunAsync("render", TestData.DemoModel, data.Path);
        CliResult ids = await TestCli.RunAsync("render", TestData.DemoModel, data.Path, "--ids");
        CliResult tokens = await TestCli.RunAsync("tokenize", TestData.DemoModel, "--ids", "--specials", JsonElement.Parse(text.Output).GetString()!);

        Assert.Equal(tokens.Output, ids.Output);
    }

    [Theory]
    [InlineData("not JSON")]
    [InlineData("[]")]
    [InlineData("{\"messages\":[{\"role\":\"nobody\"}]}")]
    [InlineData("{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}")]
    public async Task BadLine_Is1_AndNamesTheLine(string line)
    {
        using var data = new TempFile(["""{"messages":[{"role":"user","content":"Hi"}]}""", "", line]);

        CliResult result = await TestCli.RunAsync("render", TestData.DemoModel, data.Path);

        Assert.Equal(1, result.Code);
        Assert.Contains("line 3", result.Error, StringComparison.Ordinal);
        Assert.Single(result.Lines);
    }
}
