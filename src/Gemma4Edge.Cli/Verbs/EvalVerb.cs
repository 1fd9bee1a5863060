using System.CommandLine;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>eval</c>: exact match of a model's greedy answers with the right ones.</summary>
internal static class EvalVerb
{
    private const int MaxPredictionTokens = 256;

    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var data = new Argument<string>("DATA.jsonl") { Description = "One item a line: id, category, tools, messages, expected, prompt, completion" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var reference = new Option<string?>("--reference") { Description = "A second model to measure the distance to (KL divergence)", HelpName = "MODEL" };
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
        var options = new ModelFlags(verb);
        verb.SetAction(parsed =>
        {
            IEnumerable<EvalItem> read = JsonLines.Read(parsed.GetRequiredValue(data), EvalItem.Parse);
            List<EvalItem> items = [.. parsed.GetValue(limit) is > 0 and int count ? read.Take(count) : read];
            if (items.Count == 0)
            {
                throw CommandException.Failed($"{parsed.GetValue(data)} holds no item: give a file with one JSON object a line.");
            }

            using InferenceEngine engine = InferenceEngine.Open(options.Read(parsed, parsed.GetRequiredValue(model)));
            using InferenceEngine? other = parsed.GetValue(reference) is { } path ? InferenceEngine.Open(options.Read(parsed, path)) : null;
            if (other is not null && other.Config.VocabSize != engine.Config.VocabSize)
            {
                throw CommandException.Failed($"--reference: {other.Config.VocabSize} tokens, but the model has {engine.Config.VocabSize}; compare models with the same vocabulary.");
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

    private sealed class Tally
    {
        public int Items { get; set; }

        public int Exact { get; set; }

        public double ExactPercent => 100.0 * Exact / Items;
    }

    private sealed class Evaluation(InferenceEngine engine, InferenceEngine? reference, StreamWriter? answers)
    {
        private readonly KvCache _cache = engine.NewCache();
        private readonly KvCache? _referenceCache = reference?.NewCache();
        private readonly Tally _all = new();
        private readonly Tally _calls = new();
        private readonly SortedDictionary<string, Tally> _kinds = new(StringComparer.Ordinal);
        private readonly QualityScore _score = new();

        public void Add(EvalItem item, CancellationToken cancellation)
        {
            if (item.Prompt is { } prompt && ChatTemplate.RenderText(item.Conversation, engine.Form) != prompt)
            {
                throw CommandException.Failed($"Item {item.Id}: messages and tools do not render to its prompt; the file was made for another template.");
            }

            int[] promptIds = [.. ChatTemplate.RenderIds(item.Conversation, engine.Form, engine.Tokenizer)];
            List<int> completion = [];
            engine.Tokenizer.Encode(item.Completion, specialTokens: true, completion);
            int needed = promptIds.Length + completion.Count;
            if (needed > Math.Min(engine.Context, reference?.Context ?? int.MaxValue))
            {
                throw CommandException.Failed($"Item {item.Id} needs {needed} tokens; raise --context.");
            }

            int right = CountRightTokens(promptIds, CollectionsMarshal.AsSpan(completion), cancellation);
            bool exact = right == completion.Count;
            Count(_all, exact);
            if (item.ExpectsCall)
            {
                Count(_calls, exact);
            }

            _kinds.TryAdd(item.Category, new Tally());
            Count(_kinds[item.Category], exact);
            if (answers is not null)
            {
                string output = exact ? item.Completion : Decode(Answer(promptIds, completion[..right], cancellation));
                JsonOutput.WriteObject(answers, json =>
                {
                    json.WriteString("id", item.Id);
                    json.WriteString("output", output);
                    json.WriteBoolean("exact", exact);
                });
            }
        }

        public void WriteTo(Utf8JsonWriter json)
        {
            json.WriteNumber("items", _all.Items);
            json.WriteNumber("exact", _all.Exact);
            json.WriteNumber("exact_percent", _all.ExactPercent);
            if (_calls.Items > 0)
            {
                json.WriteNumber("calls_percent", _calls.ExactPercent);
            }

            json.WriteNumber("mean_nll", _score.MeanNll);
            json.WriteStartObject("kinds");
            foreach ((string kind, Tally tally) in _kinds)
            {
                json.WriteStartObject(kind);
                json.WriteNumber("items", tally.Items);
                json.WriteNumber("exact", tally.Exact);
                json.WriteEndObject();
            }

            json.WriteEndObject();
            _score.WriteReferenceTo(json);
        }

        public void WriteTo(Terminal terminal)
        {
            var table = new TextTable("kind", "items", "exact", "%");
            foreach ((string kind, Tally tally) in _kinds)
            {
                table.Add(kind, $"{tally.Items}", $"{tally.Exact}", $"{tally.ExactPercent:F1}");
            }

            table.Add("tool calls", $"{_calls.Items}", $"{_calls.Exact}", _calls.Items > 0 ? $"{_calls.ExactPercent:F1}" : "");
            table.Add("all", $"{_all.Items}", $"{_all.Exact}", $"{_all.ExactPercent:F1}");
            table.Write(terminal);
            terminal.Out.WriteLine($"mean NLL {_score.MeanNll:F4} nats per expected token");
            _score.WriteReferenceTo(terminal.Out);
        }

        private static void Count(Tally tally, bool exact)
        {
            tally.Items++;
            tally.Exact += exact ? 1 : 0;
        }

        /// <summary>
        /// Feeds the right answer token by token and scores each step. As long as the model's best token is the right
        /// one, that is its greedy answer: the number returned is how many it gets right from the start.
        /// </summary>
        private int CountRightTokens(ReadOnlySpan<int> prompt, ReadOnlySpan<int> completion, CancellationToken cancellation)
        {
            ReadOnlySpan<float> logits = Prefill.Run(engine.Transformer, prompt, _cache, cancellation);
            ReadOnlySpan<float> referenceLogits = reference is null ? [] : Prefill.Run(reference.Transformer, prompt, _referenceCache!, cancellation);
            int right = 0;
            for (int i = 0; i < completion.Length; i++)
            {
                if (i > 0)
                {
                    logits = engine.Transformer.Forward(completion.Slice(i - 1, 1), _cache, LogitRows.Last, cancellation);
                    referenceLogits = reference is null ? [] : reference.Transformer.Forward(completion.Slice(i - 1, 1), _referenceCache!, LogitRows.Last, cancellation);
                }

                _score.Add(logits, referenceLogits, completion[i]);
                if (right == i && TensorPrimitives.IndexOfMax(logits) == completion[i])
                {
                    right++;
                }
            }

            return right;
        }

        /// <summary>Goes on greedily from the first wrong token.</summary>
        private List<int> Answer(int[] prompt, List<int> answer, CancellationToken cancellation)
        {
            ReadOnlySpan<float> logits = Prefill.Run(engine.Transformer, [.. prompt, .. answer], _cache, cancellation);
            while (answer.Count < MaxPredictionTokens && _cache.Length < _cache.Capacity)
            {
                answer.Add(TensorPrimitives.IndexOfMax(logits));
                if (engine.Tokenizer.StopIds.Contains(answer[^1]))
                {
                    break;
                }

                logits = engine.Transformer.Forward(CollectionsMarshal.AsSpan(answer)[^1..], _cache, LogitRows.Last, cancellation);
            }

            return answer;
        }

        private string Decode(List<int> ids)
        {
            var detokenizer = new Detokenizer(engine.Tokenizer, showSpecialTokens: true);
            return string.Concat(ids.Select(detokenizer.Push)) + detokenizer.Flush();
        }
    }
}
