namespace Gemma4Edge.Service.Telemetry;

/// <summary>What the kernel tells about this process and this machine. Null = it does not tell.</summary>
public sealed record DeviceReadings
{
    /// <summary>The CPU's name.</summary>
    public static string? CpuName { get; } = ReadCpuName(SystemFiles.OfThisMachine);

    /// <summary>Memory of the machine.</summary>
    public static long? MemoryBytes { get; } = SystemFiles.OfThisMachine.Kilobytes("/proc/meminfo", "MemTotal:");

    /// <summary>Most resident memory so far.</summary>
    public long? PeakRssBytes { get; init; }

    /// <summary>Resident memory of the process: anonymous and file-backed together.</summary>
    public long? RssBytes { get; init; }

    /// <summary>Of these, memory of its own.</summary>
    public long? RssAnonymousBytes { get; init; }

    /// <summary>Of these, page cache mapped into it: mapped weights are not used-up memory.</summary>
    public long? RssFileBytes { get; init; }

    /// <summary>Memory that can still be had without swapping, within the limits of the process's control groups.</summary>
    public long? AvailableBytes { get; init; }

    /// <summary>Share of the last 10 seconds in which a task waited for memory, 0 to 1.</summary>
    public double? MemoryPressure { get; init; }

    /// <summary>Page faults that waited for the disk, since the process started.</summary>
    public long? MajorFaults { get; init; }

    /// <summary>Temperature of the first thermal zone.</summary>
    public double? CpuCelsius { get; init; }

    /// <summary>Frequency of the first core.</summary>
    public double? CpuHertz { get; init; }

    /// <summary>What the firmware holds back.</summary>
    public Throttling? Throttled { get; init; }

    /// <summary>Load average of the last minute.</summary>
    public double? Load1 { get; init; }

    /// <summary>Seconds since the machine started.</summary>
    public long? UptimeSeconds { get; init; }

    /// <summary>Reads everything now: a dozen small files of /proc and /sys.</summary>
    public static DeviceReadings Read(SystemFiles? files = null)
    {
        files ??= SystemFiles.OfThisMachine;
        return new DeviceReadings
        {
            RssBytes = files.Kilobytes("/proc/self/status", "VmRSS:"),
            PeakRssBytes = files.Kilobytes("/proc/self/status", "VmHWM:"),
            RssAnonymousBytes = files.Kilobytes("/proc/self/status", "RssAnon:"),
            RssFileBytes = files.Kilobytes("/proc/self/status", "RssFile:"),
            AvailableBytes = MemoryLimits.Read(files).AvailableBytes,
            MemoryPressure = SystemFiles.Parse(SystemFiles.Field(files.LineOf("/proc/pressure/memory", "some"), 1).Replace("avg10=", "", StringComparison.Ordinal)) / 100,
            MajorFaults = (long?)SystemFiles.Parse(SystemFiles.Field(files.Text("/proc/self/stat").Split(") ")[^1], 9)), // after "pid (name) " the fields start with the third
            CpuCelsius = files.Number("/sys/class/thermal/thermal_zone0/temp") / 1000,
            CpuHertz = files.Number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq") * 1000,
            Throttled = Throttling.Read(files),
            Load1 = SystemFiles.Parse(SystemFiles.Field(files.Text("/proc/loadavg"), 0)),
            UptimeSeconds = (long?)SystemFiles.Parse(SystemFiles.Field(files.Text("/proc/uptime"), 0)),
        };
    }

    /// <summary>Resident memory, shared pages divided among those who share them. The kernel walks all pages of the process for it.</summary>
    public static long? ReadPssBytes(SystemFiles files)
    {
        ArgumentNullException.ThrowIfNull(files);
        return files.Kilobytes("/proc/self/smaps_rollup", "Pss:");
    }

    private static string? ReadCpuName(SystemFiles files)
    {
        return ValueOf("model name") ?? ValueOf("CPU part") switch // Arm's part numbers; its /proc/cpuinfo has no name
        {
            "0xd03" => "Cortex-A53",
            "0xd05" => "Cortex-A55",
            "0xd08" => "Cortex-A72",
            "0xd0b" => "Cortex-A76",
            "0xd0c" => "Neoverse-N1",
            { } part => $"Arm part {part}",
            null => null,
        };

        string? ValueOf(string key) => files.LineOf("/proc/cpuinfo", key) is { Length: > 0 } line ? line.Split(':', 2)[^1].Trim() : null;
    }
}
