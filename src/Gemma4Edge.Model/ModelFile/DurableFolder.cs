using System.Runtime.InteropServices;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Makes the names in a folder survive a power cut. .NET can flush a file, not a folder.</summary>
public static partial class DurableFolder
{
    private const int ReadOnlyDirectory = 0x80000; // O_RDONLY | O_CLOEXEC; O_DIRECTORY differs between x64 and arm64 and is not needed

    /// <summary>Waits until every file that was created, renamed or deleted in <paramref name="path"/> is so on disk. Best effort: some file systems cannot.</summary>
    public static void Flush(string path)
    {
        int folder = Open(path, ReadOnlyDirectory);
        if (folder >= 0)
        {
            _ = Fsync(folder);
            _ = Close(folder);
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Fsync(int file);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int file);
}
