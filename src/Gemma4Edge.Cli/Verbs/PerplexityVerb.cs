using System.CommandLine;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>perplexity</c>: how well a model predicts a text.</summary>
internal static class PerplexityVerb
{
    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var file = new Argument<string>("FILE") { Description = "Text file, UTF-8" };
        var reference = new Option<string?>("--reference") { Description = "A second model to measure the distance to (KL divergence); it runs with float32 keys and values", HelpName = "MODEL" };
        var stride = new CountOption("--stride", 0, 0, "Tokens scored per window of --context tokens; 0 = half a window");
        var json = new Option<bool>("--json") { Description = "Print one JSON object" };
        var verb = new Verb(
            "perplexity",
            "Measures how well a model predicts a text: each token once, with at least a window less a stride before it",
            "gemma4edge perplexity model.gguf wiki.txt",
            "gemma4edge perplexity small.gguf wiki.txt --reference full.gguf --context 512 --json")
        {
            model, file, reference, stride, json,
        };
        var options = new ModelFlags(verb, head: HeadMode.Full);
        verb.SetAction(parsed =>
        {
            string textPath = parsed.GetRequiredValue(file);
            InputFile.Expect(textPath, "a text file, UTF-8");
            string text = File.ReadAllText(textPath);
            EngineOptions engineOptions = options.Read(parsed, parsed.GetRequiredValue(model));
            if (engineOptions.Head == HeadMode.TwoStage)
            {
                throw CommandException.WrongUsage("Perplexity needs every logit: leave --head two-stage out.");
            }

            using InferenceEngine engine = InferenceEngine.Open(engineOptions);
            using InferenceEngine? other = parsed.GetValue(reference) is { } path ? InferenceEngine.Open(options.ReadReference(parsed, path)) : null;
            if (other is not null && other.Config.VocabSize != engine.Config.VocabSize)
            {
                throw CommandException.Failed($"--reference: {other.Config.VocabSize} tokens, but the model has {engine.Config.VocabSize}; compare models with the same vocabulary.");
            }

            List<int> tokens = [];
            engine.Tokenizer.Encode(text, specialTokens: false, tokens);
            if (tokens.Count == 0)
            {
                throw CommandException.Failed($"{textPath} holds no text.");
            }

            int window = Math.Min(engine.Context, other?.Context ?? int.MaxValue) - 1; // <bos> takes one place
            int step = parsed.GetValue(stride) is > 0 and int given ? Math.Min(given, window) : Math.Max(1, window / 2);
            QualityScore score = Score(engine, other, [.. tokens], window, step, terminal);
            if (parsed.GetValue(json))
            {
                JsonOutput.WriteObject(terminal.Out, writer =>
                {
                    writer.WriteNumber("tokens", score.Tokens);
                    writer.WriteNumber("perplexity", score.Perplexity);
                    writer.WriteNumber("mean_nll", score.MeanNll);
                    score.WriteReferenceTo(writer);
                });
            }
            else
            {
                terminal.Out.WriteLine($"perplexity {score.Perplexity:F4} over {score.Tokens} tokens (mean NLL {score.MeanNll:F4} nats, window {window + 1}, stride {step})");
                score.WriteReferenceTo(terminal.Out);
            }
        });
        return verb;
    }

    private static QualityScore Score(InferenceEngine engine, InferenceEngine? reference, ReadOnlySpan<int> tokens, int window, int step, Terminal terminal)
    {
        using var progress = new Progress(terminal, "Reading");
        var score = new QualityScore();
        KvCache cache = engine.NewCache();
        KvCache? referenceCache = reference?.NewCache();
        int scored = 0;
        for (int end = Math.Min(window, tokens.Length); scored < tokens.Length; end = Math.Min(end + step, tokens.Length))
        {
            int start = Math.Max(0, end - window);
            int[] input = [engine.Tokenizer.Special.Bos, .. tokens[start..(end - 1)]]; // row r predicts tokens[start + r]
            ScoreWindow(score, engine, cache, reference, referenceCache, input, tokens[start..end], scored - start, terminal.Interrupted);
            scored = end;
            progress.Report(scored, tokens.Length);
        }

        return score;
    }

    /// <summary>Scores the targets from <paramref name="firstScored"/> on; those before it are context only.</summary>
    private static void ScoreWindow(
        QualityScore score, InferenceEngine engine, KvCache cache, InferenceEngine? reference, KvCache? referenceCache,
        ReadOnlySpan<int> input, ReadOnlySpan<int> targets, int firstScored, CancellationToken cancellation)
    {
        int vocabulary = engine.Config.VocabSize;
        int chunk = Math.Min(MaxRows(engine), reference is null ? int.MaxValue : MaxRows(reference));
        cache.TryTruncate(0);
        referenceCache?.TryTruncate(0);
        for (int row = 0; row < input.Length; row += chunk)
        {
            ReadOnlySpan<int> part = input.Slice(row, Math.Min(chunk, input.Length - row));
            LogitRows want = row + part.Length > firstScored ? LogitRows.All : LogitRows.None;
            ReadOnlySpan<float> logits = engine.Transformer.Forward(part, cache, want, cancellation);
            ReadOnlySpan<float> referenceLogits = reference is null ? [] : reference.Transformer.Forward(part, referenceCache!, want, cancellation);
            for (int r = Math.Max(0, firstScored - row); r < part.Length; r++)
            {
                Range values = (r * vocabulary)..((r + 1) * vocabulary);
                score.Add(logits[values], reference is null ? [] : referenceLogits[values], targets[row + r]);
            }
        }
    }

    private static int MaxRows(InferenceEngine engine) => Math.Min(engine.Transformer.MaxChunk, engine.Transformer.MaxLogitRows);
}
