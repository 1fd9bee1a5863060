using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

public sealed class WorkerPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Run_DoesEachIndexOnce(int threads)
    {
        using var pool = new WorkerPool(threads);
        var job = new CountingJob(1000);
        var random = new Random(threads);
        for (int run = 0; run < 2000; run++)
        {
            int count = random.Next(0, 1000);
            pool.Run(job, count, random.Next(1, 200));
            Assert.Equal(count, job.TakeCounts(count));
        }
    }

    /// <summary>Runs so short that workers meet the next job while it is being written.</summary>
    [Fact]
    public void Run_DoesEachIndexOnce_WhenRunsFollowAtOnce()
    {
        using var pool = new WorkerPool(2);
        var job = new CountingJob(4);
        for (int run = 0; run < 100_000; run++)
        {
            pool.Run(job, 4, 1);
        }

        Assert.Equal([100_000, 100_000, 100_000, 100_000], job.Counts);
    }

    [Fact]
    public void Run_UsesTheWorkers()
    {
        using var pool = new WorkerPool(2);
        var job = new MeetingJob();
        pool.Run(job, 2, 1);
        Assert.True(job.Met);
    }

    [Fact]
    public void ActiveThreads_CanBeFewer_AndMoreAgain()
    {
        using var pool = new WorkerPool(4);
        var job = new CountingJob(1000);
        var random = new Random(4);
        for (int run = 0; run < 2000; run++)
        {
            pool.ActiveThreads = random.Next(1, 5);
            pool.Run(job, 1000, 10);
            Assert.Equal(1000, job.TakeCounts(1000));
        }

        pool.ActiveThreads = 1;
        var meeting = new MeetingJob();
        pool.ActiveThreads = 2;
        pool.Run(meeting, 2, 1);
        Assert.True(meeting.Met);
        Assert.Throws<ArgumentOutOfRangeException>(() => pool.ActiveThreads = 5);
        Assert.Throws<ArgumentOutOfRangeException>(() => pool.ActiveThreads = 0);
    }

    [Fact]
    public void Run_Wakes_WhenWorkersAreParkedOrAsleep()
    {
        using var pool = new WorkerPool(2);
        var job = new MeetingJob();
        foreach (int pauseMs in (int[])[0, 20, 0])
        {
            pool.Park();
            Thread.Sleep(pauseMs);                      // longer than a worker spins
            job.Reset();
            pool.Run(job, 2, 1);
            Assert.True(job.Met);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Run_ThrowsTheJobsException_AndGoesOn(int threads)
    {
        using var pool = new WorkerPool(threads);
        var error = Assert.Throws<FormatException>(() => pool.Run(new ThrowingJob(), 100, 1));
        Assert.Equal("index 40", error.Message);
        var job = new CountingJob(100);
        pool.Run(job, 100, 1);
        Assert.Equal(100, job.TakeCounts(100));
    }

    [Fact]
    public void Run_Refuses_WhenAJobRunsAnother()
    {
        using var pool = new WorkerPool(1);
        Assert.Throws<InvalidOperationException>(() => pool.Run(new NestedJob(pool), 2, 1));
    }

    [Fact]
    public void Run_AllocatesNothing()
    {
        using var pool = new WorkerPool(2);
        var job = new CountingJob(100);
        pool.Run(job, 100, 1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int run = 0; run < 100; run++)
        {
            pool.Run(job, 100, 1);
            if (run % 10 == 0)
            {
                pool.Park();
            }
        }

        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(0, allocatedBytes);
    }

    [Fact]
    public void Dispose_EndsTheWorkers_AndRunRefuses()
    {
        var pool = new WorkerPool(3);
        pool.Dispose();
        Assert.Throws<ObjectDisposedException>(() => pool.Run(new CountingJob(1), 1, 1));
    }

    [Fact]
    public void DefaultThreads_FitsThisProcess() => Assert.InRange(WorkerPool.DefaultThreads, 1, Math.Min(8, Environment.ProcessorCount));

    private sealed class CountingJob(int capacity) : IRangeJob
    {
        private readonly int[] _counts = new int[capacity];

        public IReadOnlyList<int> Counts => _counts;

        public void Run(int first, int count)
        {
            for (int i = first; i < first + count; i++)
            {
                Interlocked.Increment(ref _counts[i]);
            }
        }

        /// <summary>How many of the first indexes were done exactly once, −1 if any other was touched; forgets them.</summary>
        public int TakeCounts(int count)
        {
            int once = _counts.Take(count).Count(c => c == 1);
            bool strayed = _counts.Skip(count).Any(c => c != 0);
            Array.Clear(_counts);
            return strayed ? -1 : once;
        }
    }

    /// <summary>Two chunks that wait for each other: only two threads can finish it.</summary>
    private sealed class MeetingJob : IRangeJob
    {
        private int _arrived;

        public bool Met { get; private set; } = true;

        public void Reset() => _arrived = 0;

        public void Run(int first, int count)
        {
            Interlocked.Increment(ref _arrived);
            Met &= SpinWait.SpinUntil(() => Volatile.Read(ref _arrived) == 2, TimeSpan.FromSeconds(60));
        }
    }

    private sealed class ThrowingJob : IRangeJob
    {
        public void Run(int first, int count)
        {
            if (first <= 40 && 40 < first + count)
            {
                throw new FormatException("index 40");
            }
        }
    }

    private sealed class NestedJob(WorkerPool pool) : IRangeJob
    {
        public void Run(int first, int count) => pool.Run(this, 1, 1);
    }
}
