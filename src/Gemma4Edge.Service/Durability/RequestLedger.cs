using System.IO.Hashing;
using System.Text;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Service.Durability;

/// <summary>What a delivery turns out to be.</summary>
internal enum Delivery
{
    /// <summary>Not seen before.</summary>
    New,

    /// <summary>Seen, and still being worked on.</summary>
    Running,

    /// <summary>Seen and answered.</summary>
    Finished,

    /// <summary>Its name belongs to another request.</summary>
    Conflict,
}

/// <summary>
/// The requests that were let in and their final events: brokers and senders repeat deliveries, and no request may run twice.
/// With a state directory all of it is in a journal, and what is written there survives the process and the machine.
/// </summary>
/// <remarks>
/// Thread-safe. Finals are kept for ten minutes, at most a thousand and four megabytes of them (the oldest that the broker has answered for go first); requests without
/// a final are as many as the queue lets in. The journal is compacted when it is four times what it must hold.
/// </remarks>
internal sealed class RequestLedger : IDisposable
{
    /// <summary>Name of the journal in the state directory.</summary>
    public const string FileName = "requests.journal";

    private const int MaxCount = 1000;
    private const long MaxFinalBytes = 4 << 20;
    private const long LeastCompacted = 1 << 20;
    private static readonly TimeSpan s_span = TimeSpan.FromMinutes(10);
    private readonly TimeProvider _time;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, LedgerEntry> _byKey = [];
    private readonly LinkedList<LedgerEntry> _entries = new(); // oldest first
    private readonly List<LedgerEntry> _unwritten = []; // finals that found no space
    private readonly RecordFile? _file;
    private long _lastNumber;
    private long _compactAt = LeastCompacted;
    private long _finalBytes;

    /// <summary>Opens the journal and reads what is in it.</summary>
    /// <param name="stateDirectory">Where it lies; null = nothing survives the process.</param>
    /// <param name="time">The clock.</param>
    /// <param name="before">Called before each step on the disk, see <see cref="RecordFile"/>.</param>
    /// <param name="boot">This boot of the machine; null = what the kernel tells.</param>
    /// <exception cref="IOException">The journal cannot be read or made, or another process has it.</exception>
    /// <exception cref="InvalidDataException">It is no journal.</exception>
    public RequestLedger(string? stateDirectory, TimeProvider time, Action<DiskStep>? before = null, Guid? boot = null)
    {
        _time = time;
        Boot = boot ?? ReadBoot();
        if (stateDirectory is not null)
        {
            string path = Path.Combine(stateDirectory, FileName);
            _file = RecordFile.Open(path, (kind, body) => Restore(path, (RecordKind)kind, body), out long cutBytes, before);
            CutBytes = cutBytes;
        }
    }

    /// <summary>Reads the journal of a state directory, if there is one, as a start would, and leaves it as it is.</summary>
    /// <exception cref="IOException">It cannot be read and written.</exception>
    /// <exception cref="InvalidDataException">It is no journal.</exception>
    public static void Check(string stateDirectory)
    {
        string path = Path.Combine(stateDirectory, FileName);
        if (Path.Exists(path))
        {
            using var trial = new RequestLedger(null, TimeProvider.System);
            RecordFile.Check(path, (kind, body) => trial.Restore(path, (RecordKind)kind, body));
        }
    }

    /// <summary>Bytes that the journal ended with and that were no whole record.</summary>
    public long CutBytes { get; }

    /// <summary>Whether anything survives the process.</summary>
    public bool IsDurable => _file is not null;

    /// <summary>Faulted when the journal cannot be flushed any more: nobody knows then what is on disk.</summary>
    public Task Completion => _file?.Completion ?? new TaskCompletionSource().Task;

    /// <summary>This boot of the machine; empty where the kernel does not tell.</summary>
    public Guid Boot { get; }

    /// <summary>Ends when everything that was noted before the call survives the machine.</summary>
    public Task DurableAsync() => _file?.DurableAsync() ?? Task.CompletedTask;

    /// <summary>Looks a delivery up.</summary>
    /// <param name="key">What names it.</param>
    /// <param name="payload">Tells it from another request of the same name.</param>
    /// <param name="known">The request that it repeats, or whose name it has; null when it is new.</param>
    public Delivery Look(string key, ReadOnlySpan<byte> payload, out LedgerEntry? known)
    {
        UInt128 hash = HashOf(payload);
        lock (_lock)
        {
            Prune();
            return !_byKey.TryGetValue(key, out known) ? Delivery.New
                : known.Hash != hash ? Delivery.Conflict
                : known.Final is null ? Delivery.Running
                : Delivery.Finished;
        }
    }

