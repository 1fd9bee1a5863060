using System.Text;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service.Durability;

public sealed class RequestLedgerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("gemma4edge-ledger-").FullName;
    private readonly FakeTime _time = new();
    private RequestLedger _ledger;

    public RequestLedgerTests() => _ledger = Open();

    public void Dispose()
    {
        _ledger.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private string JournalPath => Path.Combine(_folder, RequestLedger.FileName);

    [Fact]
    public void Finished_IsKnownForTenMinutes_AlsoAfterARestart()
    {
        LedgerEntry entry = Receive("a");
        Assert.Equal(Delivery.Running, Look("a"));
        Finish(entry, [9]);
        _time.Advance(TimeSpan.FromMinutes(9.9));
        Reopen();
        Assert.Equal(Delivery.Finished, _ledger.Look("a", "x"u8, out LedgerEntry? known));
        Assert.Equal([9], known!.Final!.Payload);
        Assert.Equal(Delivery.Conflict, _ledger.Look("a", "y"u8, out _));
        _time.Advance(TimeSpan.FromMinutes(0.2));
        Assert.Equal(Delivery.New, Look("a"));
    }

    /// <summary>A machine without a clock of its own is told the time some seconds after it has started.</summary>
    [Fact]
    public void WallClockThatJumps_MakesNothingOldOrEternal()
    {
        Finish(Receive("a"), [9]);
        _time.Jump = TimeSpan.FromDays(300);
        Assert.Equal(Delivery.Finished, Look("a"));
        _time.Jump = TimeSpan.FromDays(-300);
        Reopen();
        Assert.Equal(Delivery.Finished, Look("a"));
        _time.Advance(TimeSpan.FromMinutes(10.1));
        Assert.Equal(Delivery.New, Look("a"));
    }

    /// <summary>Requests that can have no duplicates are not looked up, and must not pile up either.</summary>
    [Fact]
    public void WithoutAJournalAndLookups_TheOldestGoToo()
    {
        using var ledger = new RequestLedger(null, _time);
        for (int i = 0; i < 2000; i++)
        {
            LedgerEntry entry = ledger.Receive($"{i}", "id", new InboundMessage("t", default));
            ledger.Finish(entry, new StoredReply("reply", null, false, []));
            ledger.Answer(entry);
        }

        Assert.Equal(Delivery.New, ledger.Look("900", default, out _));
        Assert.Equal(Delivery.Finished, ledger.Look("1500", default, out _));
    }

    [Fact]
    public void RunningOrUnanswered_IsNeverForgotten()
    {
        Receive("running");
        Finish(Receive("unanswered"), [1], answered: false);
        _time.Advance(TimeSpan.FromHours(1));
        Reopen();
        Assert.Equal(Delivery.Running, Look("running"));
        Assert.Equal(Delivery.Finished, Look("unanswered"));
        Assert.Equal(["running", "unanswered"], _ledger.Open().Select(entry => entry.Key));
    }

    [Fact]
    public void AtMostAThousandAreKept_TheOldestAnsweredGo()
    {
        Receive("running");
        for (int i = 0; i < 2000; i++)
        {
            Look($"{i}");
            Finish(Receive($"{i}"), [1]);
        }

        Assert.Equal(Delivery.Running, Look("running"));
        Assert.Equal(Delivery.Finished, Look("1999"));
        Assert.Equal(Delivery.Finished, Look("1010"));
        Assert.Equal(Delivery.New, Look("990"));
    }

    [Fact]
    public void EverythingOfARequest_SurvivesTheProcess()
    {
        byte[] correlation = [0, 255, 13, 10];
        var message = new InboundMessage("gemma4edge/kitchen/request", "grüße"u8.ToArray())
        {
            ReceivedTimestamp = 1234567,
            Sender = "pool",
            Pool = true,
            PacketId = 7,
            ResponseTopic = "gemma4edge/reply/x",
            CorrelationData = correlation,
            ExpirySeconds = 60,
        };
        LedgerEntry entry = _ledger.Receive("key\n1", "a1", message);
        _ledger.Start(entry);
        _ledger.Act(entry);
        _ledger.Cancel("a1");
        Reopen();
        LedgerEntry again = Assert.Single(_ledger.Open());
        Assert.Equal((entry.Number, "key\n1", "a1", 1, true, true), (again.Number, again.Key, again.Id, again.Starts, again.Acted, again.Cancelled));
        Assert.Equal(message with { Payload = default, CorrelationData = null, }, again.Message! with { Payload = default, CorrelationData = null });
        Assert.Equal(message.Payload.ToArray(), again.Message!.Payload.ToArray());
        Assert.Equal(correlation, again.Message.CorrelationData);
        Assert.Equal(_ledger.Boot, again.Boot);

        _ledger.Pause(again);
        _ledger.Finish(again, new StoredReply("topic", correlation, true, [1, 2]));
        Reopen();
        StoredReply final = Assert.Single(_ledger.Open()).Final!;
        Assert.Equal(("topic", true, 2), (final.Topic, final.Retain, final.Payload.Length));
        Assert.Equal(correlation, final.Correlation);
        Assert.True(_ledger.Receive("next", "b", message).Number > entry.Number);
    }

    /// <summary>A power cut in the middle of the last record: whatever is left of it, everything before it is there, and the journal can be written on.</summary>
    [Fact]
    public void CutAtEveryByteOfTheLastRecord()
    {
        Receive("first");
        Finish(Receive("second"), [1, 2, 3], answered: false);
        long before = new FileInfo(JournalPath).Length;
        Receive("last");
        _ledger.Dispose();
        byte[] whole = File.ReadAllBytes(JournalPath);
        for (long length = before; length < whole.Length; length++)
        {
            File.WriteAllBytes(JournalPath, whole[..(int)length]);
            _ledger = Open();
            Assert.Equal(length - before, _ledger.CutBytes);
            Assert.Equal(["first", "second"], _ledger.Open().Select(entry => entry.Key));
            Receive("after");
            Reopen();
            Assert.Equal(["first", "second", "after"], _ledger.Open().Select(entry => entry.Key));
            _ledger.Dispose();
        }
    }

    /// <summary>One flipped bit anywhere ends the journal there; nothing is made up, nothing throws but for the magic.</summary>
    [Fact]
    public void FlippedBits_AreNeverBelieved()
    {
        string[] keys = ["first", "second", "third"];
        Array.ForEach(keys, key => Receive(key));
        _ledger.Dispose();
        byte[] whole = File.ReadAllBytes(JournalPath);
        for (int at = 0; at < whole.Length; at++)
        {
            byte[] damaged = [.. whole];
            damaged[at] ^= 1;
            File.WriteAllBytes(JournalPath, damaged);
            if (at < 8)
            {
                Assert.Throws<InvalidDataException>(Open);
                continue;
            }

            using RequestLedger ledger = Open();
            string[] kept = [.. ledger.Open().Select(entry => entry.Key)];
            Assert.Equal(keys[..kept.Length], kept);
            Assert.True(kept.Length < 3);
        }
    }

    [Fact]
    public void Journal_IsCompacted_AndLosesNothingThatCounts()
    {
        LedgerEntry running = Receive("running");
        _ledger.Start(running);
        Finish(Receive("unanswered"), [7], answered: false);
        for (int i = 0; i < 3000; i++)
        {
            Look("");
            Finish(_ledger.Receive($"{i}", "id", new InboundMessage("t", new byte[2000])), new byte[200]);
        }

        Assert.InRange(new FileInfo(JournalPath).Length, 0, 2 << 20); // 3000 requests are 7 MB
        Reopen();
        Assert.Equal(["running", "unanswered"], _ledger.Open().Select(entry => entry.Key));
        Assert.Equal(1, _ledger.Open()[0].Starts);
        Assert.Equal(Delivery.Finished, _ledger.Look("2999", new byte[2000], out _));
    }

    /// <summary>The machine stops before each single step on the disk, in turn; only what was flushed is there afterwards.</summary>
    [Fact]
    public async Task PowerCutBeforeEveryStep_LosesNothingThatWasCalledDurable()
    {
        for (int stop = 0; ; stop++)
        {
            string folder = Directory.CreateTempSubdirectory("gemma4edge-cut-").FullName;
            try
            {
                var disk = new CutDisk(Path.Combine(folder, RequestLedger.FileName), stop);
                List<string> durable = [];
                bool finished = await WorkUntilCutAsync(folder, disk, durable);
                disk.Restore();
                using var after = new RequestLedger(folder, _time);
                string[] open = [.. after.Open().Select(entry => entry.Key)];
                Assert.All(durable, key => Assert.True(open.Contains(key) || after.Look(key, "x"u8, out _) == Delivery.Finished, $"{key} was lost at step {stop}"));
                if (finished)
                {
                    Assert.True(stop > 50, $"only {stop} steps");
                    return;
                }
            }
            finally
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    [Fact]
    public void NoSpace_IsSaidToTheRequest_AndAFinalIsWrittenLater()
    {
        _ledger.Dispose();
        bool isFull = false;
        _ledger = new RequestLedger(_folder, _time, step =>
        {
            if (isFull && step == DiskStep.Write)
            {
                throw new IOException("No space left on device");
            }
        });
        LedgerEntry entry = Receive("a");
        isFull = true;
        Assert.Throws<IOException>(() => Receive("b"));
        Assert.Throws<IOException>(() => _ledger.Act(entry));
        Assert.False(entry.Acted);
        Finish(entry, [5], answered: false);
        Assert.Equal(Delivery.New, Look("b"));
        isFull = false;
        Receive("c");
        Reopen();
        Assert.Equal([5], _ledger.Open()[0].Final!.Payload);
        Assert.Equal(["a", "c"], _ledger.Open().Select(e => e.Key));
    }

    [Fact]
    public async Task FailedFlush_EndsTheJournal()
    {
        _ledger.Dispose();
        int flushes = 0;
        _ledger = new RequestLedger(_folder, _time, step =>
        {
            if (step == DiskStep.Flush && flushes++ > 0)
            {
                throw new IOException("I/O error");
            }
        });
        Receive("a");
        await Assert.ThrowsAsync<IOException>(_ledger.DurableAsync);
        await Assert.ThrowsAsync<IOException>(() => _ledger.Completion);
    }

    [Fact]
    public void TwoProcesses_CannotShareAJournal() => Assert.Throws<IOException>(Open);

    private RequestLedger Open() => new(_folder, _time);

    private void Reopen()
    {
        _ledger.Dispose();
        _ledger = Open();
    }

    private Delivery Look(string key) => _ledger.Look(key, "x"u8, out _);

    private LedgerEntry Receive(string key) => _ledger.Receive(key, "id", new InboundMessage("t", "x"u8.ToArray()));

    private void Finish(LedgerEntry entry, byte[] final, bool answered = true)
    {
        _ledger.Finish(entry, new StoredReply("reply", null, false, final));
        if (answered)
        {
            _ledger.Answer(entry);
        }
    }

    private async Task<bool> WorkUntilCutAsync(string folder, CutDisk disk, List<string> durable)
    {
        try
        {
            using var ledger = new RequestLedger(folder, _time, disk.Before);
            for (int i = 0; i < 8; i++)
            {
                LedgerEntry entry = ledger.Receive($"{i}", $"{i}", new InboundMessage("t", "x"u8.ToArray()));
                await ledger.DurableAsync();
                durable.Add($"{i}");
                ledger.Start(entry);
                ledger.Act(entry);
                if (i % 2 == 0)
                {
                    ledger.Finish(entry, new StoredReply("reply", null, false, new byte[300_000])); // makes it compact
                    await ledger.DurableAsync();
                    ledger.Answer(entry);
                }
            }

            return true;
        }
        catch (Exception stopped) when (stopped is PowerCutException or ObjectDisposedException)
        {
            return false;
        }
    }

    private sealed class PowerCutException : Exception;

    /// <summary>Remembers how much of the file was flushed, and stops before step number <paramref name="stop"/>.</summary>
    private sealed class CutDisk(string path, int stop)
    {
        private readonly Lock _lock = new();
        private long _flushedBytes;
        private int _steps;

        public void Before(DiskStep step)
        {
            lock (_lock)
            {
                if (_steps++ >= stop)
                {
                    throw new PowerCutException();
                }

                bool isCompaction = Thread.CurrentThread.Name != "journal" && File.Exists(path + ".new");
                _flushedBytes = step switch
                {
                    DiskStep.Flush when !isCompaction => new FileInfo(path).Length,
                    DiskStep.Rename => new FileInfo(path + ".new").Length,
                    _ => _flushedBytes,
                };
            }
        }

        /// <summary>The power is back: what was only in the page cache is gone.</summary>
        public void Restore()
        {
            using FileStream file = File.Open(path, FileMode.OpenOrCreate);
            file.SetLength(Math.Min(file.Length, _flushedBytes));
        }
    }

    private sealed class FakeTime : TimeProvider
    {
        private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        /// <summary>How wrong the wall clock is.</summary>
        public TimeSpan Jump { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override DateTimeOffset GetUtcNow() => _now + Jump;

        public override long GetTimestamp() => _now.Ticks;

        public void Advance(TimeSpan span) => _now += span;
    }
}
