namespace Gemma4Edge.Cli;

/// <summary>What the processor is called.</summary>
internal static class CpuName
{
    private const string CpuFile = "/proc/cpuinfo";
    private const string BoardFile = "/proc/device-tree/model";

    /// <summary>The CPU's name (x64) or the board's (arm64, where the kernel names no CPU); null where the system does not tell.</summary>
    public static string? TryRead()
    {
        string? line = File.Exists(CpuFile) ? File.ReadLines(CpuFile).FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal)) : null;
        return line is not null ? line.Split(':', 2)[1].Trim()
            : File.Exists(BoardFile) ? File.ReadAllText(BoardFile).TrimEnd('\0')
            : null;
    }
}
