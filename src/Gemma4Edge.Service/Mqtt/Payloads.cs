using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Durability;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Writes the JSON of every outbound topic. What cannot be had is absent, never 0.</summary>
internal static class Payloads
{
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes one object.</summary>
    public static byte[] Object(Action<Utf8JsonWriter> members)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, s_options))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>An event of a reply.</summary>
    public static byte[] Event(string? id, int seq, string type, Action<Utf8JsonWriter> members) => Object(json =>
    {
        json.WriteString("id", id);
        json.WriteNumber("seq", seq);
        json.WriteString("type", type);
        members(json);
    });

    /// <summary>The final event of a request that was answered; <paramref name="problemOf"/> tells what is wrong with a call that nobody has run.</summary>
    public static byte[] Done(string id, int seq, GenerationResult result, IReadOnlyList<ToolDefinition>? tools, Func<ToolCall, string?>? problemOf = null) => Event(id, seq, "done", json =>
    {
        json.WriteString("text", result.Text);
        WriteToolCalls(json, result, tools, problemOf);
        json.WriteString("finish_reason", WireName(result.FinishReason));
        json.WriteStartObject("usage");
        json.WriteNumber("input", result.Usage.Input);
        json.WriteNumber("cached", result.Usage.Cached);
        json.WriteNumber("output", result.Usage.Output);
        json.WriteEndObject();
        json.WriteStartObject("timings");
        WriteRounded(json, "queue_ms", result.Timings.QueueMs);
        WriteRounded(json, "ttft_ms", result.Timings.TtftMs);
        WriteRates(json, result.Timings);
        WriteRounded(json, "total_ms", result.Timings.TotalMs);
        json.WriteEndObject();
    });

    /// <summary>The final event of a request that was not answered.</summary>
    public static byte[] Error(string? id, int seq, GenerationFailure failure, double? retryAfterMs = null) =>
        Event(id, seq, "error", json => WriteError(json, failure, retryAfterMs));

    /// <summary>The <c>answer</c> topic: the end of a <c>prompt/set</c>.</summary>
    public static byte[] Answer(string id, GenerationResult result, IReadOnlyList<ToolDefinition>? tools, DateTimeOffset now) => Object(json =>
    {
        json.WriteString("id", id);
        json.WriteString("text", result.Text);
        if (result.ToolCalls.Count > 0)
        {
            WriteToolCalls(json, result, tools);
        }

        json.WriteString("finish_reason", WireName(result.FinishReason));
        WriteTime(json, now);
    });

    /// <summary>The <c>answer</c> topic where there is none.</summary>
    public static byte[] AnswerError(string? id, GenerationFailure failure, DateTimeOffset now) => Object(json =>
    {
        json.WriteString("id", id);
        WriteError(json, failure, null);
        WriteTime(json, now);
    });

    /// <summary>The <c>state</c> topic.</summary>
    public static byte[] State(bool busy, int queue, bool enabled, RequestDefaults defaults, string model, (string Id, GenerationResult Result)? last, Throttling? throttled) => Object(json =>
    {
        json.WriteBoolean("busy", busy);
        json.WriteNumber("queue", queue);
        json.WriteBoolean("enabled", enabled);
        json.WriteBoolean("thinking", defaults.Think);
        json.WriteString("model", model);
        json.WriteNumber("max_tokens", defaults.MaxTokens);
        json.WriteNumber("temperature", defaults.Sampling.Temperature);
        if (throttled is { } bits)
        {
            TelemetryPayload.WriteThrottled(json, bits);
        }

        if (last is not var (id, result))
        {
            return;
        }

        json.WriteStartObject("last");
        json.WriteString("id", id);
        WriteRounded(json, "ttft_ms", result.Timings.TtftMs);
        WriteRates(json, result.Timings);
        json.WriteNumber("prompt_tokens", result.Usage.Input);
        json.WriteNumber("cached_tokens", result.Usage.Cached);
        WriteRounded(json, "cache_hit_percent", result.Usage.Input > 0 ? 100.0 * result.Usage.Cached / result.Usage.Input : null);
        json.WriteNumber("completion_tokens", result.Usage.Output);
        WriteRounded(json, "total_ms", result.Timings.TotalMs);
        json.WriteEndObject();
    });

    /// <summary>An error that takes the place of a final event that was made earlier: the same id and number.</summary>
    public static byte[] InPlaceOf(StoredReply final, GenerationFailure failure)
    {
        using JsonDocument made = JsonDocument.Parse(final.Payload);
        string? id = made.RootElement.GetProperty("id").GetString();
        return made.RootElement.TryGetProperty("seq", out JsonElement seq) ? Error(id, seq.GetInt32(), failure) : AnswerError(id, failure, DateTimeOffset.UtcNow);
    }

    /// <summary>The <c>info</c> topic.</summary>
    public static byte[] Info(string node, string instance, NodeInfo info, IReadOnlyList<ToolDefinition> tools) => Object(json =>
    {
        json.WriteString("version", NodeInfo.ProgramVersion);
        json.WriteString("node", node);
        json.WriteString("instance", instance);
        json.WriteString("model", info.Model);
        WriteText(json, "model_sha256", info.ModelSha256);
        json.WriteString("architecture", "gemma4");
        WriteText(json, "weights", info.Weights);
        WriteText(json, "kv", info.Kv);
        json.WriteNumber("context", info.Context);
        WriteText(json, "kernel", info.Kernel);
        WriteWhole(json, "threads", info.Threads);
        WriteWhole(json, "bytes_per_token", info.BytesPerToken);
        json.WriteStartArray("tools");
        foreach (ToolDefinition tool in tools)
        {
            json.WriteStringValue(tool.Name);
        }

        json.WriteEndArray();
        WriteText(json, "cpu", DeviceReadings.CpuName);
        WriteWhole(json, "memory_bytes", DeviceReadings.MemoryBytes);
        WriteWhole(json, "memory_budget_bytes", info.BudgetBytes);
        WriteWhole(json, "memory_planned_bytes", info.PlannedBytes);
    });

    /// <summary>Members of one tool call; a tool that was never declared is marked.</summary>
    public static void WriteToolCall(Utf8JsonWriter json, ToolCall toolCall, IReadOnlyList<ToolDefinition>? tools)
    {
        json.WriteString("name", toolCall.Name);
        json.WritePropertyName("arguments");
        toolCall.Arguments.WriteTo(json);
        if (tools?.Any(tool => tool.Name == toolCall.Name) != true)
        {
            json.WriteBoolean("declared", false);
        }
    }

    /// <summary>Members of what came of a call.</summary>
    public static void WriteToolResult(Utf8JsonWriter json, ToolResult result)
    {
        json.WriteBoolean("ok", result.Ok);
        json.WriteString(result.Ok ? "result" : "error", result.Text);
        if (result.DryRun)
        {
            json.WriteBoolean("dry_run", true);
        }
    }

    /// <summary>The name of an enum's value on the wire: snake_case.</summary>
    public static string WireName<T>(T value)
        where T : struct, Enum => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());

    /// <summary>The calls; those that were run here have their result beside them, the others are the sender's.</summary>
    private static void WriteToolCalls(Utf8JsonWriter json, GenerationResult result, IReadOnlyList<ToolDefinition>? tools, Func<ToolCall, string?>? problemOf = null)
    {
        json.WriteStartArray("tool_calls");
        foreach ((int index, ToolCall toolCall) in result.ToolCalls.Index())
        {
            json.WriteStartObject();
            WriteToolCall(json, toolCall, tools);
            if (index < result.ToolResults.Count)
            {
                WriteToolResult(json, result.ToolResults[index]);
            }
            else if (problemOf?.Invoke(toolCall) is { } problem)
            {
                WriteToolResult(json, ToolResult.Failed(problem));
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteError(Utf8JsonWriter json, GenerationFailure failure, double? retryAfterMs)
    {
        json.WriteStartObject("error");
        json.WriteString("code", WireName(failure.Code));
        json.WriteString("message", failure.Message);
        json.WriteString("hint", failure.Hint);
        if (failure.MayHaveActed)
        {
            json.WriteBoolean("may_have_acted", true);
        }

        WriteRounded(json, "retry_after_ms", retryAfterMs);
        json.WriteEndObject();
    }

    private static void WriteRates(Utf8JsonWriter json, RequestTimings timings)
    {
        WriteRounded(json, "prefill_tps", timings.PrefillTokensPerSecond > 0 ? timings.PrefillTokensPerSecond : null);
        WriteRounded(json, "decode_tps", timings.DecodeTokensPerSecond > 0 ? timings.DecodeTokensPerSecond : null);
    }

    private static void WriteTime(Utf8JsonWriter json, DateTimeOffset now) =>
        json.WriteString("time", now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture));

    private static void WriteRounded(Utf8JsonWriter json, string name, double? value)
    {
        if (value is { } number)
        {
            json.WriteNumber(name, Math.Round(number, 1));
        }
    }

    private static void WriteWhole(Utf8JsonWriter json, string name, long? value)
    {
        if (value is { } number)
        {
            json.WriteNumber(name, number);
        }
    }

    private static void WriteText(Utf8JsonWriter json, string name, string? value)
    {
        if (value is not null)
        {
            json.WriteString(name, value);
        }
    }
}
