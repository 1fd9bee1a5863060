using System.CommandLine;
using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli.Verbs;

/// <summary><c>logits</c>: the network's raw output, for checking it against another implementation.</summary>
internal static class LogitsVerb
{
    private const int ShownTokens = 10;

    public static Command Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "Model file or folder" };
        var tokens = new Option<string>("--tokens") { Description = "Token ids, separated by spaces or commas", Required = true, HelpName = "\"1 2 3\"" };
        var all = new Option<bool>("--all") { Description = "Every position instead of the last; needs --out" };
        var outFile = new Option<string?>("--out") { Description = "Write float32 little-endian rows of the vocabulary's size to this file", HelpName = "FILE" };
        var chunk = new CountOption("--chunk", EngineOptions.DefaultPrefillChunk, 1, "Tokens per forward pass");
        var verb = new Verb(
            "logits",
            "Prints the most likely next tokens, or writes the raw logits to a file",
            "gemma4edge logits deploy/demo-model --tokens \"2 105 2364\"",
            "gemma4edge logits model.gguf --tokens \"2 105 2364\" --all --out logits.f32")
        {
            model, tokens, all, outFile, chunk,
        };
        var options = new ModelFlags(verb, kv: "f32", head: HeadMode.Full, activations: ActivationFormat.Float);
        verb.SetAction(parsed =>
        {
            string? path = parsed.GetValue(outFile);
            if (parsed.GetValue(all) && path is null)
            {
                throw CommandException.WrongUsage("--all prints nothing by itself: add --out FILE.");
            }

            int[] ids = ParseIds(parsed.GetRequiredValue(tokens));
            EngineOptions engineOptions = options.Read(parsed, parsed.GetRequiredValue(model)) with { PrefillChunk = parsed.GetValue(chunk), ContextUnlessAsked = ids.Length };
            using InferenceEngine engine = InferenceEngine.Open(engineOptions);
            CheckIds(ids, engine);
            if (parsed.GetValue(all) && engineOptions.Head == HeadMode.TwoStage)
            {
                throw CommandException.WrongUsage("--all writes every logit: leave --head two-stage out.");
            }

            using var progress = new Progress(terminal, "Forward");
            KvCache cache = engine.NewCache();
            if (path is null)
            {
                WriteBest(terminal, Prefill.Run(engine.Transformer, ids, cache, LogitRows.Shortlist, terminal.Interrupted, done => progress.Report(done, ids.Length)));
                return;
            }

            using FileStream file = File.Create(path);
            if (parsed.GetValue(all))
            {
                WriteAll(file, engine.Transformer, ids, cache, terminal, progress);
            }
            else
            {
                file.Write(MemoryMarshal.AsBytes(Prefill.Run(engine.Transformer, ids, cache, LogitRows.Shortlist, terminal.Interrupted, done => progress.Report(done, ids.Length))));
            }
        });
        return verb;
    }

    private static int[] ParseIds(string text)
    {
        string[] words = text.Split([' ', ',', '\t', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0)
        {
            throw CommandException.WrongUsage("--tokens holds no id: give at least one, as in --tokens \"2 105\".");
        }

        return Array.ConvertAll(words, word => int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out int id)
            ? id
            : throw CommandException.WrongUsage($"--tokens: '{word}' is not a token id; expected whole numbers from 0."));
    }

    private static void CheckIds(int[] ids, InferenceEngine engine)
    {
        if (Array.Find(ids, id => id >= engine.Config.VocabSize) is > 0 and int id)
        {
            throw CommandException.WrongUsage($"--tokens: {id} is outside this model's vocabulary; expected 0 to {engine.Config.VocabSize - 1}.");
        }

        if (ids.Length > engine.Context)
        {
            throw CommandException.WrongUsage($"--tokens: {ids.Length} tokens do not fit into a context of {engine.Context}; give fewer or a larger --context.");
        }
    }

    private static void WriteAll(FileStream file, Gemma4Transformer transformer, ReadOnlySpan<int> ids, KvCache cache, Terminal terminal, Progress progress)
    {
        int chunk = Math.Min(transformer.MaxChunk, transformer.MaxLogitRows);
        for (int done = 0; done < ids.Length; done += chunk)
        {
            progress.Report(done, ids.Length);
            ReadOnlySpan<int> next = ids.Slice(done, Math.Min(chunk, ids.Length - done));
            file.Write(MemoryMarshal.AsBytes(transformer.Forward(next, cache, LogitRows.All, terminal.Interrupted)));
        }
    }

    private static void WriteBest(Terminal terminal, ReadOnlySpan<float> logits)
    {
        float[] probabilities = new float[logits.Length];
        TensorPrimitives.SoftMax(logits, probabilities);
        int[] order = [.. Enumerable.Range(0, logits.Length)];
        Array.Sort(logits.ToArray(), order);
        var table = new TextTable("token", "logit", "probability");
        foreach (int id in order.Reverse().Take(ShownTokens))
        {
            table.Add($"{id}", $"{logits[id]:F4}", $"{probabilities[id]:F4}");
        }

        table.Write(terminal);
    }
}