    /// <summary>Notes a new request; the name is its own from now on.</summary>
    /// <exception cref="IOException">There is no space for it: it was not let in.</exception>
    public LedgerEntry Receive(string key, string id, InboundMessage message)
    {
        lock (_lock)
        {
            WriteUnwritten();
            Prune();
            var entry = new LedgerEntry(++_lastNumber, key, HashOf(message.Payload.Span), _time.GetUtcNow().ToUnixTimeMilliseconds())
            {
                Id = id,
                Message = message,
                Boot = Boot,
                Since = _time.GetTimestamp(),
            };
            _file?.Append((byte)RecordKind.Received, LedgerRecords.Received(entry));
            Add(entry);
            return entry;
        }
    }

    /// <summary>Work on it begins.</summary>
    public void Start(LedgerEntry entry) => Note(entry, RecordKind.Started, () => entry.Starts++);

    /// <summary>A tool is about to act for it; when this returns, the intent survives the machine.</summary>
    /// <exception cref="IOException">It could not be noted: nothing may act.</exception>
    public void Act(LedgerEntry entry)
    {
        lock (_lock)
        {
            _file?.Append((byte)RecordKind.Acting, LedgerRecords.Number(entry.Number));
            entry.Acted = true;
        }

        DurableAsync().GetAwaiter().GetResult();
    }

    /// <summary>The service stops in good order while the request waits or runs: its last start does not count.</summary>
    public void Pause(LedgerEntry entry) => Note(entry, RecordKind.Paused, () => entry.Starts = 0);

    /// <summary>Notes that requests are cancelled, those with that id only (null = all), so that they stay so if the process dies before they have ended.</summary>
    public void Cancel(string? id)
    {
        lock (_lock)
        {
            foreach (LedgerEntry entry in _entries)
            {
                if (entry.Final is null && !entry.Cancelled && (id is null || entry.Id == id))
                {
                    Note(entry, RecordKind.Cancelled, () => entry.Cancelled = true);
                }
            }
        }
    }

    /// <summary>It has ended. Where there is no space the final is written later; until then it is in memory alone.</summary>
    public void Finish(LedgerEntry entry, StoredReply final)
    {
        lock (_lock)
        {
            entry.Final = final;
            entry.Message = null;
            _finalBytes += final.Payload.Length;
            if (!TryAppend(RecordKind.Final, LedgerRecords.Final(entry)))
            {
                _unwritten.Add(entry);
            }

            Compact();
        }
    }

    /// <summary>The broker has answered for the final event, also with a refusal.</summary>
    public void Answer(LedgerEntry entry) => Note(entry, RecordKind.Answered, () => entry.Answered = true);

