using System.Runtime.InteropServices;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A part of a model's mapping, for telling how much of it is in memory.</summary>
/// <param name="Name"><c>weights</c>, or <c>ple</c> for the per-layer embedding table. Several ranges may have one name.</param>
/// <param name="Address">First byte.</param>
/// <param name="Length">Bytes.</param>
/// <remarks>Valid while the <see cref="LoadedModel"/> it came from is open.</remarks>
public sealed unsafe partial record MappedRange(string Name, nint Address, long Length)
{
    private const int PagesPerCall = 16 * 1024;

    /// <summary>Bytes of the range that lie in the page cache now, counted in whole pages and cut to <see cref="Length"/>; one system call per 64 MiB (pages of 4 KiB).</summary>
    /// <exception cref="InvalidOperationException">The kernel refuses to tell (the model was closed).</exception>
    public long CountResidentBytes()
    {
        long page = Environment.SystemPageSize;
        long pageCount = ((Address % page) + Length + page - 1) / page;
        byte* first = (byte*)Address - (Address % page);
        byte* present = stackalloc byte[PagesPerCall];
        long resident = 0;
        for (long done = 0; done < pageCount; done += PagesPerCall)
        {
            int pages = (int)Math.Min(PagesPerCall, pageCount - done);
            if (Residency(first + (done * page), (nuint)(pages * page), present) != 0)
            {
                throw new InvalidOperationException($"mincore failed ({Marshal.GetLastPInvokeError()}): the range '{Name}' is not mapped.");
            }

            for (int i = 0; i < pages; i++)
            {
                resident += present[i] & 1;
            }
        }

        return Math.Min(resident * page, Length);
    }

    [LibraryImport("libc", EntryPoint = "mincore", SetLastError = true)]
    private static partial int Residency(void* address, nuint length, byte* present);
}
