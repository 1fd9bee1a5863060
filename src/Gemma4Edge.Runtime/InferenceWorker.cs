using System.Diagnostics;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>The one compute thread: takes requests off the queue, one after the other, and answers them.</summary>
/// <remarks>Named sessions are kept, least recently used first to go. Whatever a request does wrong is told to its own sink; a failure that has no name ends the worker, see <see cref="Completion"/>.</remarks>
public sealed class InferenceWorker : IDisposable
{
    private readonly InferenceEngine _engine;
    private readonly RequestQueue _queue;
    private readonly EngineMetrics _metrics;
    private readonly int _maxSessions;
    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _disturbed = new(); // while it prepares
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread _thread;
    private readonly LinkedList<(string Name, ChatSession Session)> _sessions = new(); // most recently used first
    private readonly HashSet<(string? Name, long After)> _clears = []; // of conversations that requests wait for; After = the number of the last request that came before
    private readonly ChatSession _nameless;
    private long _begun; // number of the request that has got its session last
    private long _held; // bytes of keys and values when what they had left behind was last given back
    private volatile bool _isCleared; // of conversations whose memory was not given back yet

    /// <summary>Makes the worker; <see cref="Start"/> starts its thread.</summary>
    /// <param name="engine">The model. Only this worker may use it from now on.</param>
    /// <param name="queue">Where requests come from.</param>
    /// <param name="metrics">Hears how each request ended.</param>
    /// <param name="maxSessions">Most conversations that are kept.</param>
    public InferenceWorker(InferenceEngine engine, RequestQueue queue, EngineMetrics metrics, int maxSessions)
    {
        ArgumentNullException.ThrowIfNull(engine);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxSessions);
        _engine = engine;
        _queue = queue;
        _metrics = metrics;
        _maxSessions = maxSessions;
        _nameless = engine.OpenSession();
        metrics.Observe(MetricTable.KvBytes, () => KvBytes);
        _thread = new Thread(Loop) { Name = "inference", IsBackground = true };
    }

    /// <summary>Ends when the worker was stopped; faulted when something broke that no request can be blamed for.</summary>
    public Task Completion => _completion.Task;

    /// <summary>A request like those to come, for <see cref="ChatSession.Prepare"/> before the first of them; null = nothing is known of them. Set before <see cref="Start"/>.</summary>
    public PromptRequest? Expected { get; set; }

    /// <summary>Starts taking requests.</summary>
    public void Start() => _thread.Start();

    /// <summary>Forgets one conversation, or all of them (null). A request that is running ends undisturbed, on a session that nobody finds again; one that waits came before and still belongs to the conversation.</summary>
    public void ClearSessions(string? name)
    {
        lock (_sessions)
        {
            if (_queue.Holds(name, after: _begun))
            {
                _clears.Add((name, _queue.LastNumber));
            }
            else
            {
                Forget(name);
            }
        }

        if (_isCleared && !_queue.Busy) // else when the running request has ended, which may be on that very conversation
        {
            GiveBack();
        }
    }

    /// <summary>Stops: the running request ends as cancelled, those that wait stay in the queue.</summary>
    public void Dispose()
    {
        _stopping.Cancel(); // these are not disposed: they have no timer and no wait handle, and stopping twice must do no harm
        _disturbed.Cancel();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }
    }

    private long KvBytes
    {
        get
        {
            lock (_sessions)
            {
                return _nameless.KvBytes + _sessions.Sum(kept => kept.Session.KvBytes);
            }
        }
    }

    /// <summary>Frees the memory of conversations that are gone and of rows that caches have outgrown.</summary>
    /// <remarks>
    /// The garbage collector by itself looks at large arrays when there are about as many again: 9 kept caches of 4096 tokens of an E2B took the memory of
    /// 19 while sessions came and went, and take that of 10 with this. It costs 7 ms there, when a cache has grown, not for each request.
    /// </remarks>
    private void GiveBack()
    {
        _isCleared = false;
        Volatile.Write(ref _held, KvBytes);
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: false);
    }

    private void Loop()
    {
        try
        {
            Prepare();
            while (true)
            {
                QueuedRequest next = _queue.Take(_stopping.Token);
                try
                {
                    Answer(next);
                }
                finally
                {
                    _queue.Release();
                    if (_queue.Count == 0)
                    {
                        _engine.Park();
                        _engine.Prefixes?.Write();
                    }

                    if (_isCleared || KvBytes > Volatile.Read(ref _held))
                    {
                        GiveBack();
                    }
                }
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            _completion.SetResult();
        }
        catch (Exception broken)
        {
            _completion.SetException(broken);
        }
    }

    /// <summary>Computes what the prompts to come begin with, until one comes.</summary>
    private void Prepare()
    {
        if (Expected is null)
        {
            return;
        }

        _queue.Added += _disturbed.Cancel;
        try
        {
            if (_queue.Count == 0)
            {
                _nameless.Prepare(Expected, _disturbed.Token);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or FormatException or InvalidDataException)
        {
            // whoever comes goes on from where it stopped, and is told what is wrong
        }
        finally
        {
            _queue.Added -= _disturbed.Cancel;
        }

        _engine.Park();
        _engine.Prefixes?.Write();
    }

    private void Answer(QueuedRequest queued)
    {
        PromptRequest request = queued.Request;
        if (request.DeadlineTimestamp is { } deadline && Stopwatch.GetTimestamp() > deadline)
        {
            Fail(queued, Failures.Expired);
            return;
        }

        using var either = CancellationTokenSource.CreateLinkedTokenSource(queued.Cancellation, _stopping.Token);
        GenerationResult result;
        try
        {
            ChatSession session = SessionOf(queued);
            result = session.Generate(request, queued.Sink, either.Token);
            _metrics.RequestFinished(result, _engine.Transformer.WinnerRanks);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            Fail(queued, Failures.Interrupted);
            throw;
        }
        catch (OperationCanceledException)
        {
            Fail(queued, Failures.Cancelled);
            return;
        }
        catch (RequestFailedException failed)
        {
            Fail(queued, failed.Failure);
            return;
        }
        catch (ContextOverflowException overflow)
        {
            Fail(queued, Failures.ContextOverflow(overflow));
            return;
        }
        catch (FormatException wrong)
        {
            Fail(queued, new GenerationFailure(FailureCode.BadRequest, wrong.Message, "Change the request."));
            return;
        }
        catch (InvalidDataException damaged)
        {
            Fail(queued, new GenerationFailure(FailureCode.Internal, damaged.Message, "Check the model file."));
            return;
        }
        catch (Exception bug)
        {
            // nothing here knows what broke: the sender is told, the process ends and is started anew
            Fail(queued, new GenerationFailure(FailureCode.Internal, $"The service broke on this request: {bug.Message}", "The service's log has more; it is being restarted."));
            throw;
        }

        queued.Sink.OnDone(result); // outside: a sink that breaks on its last call must not get another
    }

    private void Fail(QueuedRequest queued, GenerationFailure failure)
    {
        _metrics.RequestFailed(failure, queued.Request.ReceivedTimestamp);
        queued.Sink.OnFailed(failure);
    }

    private void Forget(string? name)
    {
        for (LinkedListNode<(string Name, ChatSession)>? node = _sessions.First; node is not null;)
        {
            LinkedListNode<(string Name, ChatSession)>? next = node.Next;
            if (name is null || node.Value.Name == name)
            {
                _sessions.Remove(node);
                _isCleared = true;
            }

            node = next;
        }
    }

    private ChatSession SessionOf(QueuedRequest queued)
    {
        if (queued.Request.Session is not { } name)
        {
            _nameless.Clear();
            return _nameless;
        }

        lock (_sessions)
        {
            _begun = queued.Number;
            foreach ((string? Name, long After) clear in _clears.Where(clear => clear.After < queued.Number).ToArray())
            {
                Forget(clear.Name);
                _clears.Remove(clear);
            }

            LinkedListNode<(string Name, ChatSession Session)>? node = _sessions.First;
            while (node is not null && node.Value.Name != name)
            {
                node = node.Next;
            }

            if (node is null)
            {
                if (_sessions.Count == _maxSessions)
                {
                    _sessions.RemoveLast();
                    GiveBack();
                }

                node = new LinkedListNode<(string, ChatSession)>((name, _engine.OpenSession()));
            }
            else
            {
                _sessions.Remove(node);
            }

            _sessions.AddFirst(node);
            return node.Value.Session;
        }
    }
}
