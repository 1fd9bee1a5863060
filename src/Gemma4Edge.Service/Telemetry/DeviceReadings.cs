using System.Globalization;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>What the kernel tells about this process and this machine. Null = it does not tell.</summary>
public sealed record DeviceReadings
{
    /// <summary>The CPU's name.</summary>
    public static string? CpuName { get; } = ReadCpuName();

    /// <summary>Memory of the machine.</summary>
    public static long? MemoryBytes { get; } = KilobytesOf("/proc/meminfo", "MemTotal:");

    /// <summary>Most resident memory so far.</summary>
    public long? PeakRssBytes { get; init; }

    /// <summary>Resident memory of the process: anonymous and file-backed together.</summary>
    public long? RssBytes { get; init; }

    /// <summary>Of these, memory of its own.</summary>
    public long? RssAnonymousBytes { get; init; }

    /// <summary>Of these, page cache mapped into it: mapped weights are not used-up memory.</summary>
    public long? RssFileBytes { get; init; }

    /// <summary>Resident memory, shared pages divided among those who share them.</summary>
    public long? PssBytes { get; init; }

    /// <summary>Memory that can still be had without swapping.</summary>
    public long? AvailableBytes { get; init; }

    /// <summary>Page faults that waited for the disk, since the process started.</summary>
    public long? MajorFaults { get; init; }

    /// <summary>Temperature of the first thermal zone.</summary>
    public double? CpuCelsius { get; init; }

    /// <summary>Frequency of the first core.</summary>
    public double? CpuMhz { get; init; }

    /// <summary>Load average of the last minute.</summary>
    public double? Load1 { get; init; }

    /// <summary>Seconds since the machine started.</summary>
    public long? UptimeSeconds { get; init; }

    /// <summary>Reads everything now: a dozen small files of /proc and /sys.</summary>
    public static DeviceReadings Read() => new()
    {
        RssBytes = KilobytesOf("/proc/self/status", "VmRSS:"),
        PeakRssBytes = KilobytesOf("/proc/self/status", "VmHWM:"),
        RssAnonymousBytes = KilobytesOf("/proc/self/status", "RssAnon:"),
        RssFileBytes = KilobytesOf("/proc/self/status", "RssFile:"),
        PssBytes = KilobytesOf("/proc/self/smaps_rollup", "Pss:"),
        AvailableBytes = KilobytesOf("/proc/meminfo", "MemAvailable:"),
        MajorFaults = (long?)Number(Field(TextOf("/proc/self/stat").Split(") ")[^1], 9)), // after "pid (name) " the fields start with the third
        CpuCelsius = Number(TextOf("/sys/class/thermal/thermal_zone0/temp")) / 1000,
        CpuMhz = Number(TextOf("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")) / 1000,
        Load1 = Number(Field(TextOf("/proc/loadavg"), 0)),
        UptimeSeconds = (long?)Number(Field(TextOf("/proc/uptime"), 0)),
    };

    private static string? ReadCpuName()
    {
        string[] lines = TextOf("/proc/cpuinfo").Split('\n');
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

        string? ValueOf(string key) =>
            lines.FirstOrDefault(line => line.StartsWith(key, StringComparison.Ordinal))?.Split(':', 2)[^1].Trim();
    }

    private static long? KilobytesOf(string file, string key) =>
        TextOf(file).Split('\n').FirstOrDefault(line => line.StartsWith(key, StringComparison.Ordinal)) is { } line
            ? (long?)Number(Field(line, 1)) * 1024
            : null;

    private static string Field(string line, int index) =>
        line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is { } fields && fields.Length > index ? fields[index] : "";

    private static double? Number(string text) => double.TryParse(text, CultureInfo.InvariantCulture, out double value) ? value : null;

    /// <summary>The text of a small file; empty where there is none, or the kernel refuses to tell (a sensor without a reading).</summary>
    private static string TextOf(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
