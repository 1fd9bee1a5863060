using System.Globalization;

namespace Gemma4Edge.Cli;

/// <summary>This process's memory in bytes, as the kernel counts it. Mapped weights are file-backed: the kernel takes them back when it needs the room.</summary>
/// <param name="PeakBytes">Most resident bytes so far, both kinds.</param>
/// <param name="AnonymousBytes">Resident now: heap, stacks, KV cache.</param>
/// <param name="FileBackedBytes">Resident now: mapped files.</param>
internal sealed record ProcessMemory(long PeakBytes, long AnonymousBytes, long FileBackedBytes)
{
    private const string StatusFile = "/proc/self/status";

    /// <summary>Reads the present values; null where the system does not tell.</summary>
    public static ProcessMemory? TryRead()
    {
        if (!File.Exists(StatusFile))
        {
            return null;
        }

        Dictionary<string, string> status = File.ReadLines(StatusFile).Select(line => line.Split(':', 2)).ToDictionary(part => part[0], part => part[1]);
        return new ProcessMemory(Bytes("VmHWM"), Bytes("RssAnon"), Bytes("RssFile"));

        // "   1234 kB"
        long Bytes(string key) => 1024 * long.Parse(status[key].AsSpan().TrimEnd("kB ").Trim(), CultureInfo.InvariantCulture);
    }
}
