using System.Text.Json;
using Gemma4Edge.Service.Mqtt;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Service.HomeAssistant;

/// <summary>What Home Assistant must know to show the node as one device: its device-based MQTT discovery, in the short keys.</summary>
/// <remarks>
/// Values come from the payloads that are published anyway. Home Assistant takes no state above 255 characters, so long texts are cut by their templates (the whole answer is
/// in the attributes), and a key that may be absent gives <c>none</c>, which it shows as unknown.
/// </remarks>
internal sealed class DeviceDiscovery(string prefix, NodeTopics topics, NodeInfo info)
{
    private const int MaxState = 255;
    private const int LeastExpirySeconds = 120;

    /// <summary>Seconds between two telemetry messages: what comes from them expires when three are missing, or after 120 s if that is longer.</summary>
    public int TelemetryIntervalSeconds { get; set; }

    private int TelemetryExpirySeconds => Math.Max(LeastExpirySeconds, 3 * TelemetryIntervalSeconds);

    /// <summary>Where it is published, retained.</summary>
    public string Topic => TopicOf(prefix, topics.Node);

    /// <summary>Where Home Assistant says that it has come up.</summary>
    public string Status => $"{prefix}/status";

    /// <summary>The discovery topic of a node; an empty retained message on it takes the device away.</summary>
    public static string TopicOf(string prefix, string node) => $"{prefix}/device/{node}/config";

    /// <summary>The discovery message.</summary>
    public byte[] Payload() => Payloads.Object(json =>
    {
        json.WriteStartObject("dev");
        json.WriteStartArray("ids");
        json.WriteStringValue($"gemma4edge_{topics.Node}");
        json.WriteEndArray();
        json.WriteString("name", $"Gemma4Edge {topics.Node}");
        json.WriteString("mf", "Gemma4Edge");
        json.WriteString("mdl", info.Model);
        json.WriteString("sw", NodeInfo.ProgramVersion);
        if (DeviceReadings.CpuName is { } cpu)
        {
            json.WriteString("hw", cpu);
        }

        json.WriteEndObject();
        json.WriteStartObject("o");
        json.WriteString("name", "gemma4edge");
        json.WriteString("sw", NodeInfo.ProgramVersion);
        json.WriteEndObject();
        json.WriteStartArray("avty");
        json.WriteStartObject();
        json.WriteString("t", topics.Availability);
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteString("stat_t", topics.State);
        json.WriteNumber("qos", 1);
        json.WriteStartObject("cmps");
        WriteComponents(json);
        json.WriteEndObject();
    });

    private void WriteComponents(Utf8JsonWriter json)
    {
        Component("prompt", "text", "Prompt", ("cmd_t", topics.PromptSet), ("stat_t", topics.Prompt), ("max", MaxState), ("val_tpl", $"{{{{ value[:{MaxState}] }}}}"), ("ic", "mdi:message-text"));
        Component(
            "answer", "sensor", "Answer", ("stat_t", topics.Answer), ("json_attr_t", topics.Answer), ("ic", "mdi:robot"),
            ("val_tpl", "{{ (value_json.text if value_json.text is defined else value_json.error.message)[:250] }}"));
        Component("busy", "binary_sensor", "Busy", ("dev_cla", "running"), ("val_tpl", "{{ 'ON' if value_json.busy else 'OFF' }}"));
        Component(
            "request", "event", "Request", ("stat_t", topics.Event), ("ic", "mdi:message-reply-text"),
            ("evt_typ", new[] { "completed", "tool_called", "failed", "cancelled", "expired" }));
        Component("stop", "button", "Stop", ("cmd_t", topics.Cancel), ("pl_prs", "{}"), ("ic", "mdi:stop"));
        Component("clear", "button", "Clear conversation", ("cmd_t", topics.SessionClear), ("pl_prs", "{}"), ("ic", "mdi:broom"), ("ent_cat", "config"));
        Component("enabled", "switch", "Accept prompts", ("cmd_t", topics.ConfigSet("enabled")), ("val_tpl", "{{ 'ON' if value_json.enabled else 'OFF' }}"), ("ent_cat", "config"));
        Component("model", "select", "Model", ("cmd_t", topics.ConfigSet("model")), ("val_tpl", "{{ value_json.model }}"), ("ops", new[] { info.Model }), ("ent_cat", "config"));
        Number("max_tokens", "Max tokens", ConfigRanges.MaxTokens(info), step: 1);
        Number("temperature", "Temperature", ConfigRanges.Temperature, step: 0.05);
        Measurement("ttft", "Time to first token", Last("ttft_ms"), "ms", precision: 0, deviceClass: "duration");
        Measurement("prefill_tps", "Prefill speed", Last("prefill_tps"), "tok/s", precision: 0);
        Measurement("decode_tps", "Decode speed", Last("decode_tps"), "tok/s", precision: 1);
        Measurement("cache_hit", "Prompt cache hit", Last("cache_hit_percent"), "%", precision: 0);
        Measurement("queue", "Queue", "{{ value_json.queue }}", unit: null, precision: 0);
        Measurement("memory", "Memory", "{{ (value_json.rss_bytes / 1048576) | round(0) }}", "MiB", precision: 0, deviceClass: "data_size", isTelemetry: true);
        Measurement("soc_temperature", "SoC temperature", "{{ value_json.cpu_celsius | default(none) }}", "°C", precision: 0, deviceClass: "temperature", isTelemetry: true);
        Component(
            "throttled", "binary_sensor", "Throttled", ("stat_t", topics.Telemetry), ("exp_aft", TelemetryExpirySeconds), ("dev_cla", "problem"), ("ent_cat", "diagnostic"),
            ("val_tpl", "{{ ('ON' if value_json.throttled.now else 'OFF') if value_json.throttled is defined else none }}"));

        // before the first answer there is no last one, and an answer of one token has no decode rate
        static string Last(string key) => $"{{{{ (value_json.last.{key} | default(none)) if value_json.last is defined else none }}}}";

        void Number(string key, string name, (double Min, double Max) range, double step) => Component(
            key, "number", name, ("cmd_t", topics.ConfigSet(key)), ("val_tpl", $"{{{{ value_json.{key} }}}}"), ("min", range.Min), ("max", range.Max), ("step", step), ("mode", "box"), ("ent_cat", "config"));

        void Measurement(string key, string name, string template, string? unit, int precision, string? deviceClass = null, bool isTelemetry = false) => Component(
            key, "sensor", name, ("val_tpl", template), ("stat_cla", "measurement"), ("unit_of_meas", unit), ("sug_dsp_prc", precision), ("dev_cla", deviceClass), ("ent_cat", "diagnostic"),
            ("stat_t", isTelemetry ? topics.Telemetry : null), ("exp_aft", isTelemetry ? TelemetryExpirySeconds : null));

        void Component(string key, string platform, string name, params ReadOnlySpan<(string Key, object? Value)> options)
        {
            json.WriteStartObject(key);
            json.WriteString("p", platform);
            json.WriteString("name", name);
            json.WriteString("uniq_id", $"gemma4edge_{topics.Node}_{key}");
            foreach ((string option, object? value) in options)
            {
                Write(option, value);
            }

            json.WriteEndObject();
        }

        void Write(string option, object? value)
        {
            switch (value)
            {
                case string text:
                    json.WriteString(option, text);
                    break;
                case int number:
                    json.WriteNumber(option, number);
                    break;
                case double number:
                    json.WriteNumber(option, number);
                    break;
                case string[] texts:
                    json.WriteStartArray(option);
                    Array.ForEach(texts, json.WriteStringValue);
                    json.WriteEndArray();
                    break;
            }
        }
    }
}
