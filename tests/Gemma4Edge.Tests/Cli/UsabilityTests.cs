using System.Text.Json;
using Gemma4Edge.Cli;

namespace Gemma4Edge.Tests.Cli;

/// <summary>What somebody meets who mistypes, names the wrong file, presses Ctrl-C, or reads with a program.</summary>
public sealed class UsabilityTests
{
    [Theory]
    [InlineData("'rnu' is not known here; did you mean 'run'? 'gemma4edge --help'", "rnu", "model", "hi")]
    [InlineData("'--max-token' is not known here; did you mean '--max-tokens'? 'gemma4edge run --help'", "run", "model", "hi", "--max-token", "3")]
    [InlineData("'--verbos' is not known here; did you mean '--verbose'?", "inspect", "model", "--verbos")]
    [InlineData("'chek' is not known here; did you mean 'check'? 'gemma4edge config --help'", "config", "chek")]
    [InlineData("'nonsense' is not known here. 'gemma4edge --help'", "nonsense")]
    [InlineData("'-z' is not known here. 'gemma4edge version --help'", "version", "-z")]
    [InlineData("MODEL and PROMPT are missing. 'gemma4edge run --help'", "run")]
    [InlineData("PROMPT is missing. 'gemma4edge run --help'", "run", "model")]
    [InlineData("A command is missing; expected one of probe, unregister. 'gemma4edge mqtt --help'", "mqtt")]
    public async Task AMistypedLine_IsAnsweredWithWhatWasMeant(string expected, params string[] args)
    {
        CliResult result = await TestCli.RunAsync(args);
        Assert.Equal((ExitCode.WrongUsage, ""), (result.Code, result.Output));
        Assert.StartsWith($"gemma4edge: {expected}", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ExitCode.WrongUsage, "run", "MODEL")]
    [InlineData(ExitCode.BadModelFile, "run", "/nowhere", "hi")]
    [InlineData(ExitCode.WrongUsage, "run", "MODEL", "hi", "--tools", "/nowhere")]
    [InlineData(ExitCode.Broker, "send", "hi", "--broker", "mqtt://127.0.0.1:1")]
    [InlineData(ExitCode.Broker, "fleet", "--broker", "mqtt://127.0.0.1:1")]
    [InlineData(ExitCode.Broker, "mqtt", "probe", "--broker", "mqtt://127.0.0.1:1")]
    [InlineData(ExitCode.Failed, "eval", "MODEL", "/nowhere")]
    [InlineData(ExitCode.Failed, "perplexity", "MODEL", "/nowhere")]
    [InlineData(ExitCode.WrongUsage, "bench", "MODEL", "--contexts", "1000000")]
    [InlineData(ExitCode.BadModelFile, "inspect", "/nowhere")]
    [InlineData(ExitCode.Failed, "convert", "MODEL", "/nowhere/x.gguf")]
    [InlineData(ExitCode.WrongUsage, "config", "check", "--config", "/nowhere")]
    public async Task Json_IsOneObjectOfEveryFailureToo(int code, params string[] args)
    {
        CliResult result = await TestCli.RunAsync([.. args.Select(arg => arg == "MODEL" ? TestData.DemoModel : arg), "--json"]);
        Assert.Equal(code, result.Code);
        var json = JsonElement.Parse(result.Output);
        Assert.Equal(("error", code), (json.GetProperty("type").GetString(), json.GetProperty("exit_code").GetInt32()));
        Assert.Equal(result.Error, $"gemma4edge: {json.GetProperty("error").GetProperty("message").GetString()}\n");
    }

    [Theory]
    [InlineData("render")]
    [InlineData("eval")]
    [InlineData("perplexity")]
    public async Task AFolderWhereAFileShouldBe_IsCalledOne(string verb)
    {
        CliResult result = await TestCli.RunAsync(verb, TestData.DemoModel, TestData.DemoModel);
        Assert.Equal(ExitCode.Failed, result.Code);
        Assert.StartsWith($"gemma4edge: {TestData.DemoModel} is a folder: give a ", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokenize", "MODEL", "--ids")]
    [InlineData("run", "MODEL", "-")]
    [InlineData("send", "-", "--broker", "mqtt://127.0.0.1:1")]
    [InlineData("chat", "MODEL")]
    public async Task CtrlC_EndsAVerbThatWaitsForInput(params string[] args)
    {
        using var interrupted = new CancellationTokenSource();
        using var input = new SilentReader();
        var error = new StringWriter();
        Task<int> program = CommandLine.RunAsync([.. args.Select(arg => arg == "MODEL" ? TestData.DemoModel : arg)], new Terminal(input, new StringWriter(), error, interrupted.Token));
        await input.Waited.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        await interrupted.CancelAsync();
        Assert.Equal(ExitCode.Interrupted, await program.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));
        Assert.Equal("gemma4edge: Interrupted.\n", error.ToString());
    }

    [Theory]
    [InlineData(true, "a\uFFFD[2Jb\tc\nerror \uFFFD]0;x\uFFFD")]
    [InlineData(false, "a\u001b[2Jb\tc\nerror \u001b]0;x\u0007")]
    public void WhatANodeSends_CannotSteerAScreen_AndIsWholeInAFile(bool isScreen, string expected)
    {
        var output = new StringWriter();
        using var sink = new ConsoleSink(new Terminal(TextReader.Null, output, TextWriter.Null, CancellationToken.None) { IsScreen = isScreen });
        sink.Show(JsonElement.Parse("""{"type":"delta","text":"a\u001b[2Jb\tc\nerror \u001b]0;x\u0007"}"""));
        Assert.Equal(expected, output.ToString());
    }

    [Fact]
    public async Task AnError_IsOneLineWithoutControlCharacters()
    {
        CliResult result = await TestCli.RunAsync("run", TestData.DemoModel, "hi", "--tools", "/no\u001b[31m\nwhere");
        Assert.DoesNotContain('\u001b', result.Error);
        Assert.Single(result.Error.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData(80, "\rCounting [###############...............]  50 % (5 of 10, ")]
    [InlineData(40, "\rCounting  50 % (5 of 10, ")]
    [InlineData(12, "\rCounting  5\u001b[K")]
    public async Task Progress_StaysOnOneLineOfTheScreen(int columns, string expected)
    {
        var error = new StringWriter();
        using var progress = new Progress(new Terminal(TextReader.Null, TextWriter.Null, error, CancellationToken.None) { CanRedraw = true, Columns = columns }, "Counting");
        await Task.Delay(1050, TestContext.Current.CancellationToken); // work of less than a second shows nothing
        progress.Report(5, 10);
        Assert.StartsWith(expected, error.ToString(), StringComparison.Ordinal);
        Assert.True(error.ToString().Length - "\r\u001b[K".Length < columns);
    }

    /// <summary>An input on which nothing comes.</summary>
    private sealed class SilentReader : TextReader
    {
        private readonly TaskCompletionSource _waited = new();
        private readonly ManualResetEventSlim _end = new();

        public Task Waited => _waited.Task;

        public override string? ReadLine() => Wait();

        public override string ReadToEnd() => Wait() ?? "";

        protected override void Dispose(bool disposing)
        {
            _end.Set();
            base.Dispose(disposing);
        }

        private string? Wait()
        {
            _waited.SetResult();
            _end.Wait();
            return null;
        }
    }
}
