using System.Buffers.Binary;
using System.IO.Hashing;
using Gemma4Edge.Model.ModelFile;
using Microsoft.Win32.SafeHandles;

namespace Gemma4Edge.Service.Durability;

/// <summary>What a <see cref="RecordFile"/> does to the disk; a test can stop it before each.</summary>
internal enum DiskStep
{
    /// <summary>Bytes go to the page cache: they survive the process.</summary>
    Write,

    /// <summary>Bytes go to the disk: they survive the machine.</summary>
    Flush,

    /// <summary>A compacted file takes the old one's name.</summary>
    Rename,
}

/// <summary>An append-only file of records, each with its length and checksum. A record that was cut is cut off when the file is opened again.</summary>
/// <remarks>
/// On disk: 8 bytes of magic, then records: length of the body (uint32, little-endian), CRC-32 of kind and body (uint32), kind (1 byte), body.
/// <para>Appending writes at once, so a record survives the end of the process; a thread of its own flushes, all that was appended meanwhile together.
/// A failed flush leaves nobody knowing what is on disk: it ends the file for good, see <see cref="Completion"/>.</para>
/// <para>Thread-safe. An embedded database would bring a native library that the static build cannot link.</para>
/// </remarks>
internal sealed class RecordFile : IDisposable
{
    /// <summary>Longest body.</summary>
    public const int MaxBodyBytes = 16 << 20;

    private const int WouldBlock = 11; // EAGAIN: the lock is another's
    private const int HeaderBytes = 9;
    private static readonly byte[] s_magic = "G4EJRN01"u8.ToArray();
    private readonly string _path;
    private readonly Action<DiskStep> _before;
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _work = new(0);
    private readonly TaskCompletionSource _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread _flusher;
    private SafeFileHandle _file;
    private TaskCompletionSource? _appended;
    private TaskCompletionSource? _flushing;
    private bool _isClosed;

    private RecordFile(string path, SafeFileHandle file, long length, Action<DiskStep> before)
    {
        _path = path;
        _file = file;
        Length = length;
        _before = before;
        _flusher = new Thread(FlushLoop) { Name = "journal", IsBackground = true };
        _flusher.Start();
    }

    /// <summary>Bytes in use.</summary>
    public long Length { get; private set; }

    /// <summary>Faulted when a flush failed.</summary>
    public Task Completion => _completion.Task;

    /// <summary>Opens or makes a file and reads its records.</summary>
    /// <param name="path">Where it lies; its folder exists.</param>
    /// <param name="read">Takes every whole record, in order: kind and body.</param>
    /// <param name="cutBytes">Bytes behind the last whole record, which are gone now.</param>
    /// <param name="before">Called before each step on the disk; what it throws stops the step.</param>
    /// <exception cref="IOException">The file cannot be read or made, or another process has it.</exception>
    /// <exception cref="InvalidDataException">The file is something else.</exception>
    public static RecordFile Open(string path, Action<byte, ReadOnlyMemory<byte>> read, out long cutBytes, Action<DiskStep>? before = null)
    {
        before ??= static _ => { };
        SafeFileHandle file = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        try
        {
            Protect(file);
            byte[] bytes = ReadAll(file);
            long length = Recover(path, bytes, read);
            cutBytes = bytes.Length - length;
            if (length == 0)
            {
                before(DiskStep.Write);
                RandomAccess.Write(file, s_magic, 0);
                length = s_magic.Length;
            }

            RandomAccess.SetLength(file, length);
            before(DiskStep.Flush);
            RandomAccess.FlushToDisk(file);
            DurableFolder.Flush(Path.GetDirectoryName(Path.GetFullPath(path))!);
            return new RecordFile(path, file, length, before);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads a file as <see cref="Open"/> would and leaves it as it is. One that a process has open passes: that process could read it.</summary>
    /// <exception cref="IOException">The file cannot be read and written.</exception>
    /// <exception cref="InvalidDataException">The file is something else.</exception>
    public static void Check(string path, Action<byte, ReadOnlyMemory<byte>> read)
    {
        try
        {
            using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            Recover(path, ReadAll(file), read);
        }
        catch (IOException e) when (e.HResult == WouldBlock)
        {
        }
    }

    /// <summary>Adds a record. When it returns, the record survives the process; when <see cref="DurableAsync"/> ends, the machine.</summary>
    /// <exception cref="IOException">There is no space; the file is as it was.</exception>
    public void Append(byte kind, ReadOnlySpan<byte> body)
    {
        byte[] record = ToRecord(kind, body);
        lock (_lock)
        {
            ThrowIfClosed();
            _before(DiskStep.Write);
            try
            {
                RandomAccess.Write(_file, record, Length);
            }
            catch (IOException)
            {
                TryCutTail();
                throw;
            }

            Length += record.Length;
            if (_appended is null)
            {
                _appended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                _work.Release();
            }
        }
    }

    /// <summary>Ends when everything that was appended before the call is on disk.</summary>
    public Task DurableAsync()
    {
        lock (_lock)
        {
            return _completion.Task.IsCompleted ? _completion.Task : (_appended ?? _flushing)?.Task ?? Task.CompletedTask;
        }
    }

    /// <summary>Replaces all records by <paramref name="records"/>: a new file beside the old one, on disk before it takes its name.</summary>
    /// <exception cref="IOException">There is no space; the old file stays in use.</exception>
    public void Rewrite(IEnumerable<(byte Kind, byte[] Body)> records)
    {
        lock (_lock)
        {
            ThrowIfClosed();
            string next = _path + ".new";
            SafeFileHandle file = File.OpenHandle(next, FileMode.Create, FileAccess.ReadWrite, FileShare.None);
            try
            {
                Protect(file);
                using var bytes = new MemoryStream();
                bytes.Write(s_magic);
                foreach ((byte kind, byte[] body) in records)
                {
                    bytes.Write(ToRecord(kind, body));
                }

                _before(DiskStep.Write);
                RandomAccess.Write(file, bytes.GetBuffer().AsSpan(0, (int)bytes.Length), 0);
                _before(DiskStep.Flush);
                RandomAccess.FlushToDisk(file);
                _before(DiskStep.Rename);
                File.Move(next, _path, overwrite: true);
                (_file, file) = (file, _file);
                Length = bytes.Length;
                DurableFolder.Flush(Path.GetDirectoryName(Path.GetFullPath(_path))!);
            }
            finally
            {
                file.Dispose(); // the one that is not in use any more
            }
        }
    }

    /// <summary>Flushes and closes.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _isClosed = true;
        }

        _work.Release();
        _flusher.Join();
        _file.Dispose();
    }

