using System.CommandLine;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>eval</c>: exact match of a model's greedy answers with the right ones.</summary>
internal static class EvalVerb
{
    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var data = new Argument<string>("DATA.jsonl") { Description = "One item a line: id, category, tools, messages, expected, prompt, completion" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var reference = new Option<string?>("--reference") { Description = "A second model to measure the distance to (KL divergence); it runs with float32 keys and values", HelpName = "MODEL" };
        var predictions = new Option<string?>("--predictions") { Description = "Write what the model answered to this file, a JSON line per item", HelpName = "FILE" };
        var limit = new CountOption("--limit", 0, 0, "Only the first N items; 0 = all");
        var verb = new Verb(
            "eval",
            "Counts how many answers to known requests are exactly right",
            "gemma4edge eval deploy/demo-model deploy/demo-model/eval-dev.jsonl",
            "gemma4edge eval small.gguf items.jsonl --reference full.gguf --json",
            "gemma4edge eval model.gguf items.jsonl --limit 50 --predictions answers.jsonl")
        {
            model, data, json, reference, predictions, limit,
        };
        verb.Notes = "With --head two-stage only answers are compared: a shortlist has no probabilities for the other tokens.";
        var options = new ModelFlags(verb, head: HeadMode.Full);
        verb.SetAction(parsed =>
        {
            IEnumerable<EvalItem> read = JsonLines.Read(parsed.GetRequiredValue(data), EvalItem.Parse);
            List<EvalItem> items = [.. parsed.GetValue(limit) is > 0 and int count ? read.Take(count) : read];
            if (items.Count == 0)
            {
                throw CommandException.Failed($"{parsed.GetValue(data)} holds no item: give a file with one JSON object a line.");
            }

            using InferenceEngine engine = InferenceEngine.Open(options.Read(parsed, parsed.GetRequiredValue(model)));
            using InferenceEngine? other = parsed.GetValue(reference) is { } path ? InferenceEngine.Open(options.ReadReference(parsed, path)) : null;
            if (other is not null && other.Config.VocabSize != engine.Config.VocabSize)
            {
                throw CommandException.Failed($"--reference: {other.Config.VocabSize} tokens, but the model has {engine.Config.VocabSize}; compare models with the same vocabulary.");
            }

            if (other is not null && engine.Transformer.WinnerRanks is not null)
            {
                throw CommandException.WrongUsage("--reference compares every logit: leave --head out, or take --head full.");
            }

            using StreamWriter? answers = parsed.GetValue(predictions) is { } file ? File.CreateText(file) : null;
            using var progress = new Progress(terminal, "Evaluating");
            var evaluation = new Evaluation(engine, other, answers);
            for (int done = 0; done < items.Count; done++)
            {
                evaluation.Add(items[done], terminal.Interrupted);
                progress.Report(done + 1, items.Count);
            }

            progress.Dispose();
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, evaluation.WriteTo);
            }
            else
            {
                evaluation.WriteTo(terminal);
            }
        });
        return verb;
    }
}
