using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Tests.Service;

/// <summary>A folder with files of /proc and /sys as some other machine has them.</summary>
internal sealed class MadeMachine : IDisposable
{
    public string Root { get; } = Directory.CreateTempSubdirectory("machine").FullName;

    public SystemFiles Files => new(Root, onlyRoot: true);

    /// <summary>What a Raspberry Pi 5 of 8 GB tells, as far as the service asks.</summary>
    public static MadeMachine RaspberryPi(string throttled = "0", double celsius = 61.2, long availableBytes = 6L << 30) => new MadeMachine()
        .With("/sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled", throttled + "\n")
        .With("/sys/class/thermal/thermal_zone0/temp", $"{(int)(celsius * 1000)}\n")
        .With("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2400000\n")
        .With("/proc/meminfo", $"MemTotal:        8117008 kB\nMemFree:          100000 kB\nMemAvailable:    {availableBytes / 1024} kB\n")
        .With("/proc/pressure/memory", "some avg10=1.50 avg60=0.20 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
        .With("/proc/loadavg", "0.80 0.40 0.20 1/234 5678\n")
        .With("/proc/uptime", "86400.12 300000.00\n");

    public MadeMachine With(string path, string text)
    {
        string made = Root + path;
        Directory.CreateDirectory(Path.GetDirectoryName(made)!);
        File.WriteAllText(made, text);
        return this;
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
