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
    public override bool ClearsParseErrors => true; // `VERB --help` needs no arguments

    public override int Invoke(ParseResult parseResult)
    {
        int code = help.Invoke(parseResult);
        if (parseResult.CommandResult.Command is Verb verb)
        {
            TextWriter output = parseResult.InvocationConfiguration.Output;
            if (verb.Notes is not null)
            {
                output.WriteLine(verb.Notes);
                output.WriteLine();
            }

            output.WriteLine("Examples:");
            foreach (string example in verb.Examples)
            {
                output.WriteLine($"  {example}");
            }

            output.WriteLine();
        }

        return code;
    }
}
