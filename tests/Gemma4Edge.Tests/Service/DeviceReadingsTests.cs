using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Tests.Service;

public sealed class DeviceReadingsTests
{
    [Fact]
    public void RaspberryPi_TellsHeatClockLoadAndPressure()
    {
        using var pi = MadeMachine.RaspberryPi();
        DeviceReadings readings = DeviceReadings.Read(pi.Files);
        Assert.Equal((61.2, 2.4e9, 0.8, 86400, 0.015), (readings.CpuCelsius, readings.CpuHertz, readings.Load1, readings.UptimeSeconds, readings.MemoryPressure));
        Assert.Equal(6L << 30, readings.AvailableBytes);
        Assert.Equal(0u, readings.Throttled!.Value.Bits);
        Assert.Null(readings.RssBytes); // the made machine has no such file
    }

    [Fact]
    public void MachineThatTellsNothing_HasNoReadingAtAll()
    {
        using var nothing = new MadeMachine();
        Assert.Equal(new DeviceReadings(), DeviceReadings.Read(nothing.Files));
    }

    [Theory]
    [InlineData("0", "", "")]
    [InlineData("4", "throttled", "")]
    [InlineData("0x4", "throttled", "")]
    [InlineData("50005", "under_voltage throttled", "under_voltage throttled")]
    [InlineData("f000f", "under_voltage frequency_capped throttled soft_temperature_limit", "under_voltage frequency_capped throttled soft_temperature_limit")]
    [InlineData("80000008", "soft_temperature_limit", "")]
    public void Throttled_IsToldInWords(string hex, string now, string sinceStart)
    {
        using var pi = MadeMachine.RaspberryPi(hex);
        Throttling throttled = DeviceReadings.Read(pi.Files).Throttled!.Value;
        Assert.Equal((now, sinceStart), (string.Join(' ', throttled.Now), string.Join(' ', throttled.SinceStart)));
    }

    /// <summary>MemoryHigh, from which on the kernel slows the service down, counts as MemoryMax does.</summary>
    [Theory, InlineData("memory.max"), InlineData("memory.high")]
    public void ControlGroup_LimitsWhatTheMachineHas(string limit)
    {
        using var pi = MadeMachine.RaspberryPi(availableBytes: 6L << 30)
            .With("/proc/self/cgroup", "0::/system.slice/gemma4edge.service\n")
            .With("/sys/fs/cgroup/system.slice/gemma4edge.service/memory.max", "max\n")
            .With($"/sys/fs/cgroup/system.slice/gemma4edge.service/{limit}", $"{2L << 30}\n")
            .With("/sys/fs/cgroup/system.slice/gemma4edge.service/memory.current", $"{1800L << 20}\n")
            .With("/sys/fs/cgroup/system.slice/gemma4edge.service/memory.stat", $"anon 1\nactive_file {1000L << 20}\ninactive_file {500L << 20}\n")
            .With("/sys/fs/cgroup/system.slice/memory.max", "max\n");
        Assert.Equal(new MemoryLimits(2L << 30, (2048L - 1800 + 1500) << 20), MemoryLimits.Read(pi.Files));
    }

    [Theory]
    [InlineData(0.001, 10)]
    [InlineData(0.2, 40)]
    [InlineData(5, 60)]
    public void PagesThatTakeLongToCount_AreCountedLessOften(double seconds, double period)
    {
        using var nothing = new MadeMachine();
        var time = new FakeTime();
        long count = 0;
        var device = new DeviceMonitor(
            nothing.Files,
            () =>
            {
                time.Advance(TimeSpan.FromSeconds(seconds));
                return new MappedResidency(++count, null);
            },
            time);
        Assert.Equal(1, device.Residency.WeightsBytes);
        time.Advance(TimeSpan.FromSeconds(period - 0.1));
        Assert.Equal(1, device.Residency.WeightsBytes);
        time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Equal(2, device.Residency.WeightsBytes);
    }

    [Fact]
    public void MadeFiles_StandInFrontOfTheMachinesOwn()
    {
        using var hot = new MadeMachine().With("/sys/class/thermal/thermal_zone0/temp", "91000\n");
        DeviceReadings readings = DeviceReadings.Read(new SystemFiles(hot.Root));
        Assert.Equal(91, readings.CpuCelsius);
        Assert.True(readings.RssBytes > 0);
    }
}
