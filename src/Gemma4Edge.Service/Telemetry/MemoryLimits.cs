namespace Gemma4Edge.Service.Telemetry;

/// <summary>How much memory this process may use: the machine's, or less where a control group (systemd's MemoryMax or MemoryHigh, a container) says so.</summary>
/// <param name="TotalBytes">The machine's memory, or the smallest limit of the process's groups; null = unknown.</param>
/// <param name="AvailableBytes">What can still be had without swapping or being killed; null = unknown.</param>
public readonly record struct MemoryLimits(long? TotalBytes, long? AvailableBytes)
{
    /// <summary>Reads /proc/meminfo and the control groups (version 2).</summary>
    public static MemoryLimits Read(SystemFiles files)
    {
        ArgumentNullException.ThrowIfNull(files);
        long? total = files.Kilobytes("/proc/meminfo", "MemTotal:");
        long? available = files.Kilobytes("/proc/meminfo", "MemAvailable:");
        string group = files.LineOf("/proc/self/cgroup", "0::").Replace("0::", "", StringComparison.Ordinal).TrimEnd('/');
        while (true) // this group and all above it
        {
            string folder = "/sys/fs/cgroup" + group;
            double?[] limits = [files.Number($"{folder}/memory.max"), files.Number($"{folder}/memory.high")]; // "max" is no number: no limit
            if (limits.Min() is { } max)
            {
                double cache = StatOf("active_file") + StatOf("inactive_file"); // counts as used, but is given back on demand
                double left = Math.Max(0, max - (files.Number($"{folder}/memory.current") ?? 0) + cache);
                total = (long)Math.Min(total ?? max, max);
                available = (long)Math.Min(available ?? left, Math.Min(left, max));
            }

            if (group.Length == 0)
            {
                return new MemoryLimits(total, available);
            }

            group = group[..Math.Max(0, group.LastIndexOf('/'))];

            double StatOf(string key) => SystemFiles.Parse(SystemFiles.Field(files.LineOf($"{folder}/memory.stat", key + " "), 1)) ?? 0;
        }
    }
}
