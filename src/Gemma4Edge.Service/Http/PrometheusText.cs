using System.Globalization;
using System.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Service.Http;

/// <summary>Writes metrics in Prometheus's text format 0.0.4, under the names that OpenTelemetry's rules make of an instrument's name and unit.</summary>
internal static class PrometheusText
{
    /// <summary>The format's media type.</summary>
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    /// <summary>The whole page.</summary>
    public static string Write(IEnumerable<MetricFamily> families)
    {
        var text = new StringBuilder();
        foreach (MetricFamily family in families)
        {
            string name = NameOf(family.Metric);
            text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {Escape(family.Metric.Description, quotes: false)}\n");
            text.Append(CultureInfo.InvariantCulture, $"# TYPE {name} {TypeOf(family.Metric.Kind)}\n");
            foreach (MetricSeries series in family.Series)
            {
                if (family.Metric.Kind == MetricKind.Histogram)
                {
                    WriteHistogram(text, name, family.Metric.Buckets, series);
                }
                else
                {
                    WriteSample(text, name, series.Tags, series.Value);
                }
            }
        }

        return text.ToString();
    }

    /// <summary><c>gen_ai.server.time_to_first_token</c> in s → <c>gen_ai_server_time_to_first_token_seconds</c>; counters end with <c>_total</c>.</summary>
    public static string NameOf(Metric metric)
    {
        string unit = metric.Unit switch
        {
            "s" => "_seconds",
            "By" => "_bytes",
            "Cel" => "_celsius",
            "Hz" => "_hertz",
            "1" when metric.Kind == MetricKind.Gauge => "_ratio",
            _ => metric.Unit.EndsWith("}/s", StringComparison.Ordinal) ? "_per_second" : "", // {things} are left out
        };
        return metric.Name.Replace('.', '_') + unit + (metric.Kind == MetricKind.Counter ? "_total" : "");
    }

    private static string TypeOf(MetricKind kind) => kind switch
    {
        MetricKind.Counter => "counter",
        MetricKind.Histogram => "histogram",
        _ => "gauge",
    };

    private static void WriteHistogram(StringBuilder text, string name, IReadOnlyList<double> bounds, MetricSeries series)
    {
        long below = 0;
        for (int bucket = 0; bucket < series.BucketCounts.Count; bucket++)
        {
            below += series.BucketCounts[bucket];
            double bound = bucket < bounds.Count ? bounds[bucket] : double.PositiveInfinity;
            WriteSample(text, $"{name}_bucket", [.. series.Tags, new("le", Number(bound))], below);
        }

        WriteSample(text, $"{name}_sum", series.Tags, series.Value);
        WriteSample(text, $"{name}_count", series.Tags, series.Count);
    }

    private static void WriteSample(StringBuilder text, string name, IReadOnlyList<KeyValuePair<string, string>> labels, double value)
    {
        text.Append(name);
        for (int i = 0; i < labels.Count; i++)
        {
            text.Append(i == 0 ? '{' : ',').Append(labels[i].Key.Replace('.', '_')).Append("=\"").Append(Escape(labels[i].Value, quotes: true)).Append('"');
        }

        text.Append(labels.Count > 0 ? "} " : " ").Append(Number(value)).Append('\n');
    }

    private static string Number(double value) => double.IsPositiveInfinity(value) ? "+Inf" : value.ToString("R", CultureInfo.InvariantCulture);

    private static string Escape(string value, bool quotes)
    {
        string escaped = value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
        return quotes ? escaped.Replace("\"", "\\\"", StringComparison.Ordinal) : escaped;
    }
}
