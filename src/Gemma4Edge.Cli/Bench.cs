using System.Diagnostics;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Cli;

/// <summary>What to measure.</summary>
/// <param name="Prefill">Prompt lengths.</param>
/// <param name="Contexts">Tokens in the cache when decode starts; null = a short and a long one that fit the model.</param>
/// <param name="Tokens">Tokens decoded per measurement.</param>
/// <param name="Rounds">Measurements of each kind; the median counts.</param>
internal sealed record BenchPlan(int[] Prefill, int[]? Contexts, int Tokens, int Rounds);

/// <summary>Runs a plan on one model. Token ids are random but the same in every run.</summary>
internal sealed class Bench
{
    private const int ShortContext = 16;
    private const int LongContext = 1024;

    private readonly InferenceEngine _engine;
    private readonly KvCache _cache;
    private readonly Terminal _terminal;
    private readonly Progress _progress;
    private readonly int[] _tokens;
    private readonly int _rounds;
    private readonly long _tokensToRun;
    private long _tokensRun;

    private Bench(InferenceEngine engine, int[] prefill, int[] contexts, int tokens, int rounds, Terminal terminal, Progress progress)
    {
        _engine = engine;
        _cache = engine.NewCache();
        _terminal = terminal;
        _progress = progress;
        _rounds = rounds;
        _tokens = new int[Math.Max(prefill.Max(), contexts.Max() + tokens)];
        _tokensToRun = prefill.Sum(length => (long)length * rounds) + ((long)contexts.Length * tokens * rounds);
        if (_tokens.Length > engine.Context)
        {
            throw CommandException.WrongUsage(
                $"The longest measurement needs {_tokens.Length} tokens, but the context is {engine.Context}: choose smaller --prefill, --contexts and --tokens.");
        }

        var random = new Random(1);
        for (int i = 0; i < _tokens.Length; i++)
        {
            _tokens[i] = random.Next(engine.Config.VocabSize);
        }
    }

    /// <exception cref="CommandException">The plan needs a longer context than there is.</exception>
    public static BenchResult Run(EngineOptions options, BenchPlan plan, Terminal terminal)
    {
        options = options with { ContextUnlessAsked = Math.Max(plan.Prefill.Max(), (plan.Contexts?.Max() ?? LongContext) + plan.Tokens) };
        long start = Stopwatch.GetTimestamp();
        using InferenceEngine engine = InferenceEngine.Open(options);
        double loadMs = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        int[] contexts = plan.Contexts ?? [ShortContext, Math.Min(LongContext, engine.Context - plan.Tokens)];
        using var progress = new Progress(terminal, "Measuring");
        var bench = new Bench(engine, plan.Prefill, contexts, plan.Tokens, plan.Rounds, terminal, progress);
        bench.Feed(0); // touches every weight once
        PrefillRate[] prefill = Array.ConvertAll(plan.Prefill, bench.MeasurePrefill);
        DecodeRate[] decode = Array.ConvertAll(contexts, context => bench.MeasureDecode(context, plan.Tokens));
        DeviceReadings memory = DeviceReadings.Read(); // before the bandwidth test takes its gigabyte
        MappedResidency resident = MappedResidency.Of(engine.Model);
        engine.Park();                                   // and its cores
        return new BenchResult
        {
            Model = engine.Model.Name,
            Format = engine.Model.Tensors.GroupBy(tensor => tensor.Format).MaxBy(group => group.Sum(tensor => tensor.Bytes))!.Key,
            Kernel = engine.Kernel,
            Threads = engine.Threads,
            Cpu = DeviceReadings.CpuName,
            ReadBandwidthGbps = ReadBandwidth.MeasureGigabytesPerSecond(engine.Threads),
            FileBytes = engine.Model.FileBytes,
            BytesPerToken = engine.BytesPerToken,
            PleBytes = engine.Model.PleBytes,
            LoadMs = loadMs,
            Prefill = prefill,
            Decode = decode,
            HeadLowerBytes = engine.Model.HeadLowerBytes,
            Resident = resident,
            WinnerRanks = engine.Transformer.WinnerRanks,
            Memory = memory,
        };
    }

    private PrefillRate MeasurePrefill(int length)
    {
        double[] seconds = new double[_rounds];
        for (int round = 0; round < _rounds; round++)
        {
            _cache.TryTruncate(0);
            seconds[round] = Time(() => Prefill.Run(_engine.Transformer, _tokens.AsSpan(0, length), _cache, LogitRows.Shortlist, _terminal.Interrupted, Report));
            _tokensRun += length;
        }

        return new PrefillRate(length, length / Median(seconds));
    }

    private DecodeRate MeasureDecode(int context, int tokens)
    {
        double[] seconds = new double[_rounds];
        for (int round = 0; round < _rounds; round++)
        {
            Prefill.Run(_engine.Transformer, _tokens.AsSpan(0, context), _cache, LogitRows.Shortlist, _terminal.Interrupted); // after the first round little more than a cut
            seconds[round] = Time(() =>
            {
                for (int i = context; i < context + tokens; i++)
                {
                    Feed(i);
                    Report(i - context);
                }
            });
            _tokensRun += tokens;
        }

        return new DecodeRate(context, tokens / Median(seconds));
    }

    private void Feed(int index) =>
        _engine.Transformer.Forward(_tokens.AsSpan(index, 1), _cache, LogitRows.Shortlist, _terminal.Interrupted);

    private void Report(int tokens) => _progress.Report(_tokensRun + tokens, _tokensToRun);

    private static double Time(Action work)
    {
        long start = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double Median(double[] values)
    {
        Array.Sort(values);
        return (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
    }
}
