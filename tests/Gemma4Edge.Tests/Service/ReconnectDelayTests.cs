using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

public class ReconnectDelayTests
{
    [Fact]
    public void Grows_UpToHalfAMinute() => AssertNear([0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30], new ReconnectDelay(new Clock()), _ => { });

    /// <summary>Two nodes of one name: each connects, and is thrown out by the other a moment later.</summary>
    [Fact]
    public void GrowsOn_WhileConnectionsAreShort()
    {
        var clock = new Clock();
        var delay = new ReconnectDelay(clock);
        AssertNear([0.25, 0.5, 1, 2, 4], delay, _ => Connect(delay, clock, seconds: 29));
    }

    [Fact]
    public void StaysAtSeconds_WhileTheBrokerDiesAgainAndAgain()
    {
        var clock = new Clock();
        var delay = new ReconnectDelay(clock);
        AssertNear([0.25, 0.5, 1, 2, 2, 2, 2], delay, _ => Connect(delay, clock, seconds: 1), thrownOut: false);
    }

    [Fact]
    public void StartsAnew_AfterAConnectionThatLasted()
    {
        var clock = new Clock();
        var delay = new ReconnectDelay(clock);
        AssertNear([0.25, 0.5, 0.25, 0.25], delay, i => Connect(delay, clock, i == 0 ? 1 : 31));
    }

    [Fact]
    public void Remembers_WhetherTheLastConnectionLasted_ThroughFailedAttempts()
    {
        var clock = new Clock();
        var delay = new ReconnectDelay(clock);
        Assert.False(delay.HasLasted);
        Connect(delay, clock, seconds: 31);
        AssertNear([0.25, 0.5], delay, _ => Assert.True(delay.HasLasted));
        Connect(delay, clock, seconds: 29);
        delay.Next(thrownOut: false);
        Assert.False(delay.HasLasted);
    }

    private static void Connect(ReconnectDelay delay, Clock clock, int seconds)
    {
        delay.Connected();
        clock.Seconds += seconds;
    }

    private static void AssertNear(double[] expected, ReconnectDelay delay, Action<int> after, bool thrownOut = true)
    {
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.InRange(delay.Next(thrownOut).TotalSeconds, expected[i] / 2, expected[i]);
            after(i);
        }
    }

    private sealed class Clock : TimeProvider
    {
        public long Seconds { get; set; }

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Seconds;
    }
}
