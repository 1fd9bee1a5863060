namespace Gemma4Edge.Runtime;

/// <summary>Every figure the service has: its name, its unit, its key on MQTT, and nothing else needs to know them.</summary>
/// <remarks>
/// A new figure is a row here and one call where it is measured (<see cref="EngineMetrics.Record"/> or <see cref="EngineMetrics.Observe(Metric, Func{double?})"/>);
/// MQTT, Prometheus and OTLP follow by themselves. Names with <c>gen_ai</c> are OpenTelemetry's (semantic conventions for generative AI, in
/// development: they may change, here alone); what has no agreed name is ours.
/// </remarks>
public static class MetricTable
{
    /// <summary>Tag of <see cref="Requests"/>: <c>ok</c> or <c>failed</c>.</summary>
    public const string Outcome = "outcome";

    /// <summary>Tag of failures: the code of the error event; of <see cref="ToolDuration"/>: the outcome, where it is one.</summary>
    public const string ErrorType = "error.type";

    /// <summary>Tag of what OpenTelemetry asks about a request: always <c>chat</c>.</summary>
    public const string OperationName = "gen_ai.operation.name";

    /// <summary>Tag of the same: always <c>gemma4edge</c>.</summary>
    public const string ProviderName = "gen_ai.provider.name";

    /// <summary>Tag of the same: the model that was asked, which is the node's only one.</summary>
    public const string RequestModel = "gen_ai.request.model";

    /// <summary>Tag of the same: the model that answered; a request that failed has none.</summary>
    public const string ResponseModel = "gen_ai.response.model";

    /// <summary>Tag of <see cref="TokenUsage"/>: <c>input</c>, of these <c>cached</c>, and <c>output</c>.</summary>
    public const string TokenType = "gen_ai.token.type";

    /// <summary>Tag of <see cref="ToolDuration"/>: the tool.</summary>
    public const string ToolName = "gen_ai.tool.name";

    private const double Milliseconds = 1000;
    private static readonly double[] s_doubling = [.. Enumerable.Range(0, 14).Select(power => 0.01 * (1 << power))]; // 0.01 … 81.92

