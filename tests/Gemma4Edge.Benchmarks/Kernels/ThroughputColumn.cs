using System.Globalization;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Parameters;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>An amount of work divided by the mean time: per nanosecond, which is 10⁹ per second.</summary>
/// <param name="name">Heading of the column.</param>
/// <param name="legend">What the column says below the table.</param>
/// <param name="work">Work of one call, from the benchmark's parameters.</param>
internal sealed class ThroughputColumn(string name, string legend, Func<ParameterInstances, long> work) : IColumn
{
    public string Id => name;

    public string ColumnName => name;

    public bool AlwaysShow => true;

    public ColumnCategory Category => ColumnCategory.Custom;

    public int PriorityInCategory => 0;

    public bool IsNumeric => true;

    public UnitType UnitType => UnitType.Dimensionless;

    public string Legend => legend;

    public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
    {
        double? meanNs = summary[benchmarkCase]?.ResultStatistics?.Mean;
        return meanNs is null ? "-" : (work(benchmarkCase.Parameters) / meanNs.Value).ToString("F1", CultureInfo.InvariantCulture);
    }

    public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

    public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

    public bool IsAvailable(Summary summary) => true;
}
