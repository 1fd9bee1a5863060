using System.Text.Json;
using Gemma4Edge.Cli;

namespace Gemma4Edge.Tests.Cli;

/// <summary>Runs the whole program in this process, from arguments to exit code.</summary>
internal static class TestCli
{
    public static Task<CliResult> RunAsync(params string[] args) => RunWithInputAsync("", args);

    public static async Task<CliResult> RunWithInputAsync(string input, params string[] args)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        int code = await CommandLine.RunAsync(args, new Terminal(new StringReader(input), output, error, TestContext.Current.CancellationToken));
        return new CliResult(code, output.ToString(), error.ToString());
    }
}

internal sealed record CliResult(int Code, string Output, string Error)
{
    public string[] Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The output as one JSON value, after an exit code of 0.</summary>
    public JsonElement Json()
    {
        Assert.True(Code == 0, Error);
        return JsonElement.Parse(Output);
    }
}
