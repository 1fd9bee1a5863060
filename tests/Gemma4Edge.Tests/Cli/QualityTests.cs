using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Gemma4Edge.Tests.Cli;

public sealed class QualityTests
{
    private static readonly string s_items = Path.Combine(TestData.DemoModel, "eval-dev.jsonl");

    [Fact]
    public async Task Eval_CountsTheFirstTwentyItems()
    {
        using var predictions = new TempFile();

        JsonElement json = (await TestCli.RunAsync("eval", TestData.DemoModel, s_items, "--limit", "20", "--kv", "f32", "--json", "--predictions", predictions.Path)).Json();

        int exact = json.GetProperty("exact").GetInt32();
        Assert.Equal(20, json.GetProperty("items").GetInt32());
        Assert.Equal(100.0 * exact / 20, json.GetProperty("exact_percent").GetDouble(), 9);
        Assert.Equal(exact, json.GetProperty("kinds").EnumerateObject().Sum(kind => kind.Value.GetProperty("exact").GetInt32()));
        Assert.Equal(10, json.GetProperty("kinds").GetProperty("single").GetProperty("items").GetInt32());
        Assert.InRange(json.GetProperty("mean_nll").GetDouble(), 0, 0.5);

        // what it says it answered is what it counted
        JsonElement[] answers = [.. File.ReadLines(predictions.Path).Select(line => JsonElement.Parse(line))];
        string[] completions = [.. File.ReadLines(s_items).Take(20).Select(line => JsonElement.Parse(line).GetProperty("completion").GetString()!)];
        Assert.Equal(completions.Zip(answers, (right, answer) => right == answer.GetProperty("output").GetString()), answers.Select(a => a.GetProperty("exact").GetBoolean()));
        Assert.Equal(exact, answers.Count(a => a.GetProperty("exact").GetBoolean()));
    }

    [Fact]
    public async Task Eval_NamesTheItem_WhosePromptDiffers()
    {
        string line = File.ReadLines(s_items).First();
        using var data = new TempFile([line.Replace("\"prompt\": \"<bos>", "\"prompt\": \"<bos> ", StringComparison.Ordinal)]);

        CliResult result = await TestCli.RunAsync("eval", TestData.DemoModel, data.Path);

        Assert.Equal(1, result.Code);
        Assert.Contains("dev-0000", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Eval_AgainstItself_DivergesNowhere()
    {
        JsonElement json = (await TestCli.RunAsync("eval", TestData.DemoModel, s_items, "--limit", "2", "--reference", TestData.DemoModel, "--kv", "f32", "--json")).Json();

        Assert.Equal(0, json.GetProperty("kl_mean").GetDouble(), 9);
        Assert.Equal(0, json.GetProperty("kl_p99").GetDouble(), 9);
        Assert.Equal(100, json.GetProperty("top1_agreement_percent").GetDouble());
    }

    [Theory]
    [InlineData("--context", "1024")] // one window
    [InlineData("--context", "64")]   // windows that overlap by half
    public async Task Perplexity_ScoresEveryTokenOnce(params string[] window)
    {
        using var text = new TempFile(File.ReadLines(s_items).Take(4).Select(line => JsonElement.Parse(line).GetProperty("messages")[1].GetProperty("content").GetString()!));
        string[] tokens = (await TestCli.RunAsync("tokenize", TestData.DemoModel, "--ids", File.ReadAllText(text.Path))).Output.Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries);

        JsonElement json = (await TestCli.RunAsync(["perplexity", TestData.DemoModel, text.Path, "--json", "--kv", "f32", .. window])).Json();

        Assert.Equal(tokens.Length, json.GetProperty("tokens").GetInt32());
        Assert.Equal(Math.Exp(json.GetProperty("mean_nll").GetDouble()), json.GetProperty("perplexity").GetDouble(), 6);
        if (window[1] == "1024")
        {
            Assert.Equal(await MeanNllFromLogitsAsync(tokens), json.GetProperty("mean_nll").GetDouble(), 1e-4);
        }
    }

    [Fact]
    public async Task Perplexity_SeesTheActivations_AgainstTheSameWeights()
    {
        using var model = new TempFile();
        using var text = new TempFile(["turn on the kitchen light and close the window"]);
        Assert.Equal(0, (await TestCli.RunAsync("convert", TestData.DemoModel, model.Path, "--weights", "q4_0")).Code);

        Assert.InRange(await DivergenceAsync("auto"), 1e-8, 1e-3);
        Assert.Equal(0, await DivergenceAsync("float"), 12);

        async Task<double> DivergenceAsync(string activations) =>
            (await TestCli.RunAsync("perplexity", model.Path, text.Path, "--json", "--reference", model.Path, "--kv", "f32", "--activations", activations))
                .Json().GetProperty("kl_mean").GetDouble();
    }

    [Fact]
    public async Task Perplexity_WithAReference_AddsTheDistance()
    {
        using var text = new TempFile(["turn on the kitchen light"]);

        JsonElement json = (await TestCli.RunAsync("perplexity", TestData.DemoModel, text.Path, "--json", "--reference", TestData.DemoModel, "--kv", "f32")).Json();

        Assert.Equal(0, json.GetProperty("kl_mean").GetDouble(), 9);
        Assert.Equal(100, json.GetProperty("top1_agreement_percent").GetDouble());
    }

    private static async Task<double> MeanNllFromLogitsAsync(string[] tokens)
    {
        using var rows = new TempFile();
        await TestCli.RunAsync("logits", TestData.DemoModel, "--tokens", "2 " + string.Join(' ', tokens[..^1]), "--all", "--out", rows.Path);
        float[] logits = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(rows.Path)).ToArray();
        int vocabulary = logits.Length / tokens.Length;
        return tokens.Select((token, row) =>
        {
            double[] values = [.. logits.AsSpan(row * vocabulary, vocabulary).ToArray().Select(logit => (double)logit)];
            return Math.Log(values.Sum(Math.Exp)) - values[int.Parse(token, CultureInfo.InvariantCulture)];
        }).Average();
    }
}