    /// <summary>Latency of the first token. A small computer needs more than the advised 10 s: 20, 40 and 80 are added.</summary>
    public static readonly Metric TimeToFirstToken = new(MetricKind.Histogram, "gen_ai.server.time_to_first_token", "s", "Time from the start of work to the first token", new MetricKey("ttft_ms", Milliseconds, 1))
    {
        Buckets = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80],
    };

    /// <summary>Pace of decoding.</summary>
    public static readonly Metric TimePerOutputToken = new(MetricKind.Histogram, "gen_ai.server.time_per_output_token", "s", "Time per token after the first", new MetricKey("tpot_ms", Milliseconds, 1))
    {
        Buckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
    };

    /// <summary>The whole request.</summary>
    public static readonly Metric RequestDuration = new(MetricKind.Histogram, "gen_ai.server.request.duration", "s", "Time from receipt to the end of the answer, or to the failure (error.type)", new MetricKey("total_ms", Milliseconds, 1)) { Buckets = s_doubling };

    /// <summary>The wait before it.</summary>
    public static readonly Metric QueueDuration = new(MetricKind.Histogram, "gemma4edge.queue.duration", "s", "Time from receipt to the start of work", new MetricKey("queue_ms", Milliseconds, 1)) { Buckets = [0.001, .. s_doubling] };

    /// <summary>Tokens in and out.</summary>
    public static readonly Metric TokenUsage = new(
        MetricKind.Histogram,
        "gen_ai.client.token.usage",
        "{token}",
        "Tokens of prompts (cached ones included), of prompts from the cache, of answers",
        new MetricKey("prompt_tokens") { Tag = new(TokenType, "input") },
        new MetricKey("cached_tokens") { Tag = new(TokenType, "cached") },
        new MetricKey("completion_tokens") { Tag = new(TokenType, "output") })
    {
        Buckets = [.. Enumerable.Range(0, 14).Select(power => (double)(1 << (2 * power)))], // 1, 4, 16 … 67108864
    };

    /// <summary>Speed of the last prefill.</summary>
    public static readonly Metric PrefillRate = new(MetricKind.Gauge, "gemma4edge.prefill.rate", "{token}/s", "New prompt tokens per second, last request", new MetricKey("prefill_tps", 1, 1));

    /// <summary>Speed of the last decode.</summary>
    public static readonly Metric DecodeRate = new(MetricKind.Gauge, "gemma4edge.decode.rate", "{token}/s", "Answer tokens per second, last request", new MetricKey("decode_tps", 1, 1));

    /// <summary>Resident memory.</summary>
    public static readonly Metric Rss = new(MetricKind.Gauge, "gemma4edge.memory.rss", "By", "Resident memory of the process: anonymous and file-backed together", new MetricKey("rss_bytes"));

    /// <summary>Memory that is used up.</summary>
    public static readonly Metric RssAnonymous = new(MetricKind.Gauge, "gemma4edge.memory.rss.anonymous", "By", "Resident memory of its own", new MetricKey("rss_anonymous_bytes"));

    /// <summary>Memory that the kernel may take back.</summary>
    public static readonly Metric RssFile = new(MetricKind.Gauge, "gemma4edge.memory.rss.file", "By", "Resident pages of mapped files, weights among them: not used up", new MetricKey("rss_file_bytes"));

    /// <summary>The fair share.</summary>
    public static readonly Metric Pss = new(MetricKind.Gauge, "gemma4edge.memory.pss", "By", "Resident memory, shared pages divided among those who share them", new MetricKey("pss_bytes"));

    /// <summary>Weights in memory.</summary>
    public static readonly Metric WeightsResident = new(MetricKind.Gauge, "gemma4edge.memory.weights.resident", "By", "Weights that are mapped in now, without the per-layer embeddings", new MetricKey("weights_resident_bytes"));

    /// <summary>Per-layer embeddings in memory.</summary>
    public static readonly Metric PleResident = new(MetricKind.Gauge, "gemma4edge.memory.ple.resident", "By", "Per-layer embeddings that are mapped in now", new MetricKey("ple_resident_bytes"));

    /// <summary>Keys and values.</summary>
    public static readonly Metric KvBytes = new(MetricKind.Gauge, "gemma4edge.memory.kv", "By", "Keys and values of all conversations that are kept", new MetricKey("kv_bytes"));

    /// <summary>What the machine has left.</summary>
    public static readonly Metric Available = new(MetricKind.Gauge, "gemma4edge.memory.available", "By", "Memory of the machine, or of the process's limit, that can still be had without swapping", new MetricKey("available_bytes"));

    /// <summary>Waits for the disk.</summary>
    public static readonly Metric MajorFaults = new(MetricKind.Counter, "gemma4edge.memory.major_faults", "{fault}", "Page faults that waited for the disk", new MetricKey("major_faults"));

    /// <summary>How short memory is.</summary>
    public static readonly Metric MemoryPressure = new(MetricKind.Gauge, "gemma4edge.memory.pressure", "1", "Share of the last 10 seconds in which a task waited for memory", new MetricKey("memory_pressure_percent", 100, 1));

    /// <summary>Heat.</summary>
    public static readonly Metric CpuTemperature = new(MetricKind.Gauge, "gemma4edge.device.cpu.temperature", "Cel", "Temperature of the processor", new MetricKey("cpu_celsius", 1, 1));

    /// <summary>Clock.</summary>
    public static readonly Metric CpuFrequency = new(MetricKind.Gauge, "gemma4edge.device.cpu.frequency", "Hz", "Frequency of the first core", new MetricKey("cpu_mhz", 1e-6));

    /// <summary>What the firmware holds back; on MQTT the object <c>throttled</c>, see the service.</summary>
    public static readonly Metric Throttled = new(MetricKind.Gauge, "gemma4edge.device.throttled", "", "1 = the firmware reports the reason, now or since the start of the machine");

    /// <summary>Load average.</summary>
    public static readonly Metric Load1 = new(MetricKind.Gauge, "gemma4edge.device.load1", "", "Load average of the last minute", new MetricKey("load1", 1, 2));

    /// <summary>Age of the machine's run.</summary>
    public static readonly Metric Uptime = new(MetricKind.Gauge, "gemma4edge.device.uptime", "s", "Time since the machine started", new MetricKey("uptime_s"));

    /// <summary>The line.</summary>
    public static readonly Metric QueueLength = new(MetricKind.Gauge, "gemma4edge.queue.length", "{request}", "Requests that wait", new MetricKey("queue"));

    /// <summary>Requests by outcome.</summary>
    public static readonly Metric Requests = new(
        MetricKind.Counter,
        "gemma4edge.requests",
        "{request}",
        "Requests that ended, with an answer or without",
        new MetricKey("requests_ok") { Tag = new(Outcome, "ok") },
        new MetricKey("requests_failed") { Tag = new(Outcome, "failed") });

    /// <summary>Acts of tools.</summary>
    public static readonly Metric ToolDuration = new(MetricKind.Histogram, "gen_ai.execute_tool.duration", "s", "Time of a tool's act, by tool and outcome (ok, dry_run, refused, failed, unknown)") { Buckets = [0.001, .. s_doubling] };

    /// <summary>Losses of the broker.</summary>
    public static readonly Metric BrokerReconnects = new(MetricKind.Counter, "gemma4edge.broker.reconnects", "{reconnect}", "Times the broker was lost and found again", new MetricKey("broker_reconnects"));

    /// <summary>Threads that compute now.</summary>
    public static readonly Metric ComputeThreads = new(MetricKind.Gauge, "gemma4edge.compute.threads", "{thread}", "Threads that compute: fewer when the processor is hot", new MetricKey("compute_threads"));

    /// <summary>Tokens of a two-stage head.</summary>
    public static readonly Metric HeadTokens = new(MetricKind.Counter, "gemma4edge.head.tokens", "{token}", "Tokens whose head was computed in two stages", new MetricKey("head_tokens"));

    /// <summary>Close calls of a two-stage head.</summary>
    public static readonly Metric HeadBeyondQuarter = new(MetricKind.Counter, "gemma4edge.head.beyond_quarter", "{token}", "Of these, tokens whose winner the first stage had ranked beyond a quarter of the shortlist; many of them: set Model:Head to full", new MetricKey("head_beyond_quarter"));

    /// <summary>All of them, in the order of the telemetry payload.</summary>
    public static IReadOnlyList<Metric> All { get; } =
    [
        TimeToFirstToken, TimePerOutputToken, RequestDuration, QueueDuration, PrefillRate, DecodeRate, TokenUsage,
        Rss, RssAnonymous, RssFile, Pss, WeightsResident, PleResident, KvBytes, HeadTokens, HeadBeyondQuarter, Available, MajorFaults, MemoryPressure,
        CpuTemperature, CpuFrequency, Throttled, Load1, Uptime, ComputeThreads, QueueLength, Requests, ToolDuration, BrokerReconnects,
    ];
}
