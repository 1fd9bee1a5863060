using System.Diagnostics.Metrics;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Says where each figure comes from that is not the engine's own: the device, the queue, the broker.</summary>
internal static class NodeMetrics
{
    /// <summary>Adds the instruments to <paramref name="metrics"/>.</summary>
    public static void Observe(EngineMetrics metrics, DeviceMonitor device, RequestQueue queue, Func<long> reconnects)
    {
        metrics.Observe(MetricTable.Rss, () => device.Readings.RssBytes);
        metrics.Observe(MetricTable.RssAnonymous, () => device.Readings.RssAnonymousBytes);
        metrics.Observe(MetricTable.RssFile, () => device.Readings.RssFileBytes);
        metrics.Observe(MetricTable.Pss, () => device.PssBytes);
        metrics.Observe(MetricTable.WeightsResident, () => device.Residency.WeightsBytes);
        metrics.Observe(MetricTable.PleResident, () => device.Residency.PleBytes);
        metrics.Observe(MetricTable.Available, () => device.Readings.AvailableBytes);
        metrics.Observe(MetricTable.MajorFaults, () => device.Readings.MajorFaults);
        metrics.Observe(MetricTable.MemoryPressure, () => device.Readings.MemoryPressure);
        metrics.Observe(MetricTable.CpuTemperature, () => device.Readings.CpuCelsius);
        metrics.Observe(MetricTable.CpuFrequency, () => device.Readings.CpuHertz);
        metrics.Observe(MetricTable.Throttled, () => device.Readings.Throttled is { } throttled ? Reasons(throttled) : []);
        metrics.Observe(MetricTable.Load1, () => device.Readings.Load1);
        metrics.Observe(MetricTable.Uptime, () => device.Readings.UptimeSeconds);
        metrics.Observe(MetricTable.QueueLength, () => queue.Count);
        metrics.Observe(MetricTable.BrokerReconnects, () => reconnects());
    }

    private static IEnumerable<Measurement<double>> Reasons(Throttling throttled) => Throttling.Reasons.SelectMany(reason => (Measurement<double>[])
    [
        new(throttled.Now.Contains(reason) ? 1 : 0, new KeyValuePair<string, object?>("reason", reason), new("when", "now")),
        new(throttled.SinceStart.Contains(reason) ? 1 : 0, new KeyValuePair<string, object?>("reason", reason), new("when", "since_boot")),
    ]);
}
