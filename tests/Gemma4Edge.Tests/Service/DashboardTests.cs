using System.Text.Json;
using System.Text.RegularExpressions;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Http;

namespace Gemma4Edge.Tests.Service;

public sealed partial class DashboardTests
{
    [Fact]
    public void EveryMetricOfTheDashboard_IsOneThatThePortShows()
    {
        string text = File.ReadAllText(Path.Combine(TestData.Root, "deploy", "grafana", "gemma4edge.json"));
        using JsonDocument dashboard = JsonDocument.Parse(text);
        string[] queries = [.. dashboard.RootElement.GetProperty("panels").EnumerateArray()
            .SelectMany(panel => panel.GetProperty("targets").EnumerateArray().Select(target => target.GetProperty("expr").GetString()!))];
        HashSet<string> shown = [.. MetricTable.All.SelectMany(SamplesOf)];

        string[] used = [.. queries.Append(dashboard.RootElement.GetProperty("templating").GetRawText()).SelectMany(query => MetricName().Matches(query).Select(match => match.Value))];
        Assert.True(used.Length > 20);
        Assert.Empty(used.Except(shown));
        int[] ids = [.. dashboard.RootElement.GetProperty("panels").EnumerateArray().Select(panel => panel.GetProperty("id").GetInt32())];
        Assert.Equal(ids.Distinct(), ids);
    }

    private static string[] SamplesOf(Metric metric)
    {
        string name = PrometheusText.NameOf(metric);
        return metric.Kind == MetricKind.Histogram ? [$"{name}_bucket", $"{name}_sum", $"{name}_count"] : [name];
    }

    [GeneratedRegex(@"\b(?:gemma4edge|gen_ai)_[a-z0-9_]+(?=[{\[,])")]
    private static partial Regex MetricName();
}
