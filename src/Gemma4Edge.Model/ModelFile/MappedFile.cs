using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>How a range of a mapping will be read; the numbers are those of <c>madvise</c>.</summary>
internal enum MappingAdvice
{
    /// <summary>Here and there: no read-ahead. Without it 17 MiB of random rows pulled 511 MiB from the disk.</summary>
    Random = 1,

    /// <summary>Soon: start to read now.</summary>
    WillNeed = 3,

    /// <summary>No more: its pages may go. They come back from the file when they are read again.</summary>
    DontNeed = 4,
}

/// <summary>A regular file mapped read-only into memory, whole.</summary>
/// <remarks>
/// The size is taken once, when the file is opened, and every access is checked against it. A file that somebody truncates afterwards
/// ends the process with SIGBUS at the next read of the lost part: replace model files by rename, never in place.
/// One owner disposes; pointers into the mapping are dead from then on. Reading is safe on any thread.
/// </remarks>
internal sealed unsafe partial class MappedFile : IDisposable
{
    private const int OpenFlags = 0x800 | 0x80000; // O_RDONLY | O_NONBLOCK (a FIFO must not hang us) | O_CLOEXEC
    private const int NoSuchFile = 2;
    private const int NoSuchFolder = 20;
    private const int ProtRead = 1;
    private const int MapPrivate = 2;

    private byte* _data;

    /// <summary>Maps the file at <paramref name="path"/>.</summary>
    /// <exception cref="ModelFileException">It is missing, unreadable, empty, or no regular file.</exception>
    public MappedFile(string path)
    {
        Path = path;
        int descriptor = Open(path, OpenFlags);
        if (descriptor < 0)
        {
            int error = Marshal.GetLastPInvokeError();
            Refuse(error is NoSuchFile or NoSuchFolder ? $"No model at {path}." : $"The file cannot be opened ({Marshal.GetPInvokeErrorMessage(error)}).", "Check the path and who may read it.");
        }

        using var handle = new SafeFileHandle(descriptor, ownsHandle: true);
        Length = RegularFileLength(handle);
        void* address = Map(null, (nuint)Length, ProtRead, MapPrivate, descriptor, 0);
        if (address == (void*)-1)
        {
            Refuse($"The file cannot be mapped ({Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}).", "Check the free address space (ulimit -v).");
        }

        _data = (byte*)address;
    }

    /// <summary>The path it was opened by.</summary>
    public string Path { get; }

    /// <summary>Size in bytes, at least 1.</summary>
    public long Length { get; }

    /// <summary>The first of <paramref name="length"/> bytes at <paramref name="offset"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    public byte* At(long offset, long length)
    {
        ObjectDisposedException.ThrowIf(_data == null, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length - offset);
        return _data + offset;
    }

    /// <summary>The bytes [<paramref name="offset"/>, offset + <paramref name="length"/>).</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    public ReadOnlySpan<byte> Span(long offset, int length) => new(At(offset, length), length);

    /// <summary>Tells the kernel how a range will be read; the range is widened to whole pages. Only a hint: a refusal changes no result.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the file.</exception>
    public void Advise(long offset, long length, MappingAdvice advice)
    {
        long page = Environment.SystemPageSize;
        byte* first = At(offset, length) - (offset % page);
        _ = AdviseRange(first, (nuint)(length + (offset % page)), (int)advice);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_data != null)
        {
            _ = Unmap(_data, (nuint)Length);
            _data = null;
        }
    }

    private long RegularFileLength(SafeFileHandle handle)
    {
        if (File.GetAttributes(handle).HasFlag(FileAttributes.Directory))
        {
            Refuse("This is a folder, not a file.", "Name the model file, or a folder that has a config.json.");
        }

        long length;
        try
        {
            length = RandomAccess.GetLength(handle);
        }
        catch (NotSupportedException)
        {
            length = 0; // a pipe or socket
        }

        if (length == 0)
        {
            Refuse("The file is empty or no regular file.", ModelFileException.GetItAgain);
        }

        return length;
    }

    [DoesNotReturn]
    private void Refuse(string problem, string hint) => throw new ModelFileException(Path, 0, problem, hint);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial void* Map(void* address, nuint length, int protection, int flags, int descriptor, long offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(void* address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int AdviseRange(void* address, nuint length, int advice);
}
