using System.Diagnostics;

namespace Gemma4Edge.Runtime;

/// <summary>A request on its way: what is asked, who hears the answer, and the switch that stops it.</summary>
public sealed class QueuedRequest(PromptRequest request, ITokenSink sink) : IDisposable
{
    private readonly CancellationTokenSource _cancellation = new();

    /// <summary>What is asked.</summary>
    public PromptRequest Request { get; } = request;

    /// <summary>Who hears the answer.</summary>
    public ITokenSink Sink { get; } = sink;

    /// <summary>Fires when somebody cancels the request.</summary>
    public CancellationToken Cancellation => _cancellation.Token;

    /// <summary>Its place among all that were added, from 1.</summary>
    internal long Number { get; set; }

    internal void Cancel() => _cancellation.Cancel();

    /// <inheritdoc/>
    public void Dispose() => _cancellation.Dispose();
}

/// <summary>The line in front of the one compute thread. Whoever lets requests in asks <see cref="IsFull"/> first and refuses at once: nobody waits to be let in.</summary>
/// <remarks>
/// Any number of threads may add and cancel; one thread takes. Cancelling reaches into the line, which a Channel does not allow.
/// A request whose deadline passes while it waits ends there and then.
/// </remarks>
public sealed class RequestQueue : IDisposable
{
    private readonly LinkedList<QueuedRequest> _waiting = new();
    private readonly SemaphoreSlim _available = new(0);
    private readonly EngineMetrics? _metrics;
    private readonly Timer _deadlines;
    private QueuedRequest? _running;
    private long _looks;
    private long _lastNumber;

    /// <summary>Makes an empty line.</summary>
    /// <param name="capacity">Most requests that may wait.</param>
    /// <param name="metrics">Hears of the requests that end while they wait.</param>
    public RequestQueue(int capacity, EngineMetrics? metrics = null)
    {
        Capacity = capacity;
        _metrics = metrics;
        _deadlines = new Timer(_ => EndExpired());
    }

    /// <summary>Most requests that may wait.</summary>
    public int Capacity { get; }

    /// <summary>Whether a further request must be refused.</summary>
    public bool IsFull => Count >= Capacity;

    /// <summary>Requests that wait now.</summary>
    public int Count
    {
        get
        {
            lock (_waiting)
            {
                return _waiting.Count;
            }
        }
    }

    /// <summary>Whether a request is being worked on.</summary>
    public bool Busy => Volatile.Read(ref _running) is not null;

    /// <summary>A request has come in; raised on the thread that added it.</summary>
    internal event Action? Added;

    /// <summary>How often the compute thread has come for work.</summary>
    public long Looks => Interlocked.Read(ref _looks);

    /// <summary>Lets the compute thread, if it waits for work, look once more: <see cref="Looks"/> tells that it did.</summary>
    public void Nudge()
    {
        if (_available.CurrentCount == 0)
        {
            _available.Release();
        }
    }

    /// <summary>Adds a request at the end of the line, even where it is full: one that was let in before a restart keeps its place.</summary>
    public void Add(QueuedRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        lock (_waiting)
        {
            request.Number = ++_lastNumber;
            _waiting.AddLast(request);
            WatchDeadlines();
        }

        _available.Release();
        Added?.Invoke();
    }

    /// <summary>Number of the request that was added last.</summary>
    internal long LastNumber
    {
        get
        {
            lock (_waiting)
            {
                return _lastNumber;
            }
        }
    }

    /// <summary>Whether a request of that session (null = of any) is here whose number is above <paramref name="after"/>.</summary>
    internal bool Holds(string? session, long after)
    {
        lock (_waiting)
        {
            return _waiting.Append(_running).Any(one => one?.Number > after && one.Request.Session is { } own && (session is null || own == session));
        }
    }

    /// <summary>Cancels every request with that id (null = all): waiting ones end here and now, the running one at its next look.</summary>
    /// <returns>How many it hit.</returns>
    public int Cancel(string? id)
    {
        int hit = EndWaiting(Failures.Cancelled, id); // first: one that is taken meanwhile is found below
        lock (_waiting)
        {
            if (_running is { } running && (id is null || running.Request.Id == id))
            {
                running.Cancel();
                hit++;
            }
        }

        return hit;
    }

    /// <summary>Ends the requests that wait, those with that id only (null = all), with <paramref name="failure"/>.</summary>
    /// <returns>How many it hit.</returns>
    public int EndWaiting(GenerationFailure failure, string? id = null) => EndWaiting(failure, request => id is null || request.Id == id);

    private int EndWaiting(GenerationFailure failure, Func<PromptRequest, bool> isMeant)
    {
        ArgumentNullException.ThrowIfNull(failure);
        List<QueuedRequest> ended = [];
        lock (_waiting)
        {
            for (LinkedListNode<QueuedRequest>? node = _waiting.First; node is not null;)
            {
                LinkedListNode<QueuedRequest>? next = node.Next;
                if (isMeant(node.Value.Request))
                {
                    _waiting.Remove(node);
                    ended.Add(node.Value);
                }

                node = next;
            }
        }

        foreach (QueuedRequest request in ended)
        {
            _metrics?.RequestFailed(failure, request.Request.ReceivedTimestamp);
            request.Sink.OnFailed(failure);
            request.Dispose();
        }

        return ended.Count;
    }

    /// <summary>Waits for the next request and marks it as running. For the compute thread only.</summary>
    /// <exception cref="OperationCanceledException">The service stops.</exception>
    internal QueuedRequest Take(CancellationToken stopping)
    {
        while (true)
        {
            _available.Wait(stopping);
            Interlocked.Increment(ref _looks);
            lock (_waiting)
            {
                if (_waiting.First is { } first) // a cancelled request leaves its count behind, a nudge has none
                {
                    _waiting.RemoveFirst();
                    _running = first.Value;
                }
                else
                {
                    continue;
                }
            }

            _running.Sink.OnTaken();
            return _running;
        }
    }

    /// <summary>The running request has ended.</summary>
    internal void Release()
    {
        lock (_waiting)
        {
            _running?.Dispose();
            _running = null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _deadlines.Dispose();
        _available.Dispose();
    }

    private void EndExpired()
    {
        long now = Stopwatch.GetTimestamp();
        EndWaiting(Failures.Expired, request => request.DeadlineTimestamp <= now);
        lock (_waiting)
        {
            WatchDeadlines();
        }
    }

    /// <summary>Sets the timer to the next deadline of those that wait.</summary>
    private void WatchDeadlines()
    {
        long next = long.MaxValue;
        foreach (QueuedRequest request in _waiting)
        {
            next = Math.Min(next, request.Request.DeadlineTimestamp ?? long.MaxValue);
        }

        if (next < long.MaxValue)
        {
            double milliseconds = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), next).TotalMilliseconds + 1;
            _deadlines.Change((long)Math.Clamp(milliseconds, 0, int.MaxValue), Timeout.Infinite);
        }
    }
}
