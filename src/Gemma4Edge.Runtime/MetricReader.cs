using System.Diagnostics.Metrics;

namespace Gemma4Edge.Runtime;

/// <summary>One instrument and what it has said, one series for each combination of tags.</summary>
/// <param name="Metric">The figure.</param>
/// <param name="Series">A copy.</param>
public sealed record MetricFamily(Metric Metric, IReadOnlyList<MetricSeries> Series);

/// <summary>What one instrument has said with one combination of tags.</summary>
/// <param name="Tags">Name and value, in the order of names.</param>
/// <param name="Value">The gauge's last value, the counter's or the histogram's sum.</param>
/// <param name="Count">Values of a histogram.</param>
/// <param name="BucketCounts">Values of a histogram by bucket, the last is above all bounds; not cumulative.</param>
public sealed record MetricSeries(IReadOnlyList<KeyValuePair<string, string>> Tags, double Value, long Count, IReadOnlyList<long> BucketCounts);

/// <summary>Listens to one meter and keeps what the exits need: sums, last values, buckets, and the percentiles of the last five minutes.</summary>
/// <remarks>Thread-safe.</remarks>
public sealed class MetricReader : IDisposable
{
    private static readonly Dictionary<string, Metric> s_metrics = MetricTable.All.ToDictionary(metric => metric.Name);
    private readonly MeterListener _listener = new();
    private readonly Lock _reading = new();
    private readonly Dictionary<Metric, Family> _families = [];
    private readonly TimeProvider _time;

    /// <summary>Listens from now on.</summary>
    /// <param name="meter">Only this one: a process may have several services.</param>
    /// <param name="time">The clock of the five minutes.</param>
    internal MetricReader(Meter meter, TimeProvider time)
    {
        _time = time;
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter == meter)
            {
                listener.EnableMeasurementEvents(instrument, FamilyOf(s_metrics[instrument.Name], instrument.IsObservable));
            }
        };
        _listener.SetMeasurementEventCallback<double>((_, value, tags, state) => ((Family)state!).Add(value, tags));
        _listener.Start();
    }

    /// <summary>Asks the observed instruments, and tells what all of them have said, in the table's order; those that have said nothing are left out.</summary>
    public IReadOnlyList<MetricFamily> Read()
    {
        lock (_reading)
        {
            foreach (Family family in Families())
            {
                family.ForgetObserved();
            }

            _listener.RecordObservableInstruments();
            return [.. Families().Select(family => family.Copy()).Where(copy => copy.Series.Count > 0)];
        }
    }

    /// <summary>Percentiles of a histogram's values of the last five minutes, those of failures left out; null = there are none.</summary>
    public Percentiles? Recent(Metric histogram) => FamilyOf(histogram, isObserved: false).Recent?.Snapshot();

    /// <inheritdoc/>
    public void Dispose() => _listener.Dispose();

    private Family FamilyOf(Metric metric, bool isObserved)
    {
        lock (_families)
        {
            if (!_families.TryGetValue(metric, out Family? family))
            {
                _families[metric] = family = new Family(metric, isObserved, metric.Kind == MetricKind.Histogram ? new LatencyWindow(_time) : null);
            }

            return family;
        }
    }

    private Family[] Families()
    {
        lock (_families)
        {
            return [.. MetricTable.All.Where(_families.ContainsKey).Select(metric => _families[metric])];
        }
    }

    private sealed class Family(Metric metric, bool isObserved, LatencyWindow? recent)
    {
        private readonly Dictionary<string, Series> _series = [];

        public LatencyWindow? Recent { get; } = recent;

        public void Add(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            List<KeyValuePair<string, string>> sorted = [];
            foreach ((string name, object? tag) in tags)
            {
                sorted.Add(new(name, tag?.ToString() ?? ""));
            }

            sorted.Sort((a, b) => string.CompareOrdinal(a.Key, b.Key));
            string key = string.Join('\n', sorted.Select(tag => $"{tag.Key}\n{tag.Value}"));
            lock (_series)
            {
                if (!_series.TryGetValue(key, out Series? series))
                {
                    _series[key] = series = new Series(sorted, new long[metric.Kind == MetricKind.Histogram ? metric.Buckets.Count + 1 : 0]);
                }

                bool adds = metric.Kind == MetricKind.Histogram || (metric.Kind == MetricKind.Counter && !isObserved);
                series.Value = adds ? series.Value + value : value;
                if (metric.Kind == MetricKind.Histogram)
                {
                    series.Count++;
                    series.Buckets[metric.Buckets.TakeWhile(bound => bound < value).Count()]++;
                }
            }

            if (!sorted.Exists(tag => tag.Key == MetricTable.ErrorType))
            {
                Recent?.Add(value);
            }
        }

        public void ForgetObserved()
        {
            if (isObserved)
            {
                lock (_series)
                {
                    _series.Clear();
                }
            }
        }

        public MetricFamily Copy()
        {
            lock (_series)
            {
                return new(metric, [.. _series.Values.Select(series => new MetricSeries(series.Tags, series.Value, series.Count, [.. series.Buckets]))]);
            }
        }
    }

    private sealed class Series(IReadOnlyList<KeyValuePair<string, string>> tags, long[] buckets)
    {
        public IReadOnlyList<KeyValuePair<string, string>> Tags => tags;

        public long[] Buckets => buckets;

        public double Value { get; set; }

        public long Count { get; set; }
    }
}
