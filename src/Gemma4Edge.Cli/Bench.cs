using System.Diagnostics;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Cli;

/// <summary>What to measure.</summary>
/// <param name="Prefill">Prompt lengths.</param>
/// <param name="Contexts">Tokens in the cache when decode starts; null = a short and a long one that fit the model.</param>
/// <param name="Tokens">Tokens decoded per measurement.</param>
/// <param name="Rounds">Measurements of each kind; the median counts.</param>
internal sealed record BenchPlan(int[] Prefill, int[]? Contexts, int Tokens, int Rounds);

/// <summary>Runs a plan on one model. Token ids are random but the same in every run.</summary>
internal static class Bench
{
    private const int ShortContext = 16;
    private const int LongContext = 1024;

    /// <exception cref="CommandException">The plan needs a longer context than the model has.</exception>
    public static BenchResult Run(EngineOptions options, BenchPlan plan, Terminal terminal)
    {
        int wanted = Math.Max(plan.Prefill.Max(), (plan.Contexts?.Max() ?? LongContext) + plan.Tokens);
        long start = Stopwatch.GetTimestamp();
        using InferenceEngine engine = InferenceEngine.Open(options.Context == 0 ? options with { Context = wanted } : options);
        double loadMs = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        int[] contexts = plan.Contexts ?? [ShortContext, Math.Min(LongContext, engine.Context - plan.Tokens)];
        int longest = Math.Max(plan.Prefill.Max(), contexts.Max() + plan.Tokens);
        if (longest > engine.Context)
        {
            throw CommandException.WrongUsage($"The longest measurement needs {longest} tokens, but the context is {engine.Context}: choose smaller --prefill, --contexts and --tokens.");
        }

        var random = new Random(1);
        int[] tokens = new int[longest];
        for (int i = 0; i < longest; i++)
        {
            tokens[i] = random.Next(engine.Config.VocabSize);
        }

        KvCache cache = engine.NewCache();
        long allTokens = plan.Prefill.Sum(n => (long)n * plan.Rounds) + contexts.Sum(n => (long)n + (plan.Tokens * plan.Rounds));
        long doneTokens = 0;
        using var progress = new Progress(terminal, "Measuring");
        engine.Transformer.Forward(tokens.AsSpan(0, 1), cache, LogitRows.Last, terminal.Interrupted); // touches every weight once

        var prefill = new List<PrefillRate>();
        foreach (int length in plan.Prefill)
        {
            prefill.Add(new PrefillRate(length, length / Median(plan.Rounds, () => Time(() =>
            {
                cache.TryTruncate(0);
                Prefill.Run(engine.Transformer, tokens.AsSpan(0, length), cache, terminal.Interrupted);
            }, length))));
        }

        var decode = new List<DecodeRate>();
        foreach (int context in contexts)
        {
            cache.TryTruncate(0);
            decode.Add(new DecodeRate(context, plan.Tokens / Median(plan.Rounds, () =>
            {
                Prefill.Run(engine.Transformer, tokens.AsSpan(0, context), cache, terminal.Interrupted); // from the second round on a cut back
                return Time(() =>
                {
                    for (int i = context; i < context + plan.Tokens; i++)
                    {
                        engine.Transformer.Forward(tokens.AsSpan(i, 1), cache, LogitRows.Last, terminal.Interrupted);
                    }
                }, plan.Tokens);
            })));
        }

        ProcessMemory? memory = ProcessMemory.TryRead(); // before the bandwidth test takes its gigabyte
        progress.Dispose();
        double bandwidth = ReadBandwidth.MeasureGigabytesPerSecond(engine.Threads);
        return new BenchResult
        {
            Model = engine.Model.Name,
            Format = engine.Model.Tensors.GroupBy(t => t.Format).MaxBy(g => g.Sum(t => t.Bytes))!.Key,
            Kernel = engine.Kernel,
            Threads = engine.Threads,
            Cpu = CpuName.TryRead(),
            ReadBandwidthGbps = bandwidth,
            FileBytes = engine.Model.FileBytes,
            BytesPerToken = engine.Model.BytesPerToken,
            PleBytes = engine.Model.PleBytes,
            LoadMs = loadMs,
            Prefill = prefill,
            Decode = decode,
            Memory = memory,
        };

        double Time(Action work, int count)
        {
            long begin = Stopwatch.GetTimestamp();
            work();
            double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
            progress.Report(doneTokens += count, allTokens);
            return seconds;
        }
    }

    private static double Median(int rounds, Func<double> measure)
    {
        double[] seconds = new double[rounds];
        for (int round = 0; round < rounds; round++)
        {
            seconds[round] = measure();
        }

        Array.Sort(seconds);
        return (seconds[(rounds - 1) / 2] + seconds[rounds / 2]) / 2;
    }
}
