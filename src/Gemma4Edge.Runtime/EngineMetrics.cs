using System.Diagnostics.Metrics;
using Gemma4Edge.Model;

namespace Gemma4Edge.Runtime;

/// <summary>What the engine did: instruments for any listener, and the figures of the telemetry payload.</summary>
/// <remarks>Thread-safe. One call per finished request: nothing here is on the path of a token. Instruments are in seconds, snapshot values in milliseconds.</remarks>
public sealed class EngineMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "gemma4edge";

    private readonly Meter _meter = new(MeterName);
    private readonly Histogram<double> _timeToFirstToken;
    private readonly Histogram<double> _timePerOutputToken;
    private readonly Histogram<double> _requestDuration;
    private readonly Histogram<double> _queueDuration;
    private readonly Histogram<long> _tokenUsage;
    private readonly Gauge<double> _prefillRate;
    private readonly Gauge<double> _decodeRate;
    private readonly Counter<long> _requests;
    private readonly LatencyWindow _ttft;
    private readonly LatencyWindow _tpot;
    private readonly LatencyWindow _total;
    private readonly LatencyWindow _queue;
    private readonly Lock _lock = new();
    private MetricsSnapshot _totals = new();

    /// <summary>Makes the instruments.</summary>
    /// <param name="time">The clock of the five-minute windows; null = the system's.</param>
    public EngineMetrics(TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        (_ttft, _tpot, _total, _queue) = (new(time), new(time), new(time), new(time));
        _timeToFirstToken = _meter.CreateHistogram<double>("gen_ai.server.time_to_first_token", "s", "From the start of work to the first token");
        _timePerOutputToken = _meter.CreateHistogram<double>("gen_ai.server.time_per_output_token", "s", "Per token after the first");
        _requestDuration = _meter.CreateHistogram<double>("gen_ai.server.request.duration", "s", "From receipt to the end of the answer");
        _queueDuration = _meter.CreateHistogram<double>("gemma4edge.queue.duration", "s", "From receipt to the start of work");
        _tokenUsage = _meter.CreateHistogram<long>("gen_ai.client.token.usage", "{token}", "Tokens of prompt and answer");
        _prefillRate = _meter.CreateGauge<double>("gemma4edge.prefill.rate", "{token}/s", "New prompt tokens per second, last request");
        _decodeRate = _meter.CreateGauge<double>("gemma4edge.decode.rate", "{token}/s", "Answer tokens per second, last request");
        _requests = _meter.CreateCounter<long>("gemma4edge.requests", "{request}", "Requests by outcome");
        _meter.CreateObservableCounter("gemma4edge.head.tokens", () => Totals().HeadTokens ?? 0, "{token}", "Tokens whose head was computed in two stages");
        _meter.CreateObservableCounter("gemma4edge.head.beyond_quarter", () => Totals().HeadBeyondQuarter ?? 0, "{token}", "Of these, tokens whose winner the first stage had ranked beyond a quarter of the shortlist");
    }

    /// <summary>A request was answered.</summary>
    /// <param name="result">The answer.</param>
    /// <param name="kvBytes">Bytes of keys and values of its session.</param>
    /// <param name="winnerRanks">How good the two-stage head's shortlists have been since the start; null = the head is full.</param>
    public void RequestFinished(GenerationResult result, long kvBytes, WinnerRanks? winnerRanks)
    {
        ArgumentNullException.ThrowIfNull(result);
        RequestTimings t = result.Timings;
        _timeToFirstToken.Record(t.TtftMs / 1000);
        _requestDuration.Record(t.TotalMs / 1000);
        _queueDuration.Record(t.QueueMs / 1000);
        _tokenUsage.Record(result.Usage.Input, new KeyValuePair<string, object?>("gen_ai.token.type", "input"));
        _tokenUsage.Record(result.Usage.Output, new KeyValuePair<string, object?>("gen_ai.token.type", "output"));
        _requests.Add(1, new KeyValuePair<string, object?>("outcome", "ok"));
        _ttft.Add(t.TtftMs);
        _total.Add(t.TotalMs);
        _queue.Add(t.QueueMs);
        if (t.PrefillTokensPerSecond > 0)
        {
            _prefillRate.Record(t.PrefillTokensPerSecond);
        }

        if (t.DecodeTokensPerSecond > 0)
        {
            _decodeRate.Record(t.DecodeTokensPerSecond);
            _timePerOutputToken.Record(1 / t.DecodeTokensPerSecond);
            _tpot.Add(1000 / t.DecodeTokensPerSecond);
        }

        lock (_lock)
        {
            _totals = _totals with
            {
                PromptTokens = _totals.PromptTokens + result.Usage.Input,
                CachedTokens = _totals.CachedTokens + result.Usage.Cached,
                CompletionTokens = _totals.CompletionTokens + result.Usage.Output,
                RequestsOk = _totals.RequestsOk + 1,
                PrefillTokensPerSecond = t.PrefillTokensPerSecond > 0 ? t.PrefillTokensPerSecond : _totals.PrefillTokensPerSecond,
                DecodeTokensPerSecond = t.DecodeTokensPerSecond > 0 ? t.DecodeTokensPerSecond : _totals.DecodeTokensPerSecond,
                KvBytes = kvBytes,
                HeadTokens = winnerRanks?.Tokens,
                HeadBeyondQuarter = winnerRanks?.BeyondQuarter,
            };
        }
    }

    /// <summary>A request ended without an answer.</summary>
    public void RequestFailed(GenerationFailure failure)
    {
        ArgumentNullException.ThrowIfNull(failure);
        _requests.Add(1, new KeyValuePair<string, object?>("outcome", failure.Code.ToString()));
        lock (_lock)
        {
            _totals = _totals with { RequestsFailed = _totals.RequestsFailed + 1 };
        }
    }

    /// <summary>The figures as they stand.</summary>
    public MetricsSnapshot Snapshot()
    {
        lock (_lock)
        {
            return _totals with { TtftMs = _ttft.Snapshot(), TpotMs = _tpot.Snapshot(), TotalMs = _total.Snapshot(), QueueMs = _queue.Snapshot() };
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private MetricsSnapshot Totals()
    {
        lock (_lock)
        {
            return _totals;
        }
    }
}

/// <summary>The figures of a telemetry payload: percentiles of the last five minutes (null = no request), totals since the start, rates of the last request (null = none yet).</summary>
public sealed record MetricsSnapshot
{
    /// <summary>Time to first token.</summary>
    public Percentiles? TtftMs { get; init; }

    /// <summary>Time per output token.</summary>
    public Percentiles? TpotMs { get; init; }

    /// <summary>Request duration.</summary>
    public Percentiles? TotalMs { get; init; }

    /// <summary>Queue wait.</summary>
    public Percentiles? QueueMs { get; init; }

    /// <summary>New prompt tokens per second.</summary>
    public double? PrefillTokensPerSecond { get; init; }

    /// <summary>Answer tokens per second.</summary>
    public double? DecodeTokensPerSecond { get; init; }

    /// <summary>Prompt tokens, cached ones included.</summary>
    public long PromptTokens { get; init; }

    /// <summary>Prompt tokens that needed no prefill.</summary>
    public long CachedTokens { get; init; }

    /// <summary>Answer tokens.</summary>
    public long CompletionTokens { get; init; }

    /// <summary>Requests answered.</summary>
    public long RequestsOk { get; init; }

    /// <summary>Requests ended without an answer.</summary>
    public long RequestsFailed { get; init; }

    /// <summary>Bytes of keys and values of the session that ran last.</summary>
    public long? KvBytes { get; init; }

    /// <summary>Tokens whose head was computed in two stages; null = the head is full.</summary>
    public long? HeadTokens { get; init; }

    /// <summary>Of these, tokens whose winner the first stage had ranked beyond a quarter of the shortlist.</summary>
    public long? HeadBeyondQuarter { get; init; }
}
