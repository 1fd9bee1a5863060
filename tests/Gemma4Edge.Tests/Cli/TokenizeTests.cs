namespace Gemma4Edge.Tests.Cli;

public sealed class TokenizeTests
{
    private static readonly string s_vocabulary = "oracle/tokenizer/ggml-vocab-gemma-4.gguf";

    [Fact]
    public async Task Ids_EqualLlamaCpp_LineByLine()
    {
        string[] texts = File.ReadAllText(TestData.Path(s_vocabulary + ".inp")).Split("\n__ggml_vocab_test__\n");
        string[] ids = File.ReadAllLines(TestData.Path(s_vocabulary + ".out"));
        int[] oneLine = [.. Enumerable.Range(0, texts.Length).Where(i => !texts[i].AsSpan().ContainsAny('\n', '\r'))];
        Assert.True(oneLine.Length > 30);

        CliResult result = await TestCli.RunWithInputAsync(
            string.Concat(oneLine.Select(i => texts[i] + "\n")), "tokenize", TestData.Decompressed(s_vocabulary), "--ids");

        Assert.Equal(0, result.Code);
        Assert.Equal(oneLine.Select(i => ids[i].Trim()), result.Output.Split('\n')[..^1]);
    }

    [Fact]
    public async Task Argument_MayHoldLineBreaks()
    {
        CliResult result = await TestCli.RunAsync("tokenize", TestData.Decompressed(s_vocabulary), "--ids", "\n =");

        Assert.Equal("107 578\n", result.Output);
    }

    [Fact]
    public async Task SpecialTokens_AreText_UnlessAskedFor()
    {
        CliResult asText = await TestCli.RunAsync("tokenize", TestData.DemoModel, "--ids", "<|turn>");
        CliResult asToken = await TestCli.RunAsync("tokenize", TestData.DemoModel, "--ids", "--specials", "<|turn>");

        Assert.DoesNotContain("105", asText.Output.Split(' ', '\n'));
        Assert.Equal("105\n", asToken.Output);
    }

    [Fact]
    public async Task Pieces_StandBesideTheirIds()
    {
        CliResult result = await TestCli.RunAsync("tokenize", TestData.DemoModel, "--specials", "<turn|>\n");

        Assert.Equal(["    106  \"<turn|>\"", "    107  \"\\n\""], result.Lines);
    }

    [Fact]
    public async Task TextWithDashes_ComesAfterTwoDashes()
    {
        CliResult direct = await TestCli.RunWithInputAsync("--ids\n", "tokenize", TestData.DemoModel, "--ids");
        CliResult argument = await TestCli.RunAsync("tokenize", TestData.DemoModel, "--ids", "--", "--ids");

        Assert.Equal(direct.Output, argument.Output);
    }
}
