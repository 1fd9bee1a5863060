using System.Diagnostics.Metrics;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

public sealed class EngineMetricsTests
{
    private static readonly GenerationResult s_result = new("", [], FinishReason.Stop, new TokenUsage(3, 1, 2), new RequestTimings(1, 2, 3, 4, 5));

    [Fact]
    public void Head_IsAbsentWhereItIsFull_AndCountedWhereItHasTwoStages()
    {
        using var metrics = new EngineMetrics();
        metrics.RequestFinished(s_result, kvBytes: 1, winnerRanks: null);
        Assert.Null(metrics.Snapshot().HeadTokens);
        Assert.Null(metrics.Snapshot().HeadBeyondQuarter);

        var ranks = new WinnerRanks(512);
        ranks.Add(1);
        ranks.Add(500);
        metrics.RequestFinished(s_result, kvBytes: 1, ranks);
        Assert.Equal((2L, 1L), (metrics.Snapshot().HeadTokens, metrics.Snapshot().HeadBeyondQuarter));

        Dictionary<string, long> observed = [];
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (instrument.Name.StartsWith("gemma4edge.head.", StringComparison.Ordinal))
            {
                self.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, _, _) => observed[instrument.Name] = Math.Max(value, observed.GetValueOrDefault(instrument.Name)));
        listener.Start();
        listener.RecordObservableInstruments();
        Assert.Equal(new Dictionary<string, long> { ["gemma4edge.head.tokens"] = 2, ["gemma4edge.head.beyond_quarter"] = 1 }, observed);
    }
}