    /// <summary>Requests that have no final event, oldest first, and final events that the broker has not answered for. After a restart both are still to be done.</summary>
    public IReadOnlyList<LedgerEntry> Open()
    {
        lock (_lock)
        {
            return [.. _entries.Where(entry => !entry.Answered)];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file?.Dispose();

    private static UInt128 HashOf(ReadOnlySpan<byte> payload) => XxHash128.HashToUInt128(payload); // not SHA-256: that is OpenSSL's, which a static binary has not

    private static Guid ReadBoot()
    {
        const string File = "/proc/sys/kernel/random/boot_id";
        return System.IO.File.Exists(File) && Guid.TryParse(System.IO.File.ReadAllText(File), out Guid boot) ? boot : Guid.Empty;
    }

    private void Note(LedgerEntry entry, RecordKind kind, Action change)
    {
        lock (_lock)
        {
            change();
            TryAppend(kind, LedgerRecords.Number(entry.Number));
        }
    }

    private bool TryAppend(RecordKind kind, byte[] body)
    {
        try
        {
            _file?.Append((byte)kind, body);
            return true;
        }
        catch (IOException)
        {
            return false; // no space: after a crash the request is done again, or ends as interrupted where it may have acted
        }
    }

    private void WriteUnwritten()
    {
        while (_unwritten.Count > 0 && TryAppend(RecordKind.Final, LedgerRecords.Final(_unwritten[0])))
        {
            _unwritten.RemoveAt(0);
        }
    }

    /// <summary>When an entry of before the restart arrived, on this process's clock. The wall clock may have jumped since: no age is below nothing or above what is kept.</summary>
    private long SinceOf(LedgerEntry entry)
    {
        double age = _time.GetUtcNow().ToUnixTimeMilliseconds() - entry.ReceivedUnixMs;
        return _time.GetTimestamp() - (long)(Math.Clamp(age, 0, s_span.TotalMilliseconds) / 1000 * _time.TimestampFrequency);
    }

    private void Add(LedgerEntry entry)
    {
        _byKey[entry.Key] = entry;
        _entries.AddLast(entry);
    }

    private void Prune()
    {
        LinkedListNode<LedgerEntry>? node = _entries.First;
        while (node is not null && (_entries.Count >= MaxCount || _finalBytes > MaxFinalBytes || _time.GetElapsedTime(node.Value.Since) >= s_span))
        {
            LinkedListNode<LedgerEntry>? next = node.Next;
            if (node.Value.Answered) // else it runs, or its final waits for the broker
            {
                _finalBytes -= node.Value.Final!.Payload.Length;
                _entries.Remove(node);
                if (_byKey.TryGetValue(node.Value.Key, out LedgerEntry? named) && named == node.Value)
                {
                    _byKey.Remove(node.Value.Key);
                }
            }

            node = next;
        }
    }

    private void Compact()
    {
        if (_file is null || _file.Length < _compactAt)
        {
            return;
        }

        Prune();
        try
        {
            _file.Rewrite(_entries.SelectMany(RecordsOf));
            _unwritten.Clear();
            _compactAt = Math.Max(LeastCompacted, 4 * _file.Length);
        }
        catch (IOException)
        {
            _compactAt = _file.Length + LeastCompacted; // no space for a second file: later, perhaps
        }
    }

    private static IEnumerable<(byte Kind, byte[] Body)> RecordsOf(LedgerEntry entry)
    {
        byte[] number = LedgerRecords.Number(entry.Number);
        if (entry.Final is not null)
        {
            yield return ((byte)RecordKind.Final, LedgerRecords.Final(entry));
            if (entry.Answered)
            {
                yield return ((byte)RecordKind.Answered, number);
            }

            yield break;
        }

        yield return ((byte)RecordKind.Received, LedgerRecords.Received(entry));
        for (int i = 0; i < entry.Starts; i++)
        {
            yield return ((byte)RecordKind.Started, number);
        }

        if (entry.Acted)
        {
            yield return ((byte)RecordKind.Acting, number);
        }

        if (entry.Cancelled)
        {
            yield return ((byte)RecordKind.Cancelled, number);
        }
    }

    private void Restore(string path, RecordKind kind, ReadOnlyMemory<byte> body)
    {
        try
        {
            using var reader = new BinaryReader(new MemoryStream(body.ToArray()), Encoding.UTF8);
            switch (kind)
            {
                case RecordKind.Received:
                    LedgerEntry received = LedgerRecords.ReadReceived(reader);
                    received.Since = SinceOf(received);
                    Add(received);
                    break;
                case RecordKind.Final:
                    RestoreFinal(LedgerRecords.ReadFinal(reader));
                    break;
                default:
                    RestoreNote(kind, reader.ReadInt64());
                    break;
            }

            _lastNumber = Math.Max(_lastNumber, _entries.Last?.Value.Number ?? 0);
        }
        catch (Exception e) when (e is EndOfStreamException or ArgumentException or FormatException)
        {
            throw Damaged(path, $"a record of kind {(byte)kind} does not hold what it should");
        }
    }

    private void RestoreFinal(LedgerEntry final)
    {
        if (Find(final.Number) is { } entry)
        {
            entry.Final = final.Final;
            entry.Message = null;
        }
        else
        {
            final.Since = SinceOf(final);
            Add(final); // compacted: the final is all that is left of it
        }

        _finalBytes += final.Final!.Payload.Length;
    }

    private void RestoreNote(RecordKind kind, long number)
    {
        if (Find(number) is not { } entry)
        {
            return; // of a request that was forgotten when the journal was compacted
        }

        switch (kind)
        {
            case RecordKind.Started:
                entry.Starts++;
                break;
            case RecordKind.Paused:
                entry.Starts = 0;
                break;
            case RecordKind.Acting:
                entry.Acted = true;
                break;
            case RecordKind.Cancelled:
                entry.Cancelled = true;
                break;
            case RecordKind.Answered:
                entry.Answered = entry.Final is not null;
                break;
            default:
                throw new FormatException();
        }
    }

    private LedgerEntry? Find(long number)
    {
        for (LinkedListNode<LedgerEntry>? node = _entries.Last; node is not null; node = node.Previous) // what a record is about is near the end
        {
            if (node.Value.Number == number)
            {
                return node.Value;
            }
        }

        return null;
    }

    private static InvalidDataException Damaged(string path, string problem) =>
        new($"{path}: {problem}. Expected the journal of this version of gemma4edge; move it away to start without it.");
}
