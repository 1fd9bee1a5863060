using System.Text.Json;

namespace Gemma4Edge.Tests.Cli;

public sealed class BenchTests
{
    [Fact]
    public async Task Json_HasEveryKeyOfTheContract()
    {
        string folder = Directory.CreateTempSubdirectory("gemma4edge-test-").FullName;
        try
        {
            string[] bench = ["bench", "--synthetic", "tiny", "--weights", "q8_0", "--model-cache", folder, "--prefill", "16", "--contexts", "8,32", "--tokens", "4", "--rounds", "2", "--json"];
            JsonElement json = (await TestCli.RunAsync(bench)).Json();

            Assert.Equal("q8_0", json.GetProperty("format").GetString());
            string[] texts = ["model", "kernel"];
            Assert.All(texts, key => Assert.NotEmpty(json.GetProperty(key).GetString()!));
            string[] positive = ["threads", "read_bandwidth_gbps", "file_bytes", "bytes_per_token", "ple_bytes", "load_ms", "peak_rss_bytes", "anonymous_bytes", "file_backed_bytes"];
            Assert.All(positive, key => Assert.True(json.GetProperty(key).GetDouble() > 0, key));
            Assert.InRange(json.GetProperty("ple_resident_bytes").GetInt64(), 1, json.GetProperty("ple_bytes").GetInt64());
            Assert.Equal("full", json.GetProperty("head").GetProperty("mode").GetString());
            Assert.False(json.TryGetProperty("head_lower_bytes", out _));
            Assert.Equal(16, json.GetProperty("prefill")[0].GetProperty("tokens").GetInt32());
            JsonElement decode = json.GetProperty("decode")[1];
            Assert.Equal(32, decode.GetProperty("context").GetInt32());
            double gbps = json.GetProperty("bytes_per_token").GetInt64() * decode.GetProperty("tokens_per_second").GetDouble() / 1e9;
            Assert.Equal(gbps, decode.GetProperty("gbps").GetDouble(), 2e-3);
            Assert.Equal(100 * gbps / json.GetProperty("read_bandwidth_gbps").GetDouble(), decode.GetProperty("percent_of_roof").GetDouble(), 0.2);

            // the model is made once
            DateTime made = File.GetLastWriteTimeUtc(Directory.GetFiles(folder).Single());
            Assert.Equal(0, (await TestCli.RunAsync(bench)).Code);
            Assert.Equal(made, File.GetLastWriteTimeUtc(Directory.GetFiles(folder).Single()));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task TwoStageHead_ReadsLess_AndTellsItsRanks()
    {
        using var model = new TempFile();
        await TestCli.RunAsync("convert", TestData.DemoModel, model.Path, "--weights", "tq4");
        JsonElement full = await BenchAsync("full"), twoStage = await BenchAsync("two-stage"), auto = await BenchAsync("auto");

        JsonElement head = twoStage.GetProperty("head");
        Assert.Equal(("two-stage", 512), (head.GetProperty("mode").GetString(), head.GetProperty("shortlist").GetInt32()));
        Assert.True(head.GetProperty("tokens").GetInt64() >= 4);
        Assert.InRange(head.GetProperty("winner_rank_p50").GetInt32(), 1, head.GetProperty("winner_rank_max").GetInt32());
        Assert.InRange(head.GetProperty("beyond_quarter_percent").GetDouble(), 0, 100);
        long lower = twoStage.GetProperty("head_lower_bytes").GetInt64();
        Assert.Equal(4096 * 256 / 4, lower);
        Assert.InRange(twoStage.GetProperty("head_lower_resident_bytes").GetInt64(), 1, lower);

        // the lower plane is left out; 512 rows of it, with their whole panels of 1088 bytes, and the token's own row come back in
        Assert.Equal(full.GetProperty("bytes_per_token").GetInt64() - lower + (512 * (1088 + 64)) + 68 + 64, twoStage.GetProperty("bytes_per_token").GetInt64());
        Assert.Equal("full", auto.GetProperty("head").GetProperty("mode").GetString()); // 4096 rows: two stages would read more

        async Task<JsonElement> BenchAsync(string head) =>
            (await TestCli.RunAsync("bench", model.Path, "--head", head, "--prefill", "16", "--contexts", "8", "--tokens", "4", "--rounds", "1", "--json")).Json();
    }
}
