namespace Gemma4Edge.Service.Telemetry;

/// <summary>The newest readings of the machine, read again when they are asked for and old.</summary>
/// <remarks>
/// Thread-safe. The small files are good for a second, what makes the kernel walk over all mapped pages for ten; an E2B has 280 000 of them, which took
/// 61 ms of an AMD EPYC (34 for the fair share, 27 for the model). Where that takes longer, it is good for 200 times as long, half a percent of one
/// core, but not for more than a minute.
/// </remarks>
internal sealed class DeviceMonitor(SystemFiles files, Func<MappedResidency> residency, TimeProvider time)
{
    private readonly Aged<DeviceReadings> _readings = new(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1), () => DeviceReadings.Read(files), time);
    private readonly Aged<(MappedResidency Mapped, long? Pss)> _pages = new(TimeSpan.FromSeconds(10), TimeSpan.FromMinutes(1), () => (residency(), DeviceReadings.ReadPssBytes(files)), time);

    /// <summary>Process and machine.</summary>
    public DeviceReadings Readings => _readings.Value;

    /// <summary>What of the model is in memory.</summary>
    public MappedResidency Residency => _pages.Value.Mapped;

    /// <summary>The process's fair share of memory.</summary>
    public long? PssBytes => _pages.Value.Pss;

    private sealed class Aged<T>(TimeSpan least, TimeSpan most, Func<T> read, TimeProvider time)
    {
        private const int Share = 200;
        private readonly Lock _lock = new();
        private (long Timestamp, T Value)? _last;
        private TimeSpan _maxAge;

        public T Value
        {
            get
            {
                lock (_lock)
                {
                    if (_last is not var (timestamp, _) || time.GetElapsedTime(timestamp) >= _maxAge)
                    {
                        long start = time.GetTimestamp();
                        T value = read();
                        _last = (time.GetTimestamp(), value);
                        _maxAge = TimeSpan.FromTicks(Math.Clamp(Share * time.GetElapsedTime(start).Ticks, least.Ticks, most.Ticks));
                    }

                    return _last.Value.Value;
                }
            }
        }
    }
}
