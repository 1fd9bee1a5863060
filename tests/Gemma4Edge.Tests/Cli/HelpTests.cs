namespace Gemma4Edge.Tests.Cli;

public sealed class HelpTests
{
    public static TheoryData<string> Verbs { get; } =
        ["demo", "serve", "run", "chat", "send", "fleet", "convert", "inspect", "logits", "tokenize", "render", "eval", "perplexity", "bench", "config", "mqtt", "doctor", "version"];

    [Theory]
    [MemberData(nameof(Verbs))]
    public async Task Help_ShowsExamples_ForEveryVerb(string verb)
    {
        CliResult help = await TestCli.RunAsync(verb, "--help");

        Assert.Equal(0, help.Code);
        Assert.Contains("Examples:", help.Output, StringComparison.Ordinal);
        Assert.Contains($"  gemma4edge {verb}", help.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_ListsEveryVerb_AndNoOther()
    {
        CliResult help = await TestCli.RunAsync("--help");

        string[] lines = help.Output[help.Output.IndexOf("Commands:", StringComparison.Ordinal)..help.Output.IndexOf("Examples:", StringComparison.Ordinal)].Split('\n')[1..];
        Assert.Equal(Verbs.Select(row => row.Data), lines.Where(line => line.Length > 2 && line[2] != ' ').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0]));
    }
}
