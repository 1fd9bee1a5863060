using System.Diagnostics;
using System.Diagnostics.Metrics;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

public sealed class EngineMetricsTests : IDisposable
{
    private static readonly GenerationResult s_result = new("", [], FinishReason.Stop, new TokenUsage(30, 10, 2), new RequestTimings(1, 2000, 3, 4, 5));
    private readonly EngineMetrics _metrics = new("demo");

    public void Dispose() => _metrics.Dispose();

    [Fact]
    public void FinishedRequest_IsInEveryInstrumentOfTheEngine()
    {
        _metrics.RequestFinished(s_result, winnerRanks: null);
        _metrics.RequestFailed(Failures.QueueFull(16), receivedTimestamp: null);

        MetricSeries ttft = Assert.Single(Series(MetricTable.TimeToFirstToken));
        Assert.Equal((2.0, 1L), (ttft.Value, ttft.Count));
        Assert.Equal(1, ttft.BucketCounts[MetricTable.TimeToFirstToken.Buckets.ToList().IndexOf(2.5)]);
        Assert.Equal(2, _metrics.Reader.Recent(MetricTable.TimeToFirstToken)!.Value.Max);
        Assert.Equal(0.25, Assert.Single(Series(MetricTable.TimePerOutputToken)).Value);
        Assert.Equal(["cached 10", "input 30", "output 2"], Series(MetricTable.TokenUsage).Select(s => $"{s.Tags.Single(tag => tag.Key == MetricTable.TokenType).Value} {s.Value}").Order());
        Assert.Equal(["failed 0", "failed 1", "ok 1"], Series(MetricTable.Requests).Select(s => $"{s.Tags.Single(tag => tag.Key == MetricTable.Outcome).Value} {s.Value}").Order());
        Assert.Contains(Series(MetricTable.Requests), s => s.Tags.Contains(new(MetricTable.ErrorType, "queue_full")));
    }

    /// <summary>What the semantic conventions ask of each, read from their page.</summary>
    [Fact]
    public void GenAiInstruments_HaveTheAttributesOfTheConventions()
    {
        _metrics.RequestFinished(s_result, winnerRanks: null);
        _metrics.RequestFailed(Failures.QueueFull(16), Stopwatch.GetTimestamp() - (3 * Stopwatch.Frequency));
        _metrics.ToolRan("set_light", "ok", TimeSpan.FromSeconds(1));
        _metrics.ToolRan("set_light", "failed", TimeSpan.FromSeconds(1));

        const string Answered = "gen_ai.operation.name=chat gen_ai.provider.name=gemma4edge gen_ai.request.model=demo gen_ai.response.model=demo";
        const string Failed = "error.type=queue_full gen_ai.operation.name=chat gen_ai.provider.name=gemma4edge gen_ai.request.model=demo";
        Assert.Equal([Answered], Tags(MetricTable.TimeToFirstToken));
        Assert.Equal([Answered], Tags(MetricTable.TimePerOutputToken));
        Assert.Equal([Failed, Answered], Tags(MetricTable.RequestDuration));
        Assert.Equal([$"{Answered} gen_ai.token.type=cached", $"{Answered} gen_ai.token.type=input", $"{Answered} gen_ai.token.type=output"], Tags(MetricTable.TokenUsage));
        Assert.Equal(["error.type=failed gen_ai.tool.name=set_light outcome=failed", "gen_ai.tool.name=set_light outcome=ok"], Tags(MetricTable.ToolDuration));
        Assert.InRange(Series(MetricTable.RequestDuration).Single(s => s.Tags.Contains(new(MetricTable.ErrorType, "queue_full"))).Value, 3, 60);

        string[] Tags(Metric metric) => [.. Series(metric).Select(s => string.Join(' ', s.Tags.Select(tag => $"{tag.Key}={tag.Value}"))).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public void Percentiles_AreThoseOfAnswers()
    {
        _metrics.RequestFailed(Failures.QueueFull(16), receivedTimestamp: null);
        Assert.Null(_metrics.Reader.Recent(MetricTable.RequestDuration));
        _metrics.RequestFinished(s_result, winnerRanks: null);
        _metrics.RequestFailed(Failures.QueueFull(16), receivedTimestamp: null);
        Assert.Equal(new Percentiles(0.005, 0.005, 0.005), _metrics.Reader.Recent(MetricTable.RequestDuration));
    }

    [Fact]
    public void ValueOnABound_IsInTheBucketBelowIt_AndAboveAllIsTheLast()
    {
        foreach (double seconds in (double[])[0.01, 0.0100001, 80, 81])
        {
            _metrics.Record(MetricTable.TimeToFirstToken, seconds);
        }

        IReadOnlyList<long> counts = Assert.Single(Series(MetricTable.TimeToFirstToken)).BucketCounts;
        Assert.Equal([2, 3, counts.Count - 2, counts.Count - 1], counts.Select((count, bucket) => (count, bucket)).Where(pair => pair.count > 0).Select(pair => pair.bucket));
    }

    [Fact]
    public void ObservedValue_IsAbsentWhileItCannotBeHad()
    {
        double? celsius = null;
        _metrics.Observe(MetricTable.CpuTemperature, () => celsius);
        Assert.Empty(Series(MetricTable.CpuTemperature));
        celsius = 51.5;
        Assert.Equal(51.5, Assert.Single(Series(MetricTable.CpuTemperature)).Value);
        celsius = null;
        Assert.Empty(Series(MetricTable.CpuTemperature));
    }

    [Fact]
    public void ObservedCounter_TellsItsSum_HoweverOftenItIsRead()
    {
        _metrics.Observe(MetricTable.MajorFaults, () => 12);
        Assert.Equal(12, Assert.Single(Series(MetricTable.MajorFaults)).Value);
        Assert.Equal(12, Assert.Single(Series(MetricTable.MajorFaults)).Value);
    }

    [Fact]
    public void Head_IsAbsentWhereItIsFull_AndCountedWhereItHasTwoStages()
    {
        _metrics.RequestFinished(s_result, winnerRanks: null);
        Assert.Empty(Series(MetricTable.HeadTokens));
        Assert.Empty(Series(MetricTable.HeadBeyondQuarter));

        var ranks = new WinnerRanks(512);
        ranks.Add(1);
        ranks.Add(500);
        _metrics.RequestFinished(s_result, ranks);
        Assert.Equal((2.0, 1.0), (Assert.Single(Series(MetricTable.HeadTokens)).Value, Assert.Single(Series(MetricTable.HeadBeyondQuarter)).Value));
    }

    [Fact]
    public void AnyOtherListener_HearsTheSame_WithTheAdvisedBuckets()
    {
        List<string> heard = [];
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, self) => self.EnableMeasurementEvents(instrument);
        listener.SetMeasurementEventCallback<double>((instrument, value, _, _) =>
        {
            if (value == 2.125)
            {
                heard.Add(instrument.Name);
                Assert.Equal(MetricTable.TimeToFirstToken.Buckets, ((Histogram<double>)instrument).Advice!.HistogramBucketBoundaries!);
            }
        });
        listener.Start();
        _metrics.Record(MetricTable.TimeToFirstToken, 2.125);
        Assert.Equal(["gen_ai.server.time_to_first_token"], heard);
    }

    private IReadOnlyList<MetricSeries> Series(Metric metric) => _metrics.Reader.Read().SingleOrDefault(family => family.Metric == metric)?.Series ?? [];
}
