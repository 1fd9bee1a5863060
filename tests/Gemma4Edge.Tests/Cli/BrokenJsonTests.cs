using Gemma4Edge.Cli;
using Gemma4Edge.Tests.Model;

namespace Gemma4Edge.Tests.Cli;

/// <summary>JSON files that are broken at a known place: every verb that reads one says where, in lines and bytes from 1.</summary>
public sealed class BrokenJsonTests : IDisposable
{
    private const string Broken = "{\n  \"name\": \"x\",\n  \"size\": oops\n}\n";
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(ExitCode.WrongUsage, "run", "MODEL", "hi", "--tools", "FILE")]
    [InlineData(ExitCode.WrongUsage, "config", "check", "--model", "MODEL", "--config", "FILE")]
    [InlineData(ExitCode.BadModelFile, "convert", "MODEL", "OUT", "--adapter", "ADAPTER")]
    [InlineData(ExitCode.BadModelFile, "inspect", "config.json")]
    [InlineData(ExitCode.BadModelFile, "inspect", "generation_config.json")]
    [InlineData(ExitCode.BadModelFile, "tokenize", "tokenizer.json", "hi")]
    public async Task EveryVerb_NamesFileLineAndByte(int code, params string[] args)
    {
        string file = _folder["broken.json"];
        if (Array.Find(args, arg => arg.EndsWith(".json", StringComparison.Ordinal)) is { } ofModel)
        {
            file = Path.Combine(BreakModel(ofModel), ofModel);
            args = [.. args.Select(arg => arg == ofModel ? Path.GetDirectoryName(file)! : arg)];
        }
        else if (args.Contains("ADAPTER"))
        {
            Directory.CreateDirectory(_folder["adapter"]);
            File.WriteAllText(_folder["adapter/adapter_model.safetensors"], "x");
            file = _folder["adapter/adapter_config.json"];
        }

        File.WriteAllText(file, Broken);
        CliResult result = await TestCli.RunAsync([.. args.Select(arg => arg switch
        {
            "MODEL" => TestData.DemoModel,
            "FILE" => file,
            "ADAPTER" => _folder["adapter"],
            "OUT" => _folder["out.gguf"],
            _ => arg,
        })]);
        Assert.Equal((code, ""), (result.Code, result.Output));
        Assert.StartsWith($"gemma4edge: {file}: ", result.Error, StringComparison.Ordinal);
        Assert.Contains("line 3, byte 11: 'o' is an invalid start of a value.", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("LineNumber", result.Error, StringComparison.Ordinal);
        Assert.Single(result.Error.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData("render", "line 2, byte 8: 'o' is an invalid start of a value. Expected one JSON object a line.")]
    [InlineData("eval", "line 2, byte 8: 'o' is an invalid start of a value. Expected one JSON object a line.")]
    public async Task JsonLines_NameTheLineOfTheFile(string verb, string expected)
    {
        string first = File.ReadLines(Path.Combine(TestData.DemoModel, "eval-dev.jsonl")).First();
        using var data = new TempFile([first, """{"id": oops}"""]);
        CliResult result = await TestCli.RunAsync(verb, TestData.DemoModel, data.Path);
        Assert.Equal((ExitCode.Failed, $"gemma4edge: {data.Path}: {expected}\n"), (result.Code, result.Error));
    }

    [Theory]
    [InlineData("", "it is empty.")]
    [InlineData("\uFEFF{\"name\":\"x\"", "line 1, byte 12: Expected depth to be zero")]
    [InlineData("""{"name":"a","name":"b"}""", "The key 'name' stands twice.")]
    [InlineData("""{"name":"\ud800"}""", "a string in it is not valid Unicode.")]
    public async Task ATool_SaysWhatIsWrong(string json, string expected)
    {
        File.WriteAllText(_folder["tool.json"], json);
        CliResult result = await TestCli.RunAsync("run", TestData.DemoModel, "hi", "--tools", _folder["tool.json"]);
        Assert.Equal(ExitCode.WrongUsage, result.Code);
        Assert.StartsWith($"gemma4edge: {_folder["tool.json"]}: {expected}", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ATokenizerOfAnotherShape_IsNamedInWords()
    {
        File.WriteAllText(Path.Combine(BreakModel("tokenizer.json"), "tokenizer.json"), "[]");
        CliResult result = await TestCli.RunAsync("tokenize", _folder["model"], "hi");
        Assert.Contains("the file is an array, expected an object.", result.Error, StringComparison.Ordinal);
    }

    /// <summary>The demo model by links, without one of its files.</summary>
    private string BreakModel(string without)
    {
        Directory.CreateDirectory(_folder["model"]);
        foreach (string file in Directory.GetFiles(TestData.DemoModel).Where(file => Path.GetFileName(file) is var name && name != without && name != "tokenizer.model"))
        {
            File.CreateSymbolicLink(Path.Combine(_folder["model"], Path.GetFileName(file)), file);
        }

        return _folder["model"];
    }
}
