using System.CommandLine;
using System.Globalization;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>bench</c>: how fast a model runs here, and how much of what the memory allows that is.</summary>
internal static class BenchVerb
{
    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "Model file or folder; leave it out with --synthetic", Arity = ArgumentArity.ZeroOrOne };
        var synthetic = new ChoiceOption("--synthetic", null, "A model of that shape with random weights, made once", SyntheticModel.Sizes);
        var weights = new ChoiceOption("--weights", "q4_0", "Weight format of the synthetic model", SyntheticModel.Formats.Select(format => format.Name));
        var cache = new Option<string?>("--model-cache") { Description = "Folder for synthetic models; default ~/.cache/gemma4edge", HelpName = "DIR" };
        var prefill = new Option<string>("--prefill") { Description = "Prompt lengths to measure", DefaultValueFactory = _ => "128,512", HelpName = "N,N" };
        var contexts = new Option<string?>("--contexts") { Description = "Context lengths at which decode is measured; default 16,1024, or less where the model's context ends before", HelpName = "N,N" };
        var tokens = new CountOption("--tokens", 64, 1, "Tokens decoded per measurement");
        var rounds = new CountOption("--rounds", 3, 1, "Measurements of each kind; the median counts");
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "bench",
            "Measures prefill and decode speed, memory, and the share of this machine's read bandwidth that decode reaches",
            "gemma4edge bench deploy/demo-model",
            "gemma4edge bench --synthetic e2b --weights q4_0 --prefill 128 --contexts 16,1024",
            "gemma4edge bench model.gguf --threads 4 --json")
        {
            model, synthetic, weights, cache, prefill, contexts, tokens, rounds, json,
        };
        var options = new ModelFlags(verb);
        verb.SetAction(parsed =>
        {
            string path = (parsed.GetValue(model), parsed.GetValue(synthetic)) switch
            {
                ({ } file, null) => file,
                (null, { } size) => SyntheticFile.Make(terminal, size, SyntheticModel.Formats.Single(format => format.Name == parsed.GetValue(weights)), parsed.GetValue(cache)),
                _ => throw CommandException.WrongUsage("Give either a MODEL or --synthetic."),
            };
            var plan = new BenchPlan(
                Counts("--prefill", parsed.GetRequiredValue(prefill)),
                parsed.GetValue(contexts) is { } given ? Counts("--contexts", given) : null,
                parsed.GetValue(tokens),
                parsed.GetValue(rounds));
            BenchResult result = Bench.Run(options.Read(parsed, path), plan, terminal);
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, result.WriteTo);
            }
            else
            {
                result.WriteTo(terminal);
            }
        });
        return verb;
    }

    private static int[] Counts(string option, string text) =>
        Array.ConvertAll(text.Split(','), word => int.TryParse(word, CultureInfo.InvariantCulture, out int count) && count > 0
            ? count
            : throw CommandException.WrongUsage($"{option}: '{word}' is no number of tokens; expected numbers with commas, as in 128,512."));
}
