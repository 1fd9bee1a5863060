using System.Text.Json;

namespace Gemma4Edge.Tests.Cli;

public sealed class InspectTests
{
    [Fact]
    public async Task Json_HasEveryKeyOfTheContract()
    {
        JsonElement json = (await TestCli.RunAsync("inspect", TestData.DemoModel, "--json")).Json();

        Assert.Equal("gemma4", json.GetProperty("architecture").GetString());
        Assert.NotEmpty(json.GetProperty("name").GetString()!);
        Assert.Equal(7_384_328, json.GetProperty("parameters").GetInt64());
        Assert.Equal(14_782_704, json.GetProperty("file_bytes").GetInt64());
        Assert.Equal(2_097_152 * 2, json.GetProperty("ple_bytes").GetInt64());
        Assert.Equal(1024, json.GetProperty("context_length").GetInt32());
        Assert.InRange(json.GetProperty("bytes_per_token").GetInt64(), 10_000_000, 10_700_000); // all but the PLE table
        JsonElement embedding = json.GetProperty("tensors").EnumerateArray().Single(t => t.GetProperty("name").GetString()!.EndsWith("embed_tokens.weight", StringComparison.Ordinal));
        Assert.Equal([4096, 256], embedding.GetProperty("shape").EnumerateArray().Select(d => d.GetInt32()));
        Assert.Equal("bf16", embedding.GetProperty("format").GetString());
        Assert.Equal(16, embedding.GetProperty("bits").GetDouble());
        Assert.Equal(4096 * 256 * 2, embedding.GetProperty("bytes").GetInt64());
        Assert.True(embedding.GetProperty("offset").GetInt64() > 0);
    }

    [Fact]
    public async Task Summary_IsForPeople_TensorsOnRequest()
    {
        CliResult summary = await TestCli.RunAsync("inspect", TestData.DemoModel);
        CliResult tensors = await TestCli.RunAsync("inspect", TestData.DemoModel, "--tensors");

        Assert.Contains("7.38 M", summary.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("embed_tokens", summary.Output, StringComparison.Ordinal);
        Assert.Contains("4096×256", tensors.Output, StringComparison.Ordinal);
    }
}
