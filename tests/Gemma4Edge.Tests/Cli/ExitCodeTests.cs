namespace Gemma4Edge.Tests.Cli;

public sealed class ExitCodeTests
{
    [Theory]
    [InlineData("nonsense")]
    [InlineData("run")]
    [InlineData("tokenize", "--no-such-option", "model", "text")]
    [InlineData("logits", "model", "--tokens", "1 x 3")]
    [InlineData("logits", "model", "--tokens", "")]
    [InlineData("logits", "model", "--tokens", "1", "--all")]
    [InlineData("logits", "model", "--tokens", "1", "--kv", "q4")]
    [InlineData("logits", "model", "--tokens", "1", "--kv-layer", "3=q4")]
    [InlineData("logits", "model", "--tokens", "1", "--head", "half")]
    [InlineData("logits", "model", "--tokens", "1", "--activations", "int4")]
    [InlineData("logits", "model", "--tokens", "1", "--kernel", "abacus")]
    [InlineData("logits", "model", "--tokens", "1", "--threads", "999999")]
    [InlineData("run", "model", "--temperature", "warm")]
    [InlineData("run", "model", "--seed", "-1")]
    [InlineData("bench", "--rounds", "0", "model")]
    [InlineData("bench")]
    [InlineData("send", "hi", "--node", "a", "--pool", "b")]
    [InlineData("send", "hi", "--pool", "a/b")]
    [InlineData("send", "hi", "--broker", "http://host")]
    public async Task WrongUsage_Is2_AndOneLine(params string[] args)
    {
        CliResult result = await TestCli.RunAsync(args);

        Assert.Equal(2, result.Code);
        Assert.Single(result.Error.TrimEnd().Split('\n'));
        Assert.StartsWith("gemma4edge: ", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("System.", result.Error, StringComparison.Ordinal);
        Assert.Empty(result.Output);
    }

    [Theory]
    [InlineData("inspect", "/nowhere/model.gguf")]
    [InlineData("run", "/nowhere/model.gguf", "Hello")]
    [InlineData("tokenize", "/nowhere/model.gguf", "Hello")]
    public async Task MissingModel_Is3_AndNamesTheFile(params string[] args)
    {
        CliResult result = await TestCli.RunAsync(args);

        Assert.Equal(3, result.Code);
        Assert.Contains("/nowhere/model.gguf", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TwoStageHead_OfAModelWithoutPlanes_Is2_AndNamesTheFormat()
    {
        CliResult result = await TestCli.RunAsync("run", TestData.Path("oracle/tiny-a-q4_0.gguf"), "Hello", "--head", "two-stage");

        Assert.Equal(2, result.Code);
        Assert.Contains("head is q4_0", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ContextThatTheModelWasNotMadeFor_Is2_AndNamesBoth()
    {
        CliResult result = await TestCli.RunAsync("run", TestData.DemoModel, "Hello", "--context", "1025");

        Assert.Equal((2, ""), (result.Code, result.Output));
        Assert.Contains("--context is 1025: this model was made for at most 1024 tokens", result.Error, StringComparison.Ordinal);
        Assert.Equal(0, (await TestCli.RunAsync("run", TestData.DemoModel, "Hello", "--context", "1024", "--max-tokens", "1")).Code);
    }

    [Fact]
    public async Task TokenOutsideTheVocabulary_Is2_AndNamesIt()
    {
        CliResult result = await TestCli.RunAsync("logits", TestData.Path("oracle/tiny-a-q4_0.gguf"), "--tokens", "1 512");

        Assert.Equal(2, result.Code);
        Assert.Contains("512", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Int8ActivationsWithoutAKernel_Are2_AndNameTheFormats()
    {
        CliResult result = await TestCli.RunAsync("logits", TestData.Path("oracle/tiny-a-f32.gguf"), "--tokens", "1", "--activations", "int8");

        Assert.Equal(2, result.Code);
        Assert.Contains("(f32)", result.Error, StringComparison.Ordinal);
        Assert.Equal(0, (await TestCli.RunAsync("logits", TestData.Path("oracle/tiny-a-q4_0.gguf"), "--tokens", "1", "--activations", "int8")).Code);
    }

    [Fact]
    public async Task VocabularyWithoutThoughtChannel_CanRun()
    {
        CliResult result = await TestCli.RunAsync("run", TestData.Path("oracle/tiny-c-f32.gguf"), "Hello", "--max-tokens", "2", "--json");

        Assert.Equal(2, result.Json().GetProperty("usage").GetProperty("output").GetInt32());
    }

    [Fact]
    public async Task WeightsThatAreNoNumbers_Are3_AndNoFaultOfTheProgram()
    {
        byte[] model = await File.ReadAllBytesAsync(TestData.Path("oracle/tiny-a-f32.gguf"), TestContext.Current.CancellationToken);
        model.AsSpan(model.Length / 2).Fill(0xFF);
        string path = Path.Combine(Path.GetTempPath(), $"nan-{Guid.NewGuid():N}.gguf");
        try
        {
            await File.WriteAllBytesAsync(path, model, TestContext.Current.CancellationToken);
            CliResult result = await TestCli.RunAsync("run", path, "Hello");

            Assert.Equal(3, result.Code);
            Assert.DoesNotContain("fault of the program", result.Error, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task SilentBroker_Is4_AndNamesIt()
    {
        CliResult result = await TestCli.RunAsync("send", "Hello", "--broker", "mqtt://127.0.0.1:1");

        Assert.Equal(4, result.Code);
        Assert.Contains("127.0.0.1:1", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task MissingDataFile_Is1_AndNamesIt()
    {
        CliResult result = await TestCli.RunAsync("render", TestData.DemoModel, "/nowhere/data.jsonl");

        Assert.Equal(1, result.Code);
        Assert.Contains("/nowhere/data.jsonl", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DamagedModel_Is0Or3_NeverACrash()
    {
        byte[] whole = await File.ReadAllBytesAsync(TestData.Path("oracle/tiny-a-q8_0.gguf"), TestContext.Current.CancellationToken);
        var random = new Random(7);
        string path = Path.Combine(Path.GetTempPath(), $"damaged-{Guid.NewGuid():N}.gguf");
        try
        {
            for (int i = 0; i < 30; i++)
            {
                byte[] damaged = whole[..(i % 2 == 0 ? random.Next(whole.Length) : whole.Length)];
                for (int flip = 0; flip < i % 2 * 8; flip++)
                {
                    damaged[random.Next(40_000)] = (byte)random.Next(256);
                }

                await File.WriteAllBytesAsync(path, damaged, TestContext.Current.CancellationToken);
                CliResult result = await TestCli.RunAsync("logits", path, "--tokens", "5 6 7");
                Assert.True(result.Code == 3 || (result.Code == 0 && damaged.Length == whole.Length), $"change {i}: exit {result.Code}, {result.Error}");
            }
        }
        finally
        {
            File.Delete(path);
        }
    }
}
