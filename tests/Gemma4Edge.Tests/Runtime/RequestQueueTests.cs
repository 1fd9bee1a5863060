using System.Diagnostics;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Tests.Runtime;

public class RequestQueueTests
{
    [Fact]
    public void IsFull_WhenAsManyWaitAsMay_AndStillTakesWhatWasLetInBefore()
    {
        using var queue = new RequestQueue(2);
        queue.Add(Request("a", out _));
        Assert.False(queue.IsFull);
        queue.Add(Request("b", out _));
        Assert.True(queue.IsFull);
        queue.Add(Request("c", out _));
        Assert.Equal(3, queue.Count);
    }

    [Fact]
    public void Take_IsInOrder_AndTheRunningOneTakesNoPlace()
    {
        using var queue = new RequestQueue(1);
        queue.Add(Request("a", out _));
        Assert.Equal("a", queue.Take(CancellationToken.None).Request.Id);
        Assert.True(queue.Busy);
        Assert.False(queue.IsFull);
        queue.Add(Request("b", out _));
        queue.Release();
        Assert.False(queue.Busy);
        Assert.Equal("b", queue.Take(CancellationToken.None).Request.Id);
    }

    [Fact]
    public void Cancel_HitsEveryRequestWithThatId_AndFreesItsPlace()
    {
        using var queue = new RequestQueue(3);
        queue.Add(Request("a", out RecordingSink running));
        QueuedRequest taken = queue.Take(CancellationToken.None);
        queue.Add(Request("a", out RecordingSink first));
        queue.Add(Request("b", out RecordingSink other));
        queue.Add(Request("a", out RecordingSink second));

        Assert.Equal(3, queue.Cancel("a"));

        Assert.True(taken.Cancellation.IsCancellationRequested);
        Assert.Equal(0, running.Ends); // the worker tells it
        Assert.Equal((1, 1, 0), (first.Ends, second.Ends, other.Ends));
        Assert.Equal(FailureCode.Cancelled, first.Failure!.Code);
        Assert.Equal(1, queue.Count);
        queue.Release();
        Assert.Equal("b", queue.Take(CancellationToken.None).Request.Id);
    }

    [Fact]
    public void Cancel_WithoutAnId_HitsAll()
    {
        using var queue = new RequestQueue(3);
        queue.Add(Request("a", out RecordingSink a));
        queue.Add(Request("b", out RecordingSink b));
        Assert.Equal(2, queue.Cancel(null));
        Assert.Equal((1, 1), (a.Ends, b.Ends));
        Assert.Equal(0, queue.Cancel(null));
    }

    [Fact]
    public void Take_SkipsTheCountsOfCancelledRequests()
    {
        using var queue = new RequestQueue(2);
        queue.Add(Request("a", out _));
        queue.Cancel("a");
        using var stopping = new CancellationTokenSource();
        stopping.CancelAfter(50);
        Assert.ThrowsAny<OperationCanceledException>(() => queue.Take(stopping.Token));
    }

    private static QueuedRequest Request(string id, out RecordingSink sink) =>
        new(
            new PromptRequest { Id = id, Prompt = "x", Sampling = SamplingOptions.Greedy, ReceivedTimestamp = Stopwatch.GetTimestamp() },
            sink = new RecordingSink());
}
