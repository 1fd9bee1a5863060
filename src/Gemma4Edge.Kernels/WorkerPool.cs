using System.Diagnostics;
using System.Globalization;
using System.Runtime.ExceptionServices;

namespace Gemma4Edge.Kernels;

/// <summary>A fixed set of threads that share the indexes of one <see cref="IRangeJob"/> at a time.</summary>
/// <remarks>
/// Threads − 1 workers help the calling thread. Everyone takes chunks from one counter, so fast and slow cores finish together, and a
/// worker that the system does not schedule delays nobody: the caller waits for started chunks only, never for sleeping workers.
/// Idle workers spin for <see cref="SpinMicroseconds"/> (longer than the serial steps between two products of one token), then sleep.
/// One caller at a time; a second one, or a job that calls <see cref="Run"/>, gets an <see cref="InvalidOperationException"/>.
/// </remarks>
public sealed class WorkerPool : IDisposable
{
    /// <summary>How long an idle worker spins before it sleeps. Waking a sleeper costs tens of µs and up to ms on a busy machine.</summary>
    private const int SpinMicroseconds = 200;

    private readonly Thread[] _workers;
    private readonly Lock _runLock = new();
    private readonly object _sleepLock = new();

    // The job. Written by Run while no chunk is open, published by _ticket.
    private IRangeJob? _job;
    private int _count;
    private int _grain;
    private Exception? _failure;

    /// <summary>Run number in the upper half, next index in the lower: a chunk is taken by advancing it, which fails if either has moved on.</summary>
    private long _ticket;

    /// <summary>Indexes not yet finished.</summary>
    private int _remaining;

    private int _active;
    private int _sleepers;
    private bool _parked;
    private bool _disposed;

    /// <summary>Starts <paramref name="threads"/> − 1 workers.</summary>
    /// <param name="threads">Threads that work on a job, the caller's own included; not more than free cores, or spinning steals from the others.</param>
    public WorkerPool(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        Threads = threads;
        _active = threads;
        _workers = new Thread[threads - 1];
        for (int i = 0; i < _workers.Length; i++)
        {
            int worker = i + 1;
            _workers[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = string.Create(CultureInfo.InvariantCulture, $"worker {i + 1}") };
            _workers[i].Start();
        }
    }

    /// <summary>Threads that work on a job, the caller's own included.</summary>
    public int Threads { get; }

