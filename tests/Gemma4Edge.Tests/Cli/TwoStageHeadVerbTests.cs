using System.Runtime.InteropServices;
using System.Text.Json;

namespace Gemma4Edge.Tests.Cli;

/// <summary>The verbs on the demo model as TQ4, whose head is nested; its vocabulary is so small that two stages must be asked for.</summary>
public sealed class TwoStageHeadVerbTests(TwoStageHeadVerbTests.NestedModel model) : IClassFixture<TwoStageHeadVerbTests.NestedModel>
{
    private static readonly string s_items = Path.Combine(TestData.DemoModel, "eval-dev.jsonl");

    [Fact]
    public async Task Logits_AreThoseOfTheFullHead_OrMinusInfinity()
    {
        float[] full = await LogitsAsync(), twoStage = await LogitsAsync("--head", "two-stage");

        Assert.Equal(512, twoStage.Count(float.IsFinite));
        Assert.Equal(full.Zip(twoStage, (exact, listed) => float.IsFinite(listed) ? exact : float.NegativeInfinity), twoStage);
        Assert.Equal(full, await LogitsAsync("--head", "auto"));

        async Task<float[]> LogitsAsync(params string[] head)
        {
            using var file = new TempFile();
            Assert.Equal(0, (await TestCli.RunAsync(["logits", model.Path, "--tokens", "2 105 2364 9 17", "--out", file.Path, .. head])).Code);
            return MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(file.Path)).ToArray();
        }
    }

    [Fact]
    public async Task Eval_CountsTheSameAnswers_AndHasNoProbabilities()
    {
        JsonElement full = await EvalAsync("full"), twoStage = await EvalAsync("two-stage");

        Assert.Equal(full.GetProperty("exact").GetInt32(), twoStage.GetProperty("exact").GetInt32());
        Assert.True(full.TryGetProperty("mean_nll", out _));
        Assert.False(twoStage.TryGetProperty("mean_nll", out _));
        CliResult compared = await TestCli.RunAsync("eval", model.Path, s_items, "--limit", "1", "--head", "two-stage", "--reference", model.Path);
        Assert.Equal(2, compared.Code);
        Assert.Contains("every logit", compared.Error, StringComparison.Ordinal);

        async Task<JsonElement> EvalAsync(string head) => (await TestCli.RunAsync("eval", model.Path, s_items, "--limit", "20", "--head", head, "--json")).Json();
    }

    [Fact]
    public async Task Bench_ReadsLess_AndTellsTheRanks()
    {
        JsonElement full = await BenchAsync("full"), twoStage = await BenchAsync("two-stage"), auto = await BenchAsync("auto");

        JsonElement head = twoStage.GetProperty("head");
        Assert.Equal(("two-stage", 512), (head.GetProperty("mode").GetString(), head.GetProperty("shortlist").GetInt32()));
        Assert.True(head.GetProperty("tokens").GetInt64() >= 4);
        Assert.InRange(head.GetProperty("winner_rank_p50").GetInt32(), 1, head.GetProperty("winner_rank_max").GetInt32());
        Assert.InRange(head.GetProperty("beyond_quarter_percent").GetDouble(), 0, 100);
        long lower = twoStage.GetProperty("head_lower_bytes").GetInt64();
        Assert.Equal(4096 * 256 / 4, lower);
        Assert.InRange(full.GetProperty("head_lower_resident_bytes").GetInt64(), 1, lower);
        Assert.Equal(0, twoStage.GetProperty("head_lower_resident_bytes").GetInt64()); // given back after each token

        // the lower plane is left out; 512 rows of it, with their whole panels of 1088 bytes, and the token's own row come back in
        Assert.Equal(full.GetProperty("bytes_per_token").GetInt64() - lower + (512 * (1088 + 64)) + 68 + 64, twoStage.GetProperty("bytes_per_token").GetInt64());
        Assert.Equal("full", auto.GetProperty("head").GetProperty("mode").GetString());

        async Task<JsonElement> BenchAsync(string head) =>
            (await TestCli.RunAsync("bench", model.Path, "--head", head, "--prefill", "16", "--contexts", "8", "--tokens", "4", "--rounds", "1", "--json")).Json();
    }

    [Theory]
    [InlineData("logits", "MODEL", "--tokens", "1", "--all", "--out", "/dev/null")]
    [InlineData("perplexity", "MODEL", "/dev/null")]
    public async Task WhatNeedsEveryLogit_RefusesIt(params string[] args)
    {
        CliResult result = await TestCli.RunAsync([.. args.Select(arg => arg == "MODEL" ? model.Path : arg), "--head", "two-stage"]);
        Assert.Equal(2, result.Code);
        Assert.Contains("every logit", result.Error, StringComparison.Ordinal);
    }

    public sealed class NestedModel : IAsyncLifetime
    {
        private readonly TempFile _file = new();

        public string Path => _file.Path;

        public async ValueTask InitializeAsync() => Assert.Equal(0, (await TestCli.RunAsync("convert", TestData.DemoModel, Path, "--weights", "tq4")).Code);

        public ValueTask DisposeAsync()
        {
            _file.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