    private static byte[] ReadAll(SafeFileHandle file)
    {
        byte[] bytes = new byte[RandomAccess.GetLength(file)];
        int count = 0;
        for (int got; (got = RandomAccess.Read(file, bytes.AsSpan(count), count)) > 0; count += got)
        {
            // until the end
        }

        return bytes;
    }

    /// <summary>Reads whole records and returns where they end; 0 = not even the magic is whole.</summary>
    private static long Recover(string path, byte[] bytes, Action<byte, ReadOnlyMemory<byte>> read)
    {
        ReadOnlySpan<byte> start = bytes.AsSpan(0, Math.Min(bytes.Length, s_magic.Length));
        if (!s_magic.AsSpan().StartsWith(start))
        {
            throw new InvalidDataException($"{path} at byte 0: this is no journal of gemma4edge; expected it to begin with G4EJRN01. Move it away, or name another state directory.");
        }

        int at = s_magic.Length;
        if (bytes.Length < at)
        {
            return 0;
        }

        while (bytes.Length - at >= HeaderBytes)
        {
            ReadOnlySpan<byte> header = bytes.AsSpan(at, HeaderBytes);
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(header);
            if (length > MaxBodyBytes || length > bytes.Length - at - HeaderBytes
                || Crc32.HashToUInt32(bytes.AsSpan(at + 8, 1 + (int)length)) != BinaryPrimitives.ReadUInt32LittleEndian(header[4..]))
            {
                break;
            }

            read(header[8], bytes.AsMemory(at + HeaderBytes, (int)length));
            at += HeaderBytes + (int)length;
        }

        return at;
    }

    /// <summary>For its owner alone: people's prompts are in it.</summary>
    private static void Protect(SafeFileHandle file)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
    }

    private static byte[] ToRecord(byte kind, ReadOnlySpan<byte> body)
    {
        if (body.Length > MaxBodyBytes)
        {
            throw new ArgumentException($"A record of {body.Length} bytes; at most {MaxBodyBytes} are kept.", nameof(body));
        }

        byte[] record = new byte[HeaderBytes + body.Length];
        record[8] = kind;
        body.CopyTo(record.AsSpan(HeaderBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(record, (uint)body.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(4), Crc32.HashToUInt32(record.AsSpan(8)));
        return record;
    }

    private void FlushLoop()
    {
        while (true)
        {
            _work.Wait();
            SafeFileHandle file;
            lock (_lock)
            {
                if (_appended is null)
                {
                    if (_isClosed)
                    {
                        return;
                    }

                    continue;
                }

                (_flushing, _appended) = (_appended, null);
                file = _file;
            }

            try
            {
                _before(DiskStep.Flush);
                RandomAccess.FlushToDisk(file);
            }
            catch (ObjectDisposedException)
            {
                // compacted away meanwhile: the new file was on disk before it took the name
            }
            catch (Exception broken)
            {
                Break(broken);
                return;
            }

            lock (_lock)
            {
                _flushing.SetResult();
                _flushing = null;
            }
        }
    }

    private void Break(Exception broken)
    {
        lock (_lock)
        {
            _isClosed = true;
            _completion.TrySetException(broken);
            _flushing?.SetException(broken);
            _appended?.SetException(broken);
        }
    }

    private void TryCutTail()
    {
        try
        {
            RandomAccess.SetLength(_file, Length); // part of a record may stand there; the next one is written over it in any case
        }
        catch (IOException)
        {
            // then so
        }
    }

    private void ThrowIfClosed() => ObjectDisposedException.ThrowIf(_isClosed, this);
}
