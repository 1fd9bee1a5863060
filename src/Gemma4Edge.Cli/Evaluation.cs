using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli;

/// <summary>Counts the items that a model answers exactly right, and scores every token of the right answers.</summary>
/// <param name="engine">The model.</param>
/// <param name="reference">A model of the same vocabulary to measure the distance to, or null.</param>
/// <param name="answers">Gets a JSON line per item, or null.</param>
internal sealed class Evaluation(InferenceEngine engine, InferenceEngine? reference, StreamWriter? answers)
{
    private const int MaxPredictionTokens = 256;

    private readonly KvCache _cache = engine.NewCache();
    private readonly KvCache? _referenceCache = reference?.NewCache();
    private readonly Tally _all = new();
    private readonly Tally _calls = new();
    private readonly SortedDictionary<string, Tally> _kinds = new(StringComparer.Ordinal);
    private readonly QualityScore _score = new();
    private readonly bool _hasEveryLogit = engine.Transformer.WinnerRanks is null;

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
        _all.Count(exact);
        if (item.ExpectsCall)
        {
            _calls.Count(exact);
        }

        _kinds.TryAdd(item.Category, new Tally());
        _kinds[item.Category].Count(exact);
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

        if (_hasEveryLogit)
        {
            json.WriteNumber("mean_nll", _score.MeanNll);
        }

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
        if (_hasEveryLogit)
        {
            terminal.Out.WriteLine($"mean NLL {_score.MeanNll:F4} nats per expected token");
        }

        _score.WriteReferenceTo(terminal.Out);
    }

    /// <summary>
    /// Feeds the right answer token by token and scores each step. As long as the model's best token is the right
    /// one, that is its greedy answer: the number returned is how many it gets right from the start.
    /// </summary>
    private int CountRightTokens(ReadOnlySpan<int> prompt, ReadOnlySpan<int> completion, CancellationToken cancellation)
    {
        ReadOnlySpan<float> logits = Prefill.Run(engine.Transformer, prompt, _cache, LogitRows.Shortlist, cancellation);
        ReadOnlySpan<float> referenceLogits = reference is null ? [] : Prefill.Run(reference.Transformer, prompt, _referenceCache!, LogitRows.Last, cancellation);
        int right = 0;
        for (int i = 0; i < completion.Length; i++)
        {
            if (i > 0)
            {
                logits = engine.Transformer.Forward(completion.Slice(i - 1, 1), _cache, LogitRows.Shortlist, cancellation);
                referenceLogits = reference is null ? [] : reference.Transformer.Forward(completion.Slice(i - 1, 1), _referenceCache!, LogitRows.Last, cancellation);
            }

            if (_hasEveryLogit)
            {
                _score.Add(logits, referenceLogits, completion[i]);
            }

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
        ReadOnlySpan<float> logits = Prefill.Run(engine.Transformer, [.. prompt, .. answer], _cache, LogitRows.Shortlist, cancellation);
        while (answer.Count < MaxPredictionTokens && _cache.Length < _cache.Capacity)
        {
            answer.Add(TensorPrimitives.IndexOfMax(logits));
            if (engine.Tokenizer.StopIds.Contains(answer[^1]))
            {
                break;
            }

            logits = engine.Transformer.Forward(CollectionsMarshal.AsSpan(answer)[^1..], _cache, LogitRows.Shortlist, cancellation);
        }

        return answer;
    }

    private string Decode(List<int> ids)
    {
        var detokenizer = new Detokenizer(engine.Tokenizer, showSpecialTokens: true);
        return string.Concat(ids.Select(detokenizer.Push)) + detokenizer.Flush();
    }

    private sealed class Tally
    {
        public int Items { get; private set; }

        public int Exact { get; private set; }

        public double ExactPercent => 100.0 * Exact / Items;

        public void Count(bool exact)
        {
            Items++;
            Exact += exact ? 1 : 0;
        }
    }
}
