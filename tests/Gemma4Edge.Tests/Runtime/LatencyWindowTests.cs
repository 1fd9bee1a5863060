using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

public class LatencyWindowTests
{
    [Fact]
    public void Percentiles_AreNearestRanks()
    {
        var window = new LatencyWindow(new FakeTime());
        foreach (int value in Enumerable.Range(1, 100).Reverse())
        {
            window.Add(value);
        }

        Assert.Equal(new Percentiles(50, 95, 100), window.Snapshot());
    }

    [Fact]
    public void ValuesOlderThanFiveMinutes_AreForgotten()
    {
        var time = new FakeTime();
        var window = new LatencyWindow(time);
        window.Add(1000);
        time.Advance(TimeSpan.FromMinutes(4));
        window.Add(1);
        Assert.Equal(1000, window.Snapshot()!.Value.Max);
        time.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal(new Percentiles(1, 1, 1), window.Snapshot());
        time.Advance(TimeSpan.FromMinutes(5));
        Assert.Null(window.Snapshot());
    }

    [Fact]
    public void ManyValues_PushOutTheOldest()
    {
        var window = new LatencyWindow(new FakeTime());
        window.Add(1e9);
        for (int i = 0; i < 1024; i++)
        {
            window.Add(2);
        }

        Assert.Equal(new Percentiles(2, 2, 2), window.Snapshot());
    }
}
