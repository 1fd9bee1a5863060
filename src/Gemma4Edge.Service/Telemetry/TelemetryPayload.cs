using System.Globalization;
using System.Text.Json;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>Writes the <c>telemetry</c> topic from what the instruments have said. What cannot be had is absent, never 0.</summary>
internal static class TelemetryPayload
{
    /// <summary>The payload.</summary>
    public static byte[] Write(DateTimeOffset now, MetricReader reader, Throttling? throttled) => Payloads.Object(json =>
    {
        json.WriteString("time", now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));
        Dictionary<Metric, MetricFamily> families = reader.Read().ToDictionary(family => family.Metric);
        foreach (Metric metric in MetricTable.All)
        {
            if (metric == MetricTable.Throttled && throttled is { } bits)
            {
                WriteThrottled(json, bits);
            }

            foreach (MetricKey key in metric.Keys)
            {
                if (metric is { Kind: MetricKind.Histogram } && key.Tag is null)
                {
                    WritePercentiles(json, key, reader.Recent(metric));
                }
                else if (key.Tag is { } tag) // a part of a sum: 0 as long as nothing has been counted
                {
                    WriteNumber(json, key.Name, key, families.GetValueOrDefault(metric)?.Series.Where(series => series.Tags.Contains(tag)).Sum(series => series.Value) ?? 0);
                }
                else if (families.TryGetValue(metric, out MetricFamily? family))
                {
                    WriteNumber(json, key.Name, key, family.Series.Sum(series => series.Value));
                }
            }
        }
    });

    /// <summary><c>{"bits":4,"now":["throttled"],"since_boot":[]}</c>.</summary>
    public static void WriteThrottled(Utf8JsonWriter json, Throttling throttled)
    {
        json.WriteStartObject("throttled");
        json.WriteNumber("bits", throttled.Bits);
        WriteWords("now", throttled.Now);
        WriteWords("since_boot", throttled.SinceStart);
        json.WriteEndObject();

        void WriteWords(string name, IReadOnlyList<string> words)
        {
            json.WriteStartArray(name);
            foreach (string word in words)
            {
                json.WriteStringValue(word);
            }

            json.WriteEndArray();
        }
    }

    private static void WritePercentiles(Utf8JsonWriter json, MetricKey key, Percentiles? percentiles)
    {
        if (percentiles is { } p)
        {
            json.WriteStartObject(key.Name);
            WriteNumber(json, "p50", key, p.P50);
            WriteNumber(json, "p95", key, p.P95);
            WriteNumber(json, "max", key, p.Max);
            json.WriteEndObject();
        }
    }

    private static void WriteNumber(Utf8JsonWriter json, string name, MetricKey key, double value) =>
        json.WriteNumber(name, Math.Round(value * key.Scale, key.Decimals));
}
