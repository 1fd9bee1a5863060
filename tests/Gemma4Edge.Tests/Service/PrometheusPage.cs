using System.Globalization;
using System.Text.RegularExpressions;

namespace Gemma4Edge.Tests.Service;

/// <summary>A strict reader of Prometheus's text format 0.0.4, written from its specification: whatever the format does not allow fails the test.</summary>
internal sealed partial class PrometheusPage
{
    private readonly Dictionary<string, string> _types = [];

    public PrometheusPage(string text)
    {
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        string? family = null;
        HashSet<string> seen = [];
        foreach (string line in text.Split('\n')[..^1])
        {
            if (Help().Match(line) is { Success: true } help)
            {
                family = help.Groups[1].Value;
                Assert.True(seen.Add("family " + family), $"{family} appears twice");
            }
            else if (Type().Match(line) is { Success: true } type)
            {
                Assert.Equal(family, type.Groups[1].Value);
                _types[family!] = type.Groups[2].Value;
            }
            else
            {
                Match sample = Sample().Match(line);
                Assert.True(sample.Success, $"no line of the format: {line}");
                string name = sample.Groups[1].Value, labels = sample.Groups[2].Value;
                Assert.Contains(name, _types[family!] == "histogram" ? [$"{family}_bucket", $"{family}_sum", $"{family}_count"] : (string[])[family!]);
                Assert.True(seen.Add(name + labels), $"{name}{labels} appears twice");
                string[] names = [.. Label().Matches(labels).Select(label => label.Groups[1].Value)];
                Assert.Equal(names.Length, names.Distinct().Count());
                Samples.Add(new(name, labels, Number(sample.Groups[3].Value)));
            }
        }

        foreach ((string name, string type) in _types)
        {
            Assert.True(type != "counter" || name.EndsWith("_total", StringComparison.Ordinal), name);
            if (type == "histogram")
            {
                CheckHistogram(name);
            }
        }
    }

    public List<(string Name, string Labels, double Value)> Samples { get; } = [];

    public IReadOnlyDictionary<string, string> Types => _types;

    public double Value(string name, string labels = "") => Samples.Single(sample => sample.Name == name && sample.Labels == labels).Value;

    private void CheckHistogram(string name)
    {
        foreach (IGrouping<string, (string Name, string Labels, double Value)> series in Samples.Where(sample => sample.Name == $"{name}_bucket").GroupBy(sample => LeLabel().Replace(sample.Labels, "")))
        {
            double[] bounds = [.. series.Select(sample => Number(LeLabel().Match(sample.Labels).Groups[1].Value))];
            Assert.Equal(bounds.Order(), bounds);
            Assert.Equal(double.PositiveInfinity, bounds[^1]);
            Assert.Equal(series.Select(sample => sample.Value).Order(), series.Select(sample => sample.Value));
            string labels = series.Key.Replace(",}", "}", StringComparison.Ordinal).Replace("{}", "", StringComparison.Ordinal);
            Assert.Equal(Value($"{name}_count", labels), series.Last().Value);
            _ = Value($"{name}_sum", labels);
        }
    }

    private static double Number(string text) => text == "+Inf" ? double.PositiveInfinity : double.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"\A# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (?:[^\\\n]|\\\\|\\n)*\z")]
    private static partial Regex Help();

    [GeneratedRegex(@"\A# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)\z")]
    private static partial Regex Type();

    [GeneratedRegex(@"\A([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*=""(?:[^""\\\n]|\\\\|\\""|\\n)*"",?)+\})? (-?[0-9.]+(?:E[+-]?[0-9]+)?|\+Inf|-Inf|NaN)\z")]
    private static partial Regex Sample();

    [GeneratedRegex(@"([a-zA-Z_][a-zA-Z0-9_]*)=""")]
    private static partial Regex Label();

    [GeneratedRegex(@"le=""([^""]*)""")]
    private static partial Regex LeLabel();
}
