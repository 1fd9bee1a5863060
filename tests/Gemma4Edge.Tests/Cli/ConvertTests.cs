using System.Text.Json;
using Gemma4Edge.Cli;

namespace Gemma4Edge.Tests.Cli;

public sealed class ConvertTests
{
    [Fact]
    public async Task Json_HasTheKeys_AndInspectVerifies()
    {
        using var file = new TempFile();
        JsonElement json = (await TestCli.RunAsync("convert", TestData.DemoModel, file.Path, "--weights", "tq4", "--tensor", "blk.0.attn_q.weight=q8", "--json")).Json();
        Assert.Equal(file.Path, json.GetProperty("out").GetString());
        Assert.Equal(new FileInfo(file.Path).Length, json.GetProperty("file_bytes").GetInt64());
        JsonElement tensor = json.GetProperty("tensors").EnumerateArray().Single(t => t.GetProperty("name").GetString() == "blk.0.attn_q.weight");
        Assert.Equal("bf16", tensor.GetProperty("from").GetString());
        Assert.Equal("q8", tensor.GetProperty("format").GetString());
        Assert.InRange(tensor.GetProperty("bits").GetDouble(), 8, 9);
        Assert.InRange(tensor.GetProperty("relative_error").GetDouble(), 1e-6, 1e-4);

        CliResult inspect = await TestCli.RunAsync("inspect", file.Path, "--verify", "--json");
        Assert.Equal(json.GetProperty("bytes_per_token").GetInt64(), inspect.Json().GetProperty("bytes_per_token").GetInt64());
        Assert.Contains("match their checksums", inspect.Error, StringComparison.Ordinal);

        byte[] bytes = File.ReadAllBytes(file.Path);
        bytes[inspect.Json().GetProperty("tensors")[0].GetProperty("offset").GetInt32() + 5] ^= 1;
        File.WriteAllBytes(file.Path, bytes);
        CliResult damaged = await TestCli.RunAsync("inspect", file.Path, "--verify");
        Assert.Equal(ExitCode.BadModelFile, damaged.Code);
        Assert.Contains("token_embd.weight", damaged.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--weights", "q5", ExitCode.WrongUsage)]
    [InlineData("--tensor", "attn_q", ExitCode.WrongUsage)]
    [InlineData("--tensor", "nothing=q8", ExitCode.Failed)]
    [InlineData("--adapter", "/nowhere", ExitCode.BadModelFile)]
    public async Task Convert_SaysWhatIsWrong(string option, string value, int code)
    {
        using var file = new TempFile();
        CliResult result = await TestCli.RunAsync("convert", TestData.DemoModel, file.Path + ".gguf", option, value);
        Assert.Equal(code, result.Code);
        Assert.False(File.Exists(file.Path + ".gguf"));
        Assert.Single(result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    /// <summary>The unfinished file is a device that is always full.</summary>
    [Fact]
    public async Task DiskThatFillsUp_Is5_AndLeavesTheOldFile()
    {
        using TempFile old = new(["old"]);
        File.CreateSymbolicLink(old.Path + ".partial", "/dev/full");
        CliResult result = await TestCli.RunAsync("convert", TestData.DemoModel, old.Path);
        Assert.Equal(ExitCode.NoMemoryOrDisk, result.Code);
        Assert.Contains("No space left", result.Error, StringComparison.Ordinal);
        Assert.Contains("Free some space", result.Error, StringComparison.Ordinal);
        Assert.Equal(["old"], File.ReadAllLines(old.Path));
        Assert.Null(new FileInfo(old.Path + ".partial").LinkTarget);
    }

    [Fact]
    public async Task Target_ThatCannotBeMade_IsSaidAtOnce()
    {
        string folder = Path.GetTempPath();
        CliResult isFolder = await TestCli.RunAsync("convert", TestData.DemoModel, folder);
        Assert.Equal(ExitCode.Failed, isFolder.Code);
        Assert.Contains($"{folder} is a folder", isFolder.Error, StringComparison.Ordinal);
        CliResult nowhere = await TestCli.RunAsync("convert", TestData.DemoModel, "/nowhere/deep/m.gguf");
        Assert.Equal(ExitCode.Failed, nowhere.Code);
        Assert.Contains("no folder /nowhere/deep", nowhere.Error, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Failed, (await TestCli.RunAsync("convert", TestData.DemoModel, "")).Code);

        using var fifo = new TempFile(); // a rename would replace any device, /dev/null too
        File.Delete(fifo.Path);
        using (var mkfifo = System.Diagnostics.Process.Start("mkfifo", fifo.Path))
        {
            await mkfifo.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        CliResult device = await TestCli.RunAsync("convert", TestData.DemoModel, fifo.Path);
        Assert.Equal(ExitCode.Failed, device.Code);
        Assert.Contains("no regular file", device.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verify_NeedsChecksums()
    {
        CliResult result = await TestCli.RunAsync("inspect", TestData.DemoModel, "--verify");
        Assert.Equal(ExitCode.Failed, result.Code);
        Assert.Contains("no checksums", result.Error, StringComparison.Ordinal);
    }
}
