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
}
