using System.Net;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Tests.Service;

public sealed class CollectorWatchTests
{
    private readonly ListLogger<CollectorWatchTests> _log = new();
    private readonly FakeTime _time = new();
    private readonly CollectorWatch _watch;

    public CollectorWatchTests() => _watch = new CollectorWatch("C", _time, _log);

    [Fact]
    public void CollectorThatWorks_IsNoLine()
    {
        _watch.Answered(new HttpResponseMessage(HttpStatusCode.OK));
        Assert.Empty(_log.Lines);
    }

    [Fact]
    public void OneOutage_IsOneWarning_AndOneEnd()
    {
        for (int export = 0; export < 100; export++)
        {
            _watch.Failed("Connection refused.");
            _time.Advance(TimeSpan.FromMinutes(1));
        }

        _watch.Answered(new HttpResponseMessage(HttpStatusCode.OK));
        _watch.Answered(new HttpResponseMessage(HttpStatusCode.OK));
        Assert.Equal(2, _log.Lines.Count);
        Assert.StartsWith("The collector C does not take the metrics: Connection refused. The node goes on", _log.Lines[0], StringComparison.Ordinal);
        Assert.Equal("The collector C takes the metrics again", _log.Lines[1]);
    }

    [Fact]
    public void CollectorThatComesAndGoes_IsWarnedOfOnceInTenMinutes()
    {
        for (int second = 0; second < 1500; second++) // 25 minutes
        {
            _watch.Failed("Connection refused");
            _watch.Answered(new HttpResponseMessage(HttpStatusCode.OK));
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal((3, 3), (_log.Lines.Count(line => line.Contains("does not take", StringComparison.Ordinal)), _log.Lines.Count(line => line.Contains("again", StringComparison.Ordinal) && line.EndsWith("metrics again", StringComparison.Ordinal))));
    }

    [Fact]
    public void AnOutageRightAfterAnother_IsWarnedOf_WhenItLasts()
    {
        _watch.Failed("first");
        _watch.Answered(new HttpResponseMessage(HttpStatusCode.OK));
        _watch.Failed("second");
        Assert.Equal(2, _log.Lines.Count);
        _time.Advance(TimeSpan.FromMinutes(10));
        _watch.Failed("second");
        Assert.Contains("second", _log.Lines[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(HttpStatusCode.ServiceUnavailable, null, "it answered 503 Service Unavailable")]
    [InlineData(HttpStatusCode.OK, "14", "it answered with gRPC status 14 no more")]
    [InlineData(HttpStatusCode.OK, "0", null)]
    public void WhatItAnswers_IsTheReason(HttpStatusCode status, string? grpc, string? reason)
    {
        var response = new HttpResponseMessage(status);
        if (grpc is not null)
        {
            response.TrailingHeaders.Add("grpc-status", grpc);
            response.TrailingHeaders.Add("grpc-message", "no more");
        }

        _watch.Answered(response);
        Assert.Equal(reason is not null, _log.Lines.Any(line => line.Contains($"metrics: {reason}.", StringComparison.Ordinal)));
    }
}
