using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text.Json;
using Gemma4Edge.Model;

namespace Gemma4Edge.Runtime;

/// <summary>The instruments of <see cref="MetricTable"/>, for any listener, and <see cref="Reader"/>, which listens from the start.</summary>
/// <remarks>Thread-safe. One call per finished request: nothing here is on the path of a token.</remarks>
public sealed class EngineMetrics : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "gemma4edge";

    private readonly Meter _meter = new(MeterName);
    private readonly Dictionary<Metric, Recorder> _recorders = [];
    private readonly (string, string)[] _asked;
    private readonly (string, string)[] _answered;
    private WinnerRanks? _winnerRanks;

    /// <summary>Makes the instruments.</summary>
    /// <param name="model">Name of the model that answers.</param>
    /// <param name="time">The clock of the five-minute windows; null = the system's.</param>
    public EngineMetrics(string model, TimeProvider? time = null)
    {
        _asked = [(MetricTable.OperationName, "chat"), (MetricTable.ProviderName, MeterName), (MetricTable.RequestModel, model)];
        _answered = [.. _asked, (MetricTable.ResponseModel, model)];
        Reader = new MetricReader(_meter, time ?? TimeProvider.System);
        Record(MetricTable.Requests, 0, (MetricTable.Outcome, "ok"));
        Record(MetricTable.Requests, 0, (MetricTable.Outcome, "failed"));
        Observe(MetricTable.HeadTokens, () => _winnerRanks?.Tokens);
        Observe(MetricTable.HeadBeyondQuarter, () => _winnerRanks?.BeyondQuarter);
    }

    private delegate void Recorder(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags);

    /// <summary>What the instruments have said so far.</summary>
    public MetricReader Reader { get; }

    /// <summary>A value was measured: the next of a histogram, an addition to a counter, the newest of a gauge.</summary>
    public void Record(Metric metric, double value, params ReadOnlySpan<(string Name, string Value)> tags)
    {
        ArgumentNullException.ThrowIfNull(metric);
        var pairs = new KeyValuePair<string, object?>[tags.Length];
        for (int i = 0; i < pairs.Length; i++)
        {
            pairs[i] = new(tags[i].Name, tags[i].Value);
        }

        Recorder? recorder;
        lock (_recorders)
        {
            if (!_recorders.TryGetValue(metric, out recorder))
            {
                _recorders[metric] = recorder = NewRecorder(metric);
            }
        }

        recorder(value, pairs);
    }

    /// <summary>From now on a value is asked for whenever somebody reads the metrics; null = it cannot be had now, and is left out.</summary>
    public void Observe(Metric metric, Func<double?> value) =>
        Observe(metric, () => value() is { } known ? [new Measurement<double>(known)] : []);

    /// <summary>The same for a figure of several series.</summary>
    public void Observe(Metric metric, Func<IEnumerable<Measurement<double>>> values)
    {
        ArgumentNullException.ThrowIfNull(metric);
        if (metric.Kind == MetricKind.Counter)
        {
            _meter.CreateObservableCounter(metric.Name, values, metric.Unit, metric.Description);
        }
        else
        {
            _meter.CreateObservableGauge(metric.Name, values, metric.Unit, metric.Description);
        }
    }

    /// <summary>A request was answered.</summary>
    /// <param name="result">The answer.</param>
    /// <param name="winnerRanks">How good the two-stage head's shortlists have been since the start; null = the head is full.</param>
    public void RequestFinished(GenerationResult result, WinnerRanks? winnerRanks)
    {
        ArgumentNullException.ThrowIfNull(result);
        RequestTimings t = result.Timings;
        Record(MetricTable.TimeToFirstToken, t.TtftMs / 1000, _answered);
        Record(MetricTable.RequestDuration, t.TotalMs / 1000, _answered);
        Record(MetricTable.QueueDuration, t.QueueMs / 1000);
        Record(MetricTable.TokenUsage, result.Usage.Input, [.. _answered, (MetricTable.TokenType, "input")]);
        Record(MetricTable.TokenUsage, result.Usage.Cached, [.. _answered, (MetricTable.TokenType, "cached")]);
        Record(MetricTable.TokenUsage, result.Usage.Output, [.. _answered, (MetricTable.TokenType, "output")]);
        Record(MetricTable.Requests, 1, (MetricTable.Outcome, "ok"));
        if (t.PrefillTokensPerSecond > 0)
        {
            Record(MetricTable.PrefillRate, t.PrefillTokensPerSecond);
        }

        if (t.DecodeTokensPerSecond > 0)
        {
            Record(MetricTable.DecodeRate, t.DecodeTokensPerSecond);
            Record(MetricTable.TimePerOutputToken, 1 / t.DecodeTokensPerSecond, _answered);
        }

        _winnerRanks = winnerRanks;
    }

    /// <summary>A request ended without an answer.</summary>
    /// <param name="failure">Why.</param>
    /// <param name="receivedTimestamp">When it arrived, a Stopwatch timestamp; null = just now.</param>
    public void RequestFailed(GenerationFailure failure, long? receivedTimestamp)
    {
        ArgumentNullException.ThrowIfNull(failure);
        string code = JsonNamingPolicy.SnakeCaseLower.ConvertName(failure.Code.ToString());
        long now = Stopwatch.GetTimestamp();
        Record(MetricTable.Requests, 1, (MetricTable.Outcome, "failed"), (MetricTable.ErrorType, code));
        Record(MetricTable.RequestDuration, Stopwatch.GetElapsedTime(receivedTimestamp ?? now, now).TotalSeconds, [.. _asked, (MetricTable.ErrorType, code)]);
    }

    /// <summary>A tool's call has ended.</summary>
    /// <param name="tool">Its name.</param>
    /// <param name="outcome">How: <c>ok</c>, <c>dry_run</c>, <c>refused</c>, <c>failed</c>, <c>unknown</c>.</param>
    /// <param name="duration">How long the act took.</param>
    public void ToolRan(string tool, string outcome, TimeSpan duration)
    {
        (string, string)[] tags = [(MetricTable.ToolName, tool), (MetricTable.Outcome, outcome)];
        Record(MetricTable.ToolDuration, duration.TotalSeconds, outcome is "ok" or "dry_run" ? tags : [.. tags, (MetricTable.ErrorType, outcome)]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Reader.Dispose();
        _meter.Dispose();
    }

    private Recorder NewRecorder(Metric metric) => metric.Kind switch
    {
        MetricKind.Histogram => _meter.CreateHistogram<double>(
            metric.Name, metric.Unit, metric.Description, tags: null, new InstrumentAdvice<double> { HistogramBucketBoundaries = metric.Buckets }).Record,
        MetricKind.Counter => _meter.CreateCounter<double>(metric.Name, metric.Unit, metric.Description).Add,
        _ => _meter.CreateGauge<double>(metric.Name, metric.Unit, metric.Description).Record,
    };
}