    /// <summary>How many of them work now, 1 to <see cref="Threads"/>; the others sleep. Every result stays the same, bit for bit. May be set at any time.</summary>
    public int ActiveThreads
    {
        get => Volatile.Read(ref _active);
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(value, Threads);
            lock (_sleepLock)
            {
                Volatile.Write(ref _active, value);
                Monitor.PulseAll(_sleepLock);
            }
        }
    }

    /// <summary>Physical cores this process may use, at most 8.</summary>
    /// <remarks>
    /// <see cref="Environment.ProcessorCount"/> respects the affinity mask and the cgroup's quota. Siblings of one core (SMT) share its
    /// multipliers, so they are counted once where the system says who they are. Decode is bound by memory, which 8 cores saturate.
    /// </remarks>
    public static int DefaultThreads => Math.Min(Math.Min(Environment.ProcessorCount, PhysicalCores()), 8);

    /// <summary>Runs <paramref name="job"/> on [0, <paramref name="count"/>) and returns when all of it is done. Allocates nothing.</summary>
    /// <param name="job">The work.</param>
    /// <param name="count">Number of indexes; 0 does nothing.</param>
    /// <param name="grain">Indexes per chunk: enough for several µs of work. Every chunk but the last has exactly this many.</param>
    /// <exception cref="InvalidOperationException">Another Run is under way.</exception>
    /// <remarks>The first exception of any chunk is thrown here, after all started chunks have ended; chunks not yet started are dropped.</remarks>
    public void Run(IRangeJob job, int count, int grain)
    {
        ArgumentNullException.ThrowIfNull(job);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(grain);
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_runLock.IsHeldByCurrentThread || !_runLock.TryEnter())
        {
            throw new InvalidOperationException("The worker pool is already running a job.");
        }

        try
        {
            if (count <= grain || ActiveThreads == 1)
            {
                if (count > 0)
                {
                    job.Run(0, count);
                }

                return;
            }

            Publish(job, count, grain);
            TakeChunks();
            WaitForStartedChunks();
        }
        finally
        {
            _job = null;
            _runLock.Exit();
        }

        if (_failure is { } failure)
        {
            ExceptionDispatchInfo.Throw(failure);
        }
    }

    /// <summary>Lets the workers sleep at once, until the next <see cref="Run"/>: call it when a request has ended.</summary>
    public void Park() => Volatile.Write(ref _parked, true);

    /// <summary>Ends the workers and waits for them.</summary>
    public void Dispose()
    {
        lock (_sleepLock)
        {
            _disposed = true;
            Monitor.PulseAll(_sleepLock);
        }

        foreach (Thread worker in _workers)
        {
            worker.Join();
        }
    }

    private void Publish(IRangeJob job, int count, int grain)
    {
        // Close, write, open: a worker still looking at the last job can't take a chunk of a job that is half written.
        long run = RunOf(_ticket) + 1;
        Interlocked.Exchange(ref _ticket, (run << 32) - 1);
        _job = job;
        _count = count;
        _grain = grain;
        _failure = null;
        _remaining = count;
        _parked = false;
        Interlocked.Exchange(ref _ticket, run << 32);

        // The exchange is a full fence: either a worker on its way to sleep sees the new ticket, or it is counted here.
        if (Volatile.Read(ref _sleepers) > 0)
        {
            lock (_sleepLock)
            {
                Monitor.PulseAll(_sleepLock);
            }
        }
    }

    private void Work(int worker)
    {
        long seenRun = 0;
        while (WaitUntilActive(worker) && WaitForRunAfter(seenRun))
        {
            seenRun = RunOf(Volatile.Read(ref _ticket));
            TakeChunks();
        }
    }

    /// <summary>Sleeps while fewer threads work than this one's number. False = the pool is being disposed.</summary>
    private bool WaitUntilActive(int worker)
    {
        if (worker >= ActiveThreads)
        {
            lock (_sleepLock)
            {
                while (worker >= _active && !_disposed)
                {
                    Monitor.Wait(_sleepLock);
                }
            }
        }

        return !_disposed;
    }

    /// <summary>Spins, then sleeps, until a run newer than <paramref name="seenRun"/> is published. False = the pool is being disposed.</summary>
    private bool WaitForRunAfter(long seenRun)
    {
        long start = Stopwatch.GetTimestamp();
        while (RunOf(Volatile.Read(ref _ticket)) == seenRun)
        {
            if (!Volatile.Read(ref _parked) && Stopwatch.GetElapsedTime(start).TotalMicroseconds < SpinMicroseconds)
            {
                Thread.SpinWait(4);
                continue;
            }

            lock (_sleepLock)
            {
                Interlocked.Increment(ref _sleepers);
                while (RunOf(Volatile.Read(ref _ticket)) == seenRun && !_disposed)
                {
                    Monitor.Wait(_sleepLock);
                }

                Interlocked.Decrement(ref _sleepers);
            }

            if (_disposed)
            {
                return false;
            }
        }

        return true;
    }

    private void TakeChunks()
    {
        while (true)
        {
            long ticket = Volatile.Read(ref _ticket);
            IRangeJob? job = _job;
            long first = ticket & uint.MaxValue;
            if (first >= _count)
            {
                return;
            }

            int count = (int)Math.Min(_grain, _count - first);

            // If the ticket has not moved since it was read, its job was open all the while and the fields above are that job's.
            if (Interlocked.CompareExchange(ref _ticket, ticket + count, ticket) != ticket)
            {
                continue;
            }

            try
            {
                if (_failure is null)
                {
                    job!.Run((int)first, count);
                }
            }
#pragma warning disable CA1031 // Every exception reaches the caller of Run.
            catch (Exception exception)
#pragma warning restore CA1031
            {
                Interlocked.CompareExchange(ref _failure, exception, null);
            }

            Interlocked.Add(ref _remaining, -count);
        }
    }

    private void WaitForStartedChunks()
    {
        const int SpinsBeforeYield = 2000;
        for (int spins = 0; Volatile.Read(ref _remaining) > 0; spins++)
        {
            if (spins < SpinsBeforeYield)
            {
                Thread.SpinWait(1);
            }
            else
            {
                Thread.Yield();
            }
        }
    }

    private static long RunOf(long ticket) => ticket >> 32;

    private static int PhysicalCores()
    {
        var cores = new HashSet<string>();
        for (int cpu = 0; cpu < Environment.ProcessorCount; cpu++)
        {
            string path = string.Create(CultureInfo.InvariantCulture, $"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            if (!File.Exists(path))
            {
                return Environment.ProcessorCount;
            }

            cores.Add(File.ReadAllText(path));
        }

        return cores.Count;
    }
}
