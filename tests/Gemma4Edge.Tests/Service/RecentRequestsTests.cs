using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

public class RecentRequestsTests
{
    private readonly FakeTime _time = new();
    private readonly RecentRequests _recent;

    public RecentRequestsTests() => _recent = new RecentRequests(_time);

    [Fact]
    public void Finished_IsKnownForTenMinutes()
    {
        Assert.Equal(Delivery.New, Admit("a"));
        Assert.Equal(Delivery.Running, Admit("a"));
        _recent.Finish("a", [9]);
        _time.Advance(TimeSpan.FromMinutes(9.9));
        Assert.Equal(Delivery.Finished, _recent.Admit("a", "x"u8, out byte[]? final));
        Assert.Equal([9], final);
        Assert.Equal(Delivery.Conflict, _recent.Admit("a", "y"u8, out _));
        _time.Advance(TimeSpan.FromMinutes(0.2));
        Assert.Equal(Delivery.New, Admit("a"));
    }

    [Fact]
    public void Running_IsNeverForgotten()
    {
        Admit("a");
        _time.Advance(TimeSpan.FromHours(1));
        Assert.Equal(Delivery.Running, Admit("a"));
        _recent.Forget("a");
        Assert.Equal(Delivery.New, Admit("a"));
    }

    [Fact]
    public void AtMostAThousandAreKept_TheOldestFinishedGo()
    {
        Admit("running");
        for (int i = 0; i < 2000; i++)
        {
            Admit($"{i}");
            _recent.Finish($"{i}", [1]);
        }

        Assert.Equal(Delivery.Running, Admit("running"));
        Assert.Equal(Delivery.Finished, Admit("1999"));
        Assert.Equal(Delivery.Finished, Admit("1010"));
        Assert.Equal(Delivery.New, Admit("990"));
    }

    private Delivery Admit(string key) => _recent.Admit(key, "x"u8, out _);

    private sealed class FakeTime : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _now;

        public void Advance(TimeSpan span) => _now += span.Ticks;
    }
}
