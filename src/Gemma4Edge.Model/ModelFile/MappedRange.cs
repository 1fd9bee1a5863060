using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A part of a model's mapping, for telling how much of it is in memory.</summary>
/// <param name="Name"><c>ple</c> for the per-layer embedding table, <c>head_lower</c> for the lower plane of a nested LM head, else <c>weights</c>. Several ranges may have one name.</param>
/// <param name="Address">First byte.</param>
/// <param name="Length">Bytes, at least 1.</param>
/// <remarks>Valid while the <see cref="LoadedModel"/> it came from is open.</remarks>
public sealed record MappedRange(string Name, nint Address, long Length)
{
    private const string PageMap = "/proc/self/pagemap";
    private const int PagesPerRead = 4096;

    /// <summary>Bytes of the range that this process has in memory now, in whole pages, cut to <see cref="Length"/>; null = the kernel does not tell.</summary>
    /// <remarks>
    /// Counts the pages that are mapped into this process, so that the ranges of a model together are its part of the resident set. mincore is
    /// not asked: it tells the state of the page cache, which holds all of a file that was just written, and to a process that may not write the
    /// file it reports every page as present (Linux 5.2). A touched page brings its neighbours along, up to 64 KiB, if the page cache has them.
    /// </remarks>
    public long? CountResidentBytes()
    {
        const int Present = 63;
        long page = Environment.SystemPageSize;
        long first = Address / page;
        long pageCount = ((Address + Length + page - 1) / page) - first;
        Span<ulong> entries = stackalloc ulong[PagesPerRead];
        long resident = 0;
        try
        {
            using SafeFileHandle pages = File.OpenHandle(PageMap);
            for (long done = 0; done < pageCount; done += PagesPerRead)
            {
                Span<ulong> some = entries[..(int)Math.Min(PagesPerRead, pageCount - done)];
                Span<byte> bytes = MemoryMarshal.AsBytes(some);
                if (RandomAccess.Read(pages, bytes, (first + done) * sizeof(ulong)) != bytes.Length)
                {
                    return null;
                }

                foreach (ulong entry in some)
                {
                    resident += (long)(entry >> Present);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        return Math.Min(resident * page, Length);
    }
}
