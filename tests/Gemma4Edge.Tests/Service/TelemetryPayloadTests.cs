using System.Text.Json;
using Gemma4Edge.Model;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Tests.Service;

public sealed class TelemetryPayloadTests
{
    private static readonly DateTimeOffset s_noon = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Payload_OfABusyRaspberryPi_HasEveryKeyOfTheTable()
    {
        using var pi = MadeMachine.RaspberryPi("50004")
            .With("/proc/self/status", "VmRSS:   3000 kB\nRssAnon:   1000 kB\nRssFile:   2000 kB\n")
            .With("/proc/self/smaps_rollup", "Pss:   2500 kB\n")
            .With("/proc/self/stat", "1 (gemma 4) S 0 0 0 0 0 0 5 0 12 0\n");
        using var metrics = new EngineMetrics("scripted");
        using var queue = new RequestQueue(4);
        NodeMetrics.Observe(metrics, new DeviceMonitor(pi.Files, () => new MappedResidency(400, 50), TimeProvider.System), queue, () => 2);
        metrics.Observe(MetricTable.ComputeThreads, () => 4);
        var ranks = new WinnerRanks(512);
        ranks.Add(1);
        metrics.RequestFinished(new GenerationResult("", [], FinishReason.Stop, new TokenUsage(63, 48, 21), new RequestTimings(1, 412.04, 121.44, 9.1, 2710)), ranks);
        metrics.RequestFailed(Failures.QueueFull(16), receivedTimestamp: null); // counted, and in no percentile
        metrics.Observe(MetricTable.KvBytes, () => 4096);

        JsonElement json = JsonDocument.Parse(TelemetryPayload.Write(s_noon, metrics.Reader, Throttling.Read(pi.Files))).RootElement;

        Assert.All(MetricTable.All.SelectMany(metric => metric.Keys), key => Assert.True(json.TryGetProperty(key.Name, out _), key.Name));
        Assert.Equal(
            """
            {"time":"2026-11-24T12:00:00Z","ttft_ms":{"p50":412,"p95":412,"max":412},"tpot_ms":{"p50":109.9,"p95":109.9,"max":109.9},"total_ms":{"p50":2710,"p95":2710,"max":2710},"queue_ms":{"p50":1,"p95":1,"max":1},"prefill_tps":121.4,"decode_tps":9.1,"prompt_tokens":63,"cached_tokens":48,"completion_tokens":21,"rss_bytes":3072000,"rss_anonymous_bytes":1024000,"rss_file_bytes":2048000,"pss_bytes":2560000,"weights_resident_bytes":400,"ple_resident_bytes":50,"kv_bytes":4096,"head_tokens":1,"head_beyond_quarter":0,"available_bytes":6442450944,"major_faults":12,"memory_pressure_percent":1.5,"cpu_celsius":61.2,"cpu_mhz":2400,"throttled":{"bits":327684,"now":["throttled"],"since_boot":["under_voltage","throttled"]},"load1":0.8,"uptime_s":86400,"compute_threads":4,"queue":0,"requests_ok":1,"requests_failed":1,"broker_reconnects":2}
            """,
            json.GetRawText());
    }

    [Fact]
    public void Payload_OfAMachineThatTellsNothing_HasOnlyWhatTheServiceCounts()
    {
        using var nothing = new MadeMachine();
        using var metrics = new EngineMetrics("scripted");
        using var queue = new RequestQueue(4);
        NodeMetrics.Observe(metrics, new DeviceMonitor(nothing.Files, () => default, TimeProvider.System), queue, () => 0);

        Assert.Equal(
            """{"time":"2026-11-24T12:00:00Z","prompt_tokens":0,"cached_tokens":0,"completion_tokens":0,"queue":0,"requests_ok":0,"requests_failed":0,"broker_reconnects":0}""",
            System.Text.Encoding.UTF8.GetString(TelemetryPayload.Write(s_noon, metrics.Reader, Throttling.Read(nothing.Files))));
    }

    [Fact]
    public void Readme_ListsExactlyTheMetricsOfTheCode()
    {
        string readme = File.ReadAllText(Path.Combine(TestData.Root, "README.md"));
        string section = readme[readme.IndexOf("### Telemetry\n", StringComparison.Ordinal)..];
        string[] rows = [.. section.Split('\n').SkipWhile(line => !line.StartsWith('|')).TakeWhile(line => line.StartsWith('|'))];
        string[] expected = ["| on MQTT | OpenTelemetry | what |", "| --- | --- | --- |", .. MetricTable.All.Select(Row)];
        Assert.Equal(string.Join('\n', expected), string.Join('\n', rows));

        static string Row(Metric metric)
        {
            string keys = metric == MetricTable.Throttled ? "`throttled`" : string.Join(' ', metric.Keys.Select(key => $"`{key.Name}`"));
            string unit = metric.Unit is "" || metric.Unit.StartsWith('{') ? "" : $" ({metric.Unit})";
            return $"| {keys} | `{metric.Name}`{unit} | {metric.Description} |";
        }
    }
}
