using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Gemma4Edge.Cli;

/// <summary>A command whose help ends with notes and examples.</summary>
internal sealed class Verb(string name, string description, params string[] examples) : Command(name, description)
{
    public IReadOnlyList<string> Examples { get; } = examples;

    /// <summary>More than fits into one line of description.</summary>
    public string? Notes { get; set; }
}

/// <summary>The library's help, then the verb's own.</summary>
internal sealed class HelpWithExamples(HelpAction help) : SynchronousCommandLineAction
{
    private static readonly string[] s_firstSteps =
    [
        "gemma4edge demo",
        "gemma4edge run model.gguf \"Name three herbs.\"",
        "gemma4edge serve --model model.gguf --broker embedded",
        "gemma4edge send \"turn on the kitchen light\" --node kitchen",
        "gemma4edge serve --help",
    ];

    public override bool ClearsParseErrors => true; // `VERB --help` needs no arguments

    public override int Invoke(ParseResult parseResult)
    {
        int code = help.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        var verb = parseResult.CommandResult.Command as Verb;
        if (verb?.Notes is not null)
        {
            output.WriteLine(verb.Notes);
            output.WriteLine();
        }

        IReadOnlyList<string> examples = verb?.Examples ?? (parseResult.CommandResult.Command is RootCommand ? s_firstSteps : []);
        if (examples.Count > 0)
        {
            output.WriteLine("Examples:");
            foreach (string example in examples)
            {
                output.WriteLine($"  {example}");
            }

            output.WriteLine();
        }

        return code;
    }
}
