namespace Gemma4Edge.Service.Telemetry;

/// <summary>The newest readings of the machine, read again when they are asked for and old.</summary>
/// <remarks>Thread-safe. The small files are good for a second, what makes the kernel walk over all mapped pages for ten: an E2B has 150 000 of them.</remarks>
internal sealed class DeviceMonitor(SystemFiles files, Func<MappedResidency> residency, TimeProvider time)
{
    private readonly Aged<DeviceReadings> _readings = new(TimeSpan.FromSeconds(1), () => DeviceReadings.Read(files), time);
    private readonly Aged<(MappedResidency Mapped, long? Pss)> _pages = new(TimeSpan.FromSeconds(10), () => (residency(), DeviceReadings.ReadPssBytes(files)), time);

    /// <summary>Process and machine.</summary>
    public DeviceReadings Readings => _readings.Value;

    /// <summary>What of the model is in memory.</summary>
    public MappedResidency Residency => _pages.Value.Mapped;

    /// <summary>The process's fair share of memory.</summary>
    public long? PssBytes => _pages.Value.Pss;

    private sealed class Aged<T>(TimeSpan maxAge, Func<T> read, TimeProvider time)
    {
        private readonly Lock _lock = new();
        private (long Timestamp, T Value)? _last;

        public T Value
        {
            get
            {
                lock (_lock)
                {
                    if (_last is not var (timestamp, _) || time.GetElapsedTime(timestamp) >= maxAge)
                    {
                        _last = (time.GetTimestamp(), read());
                    }

                    return _last.Value.Value;
                }
            }
        }
    }
}
