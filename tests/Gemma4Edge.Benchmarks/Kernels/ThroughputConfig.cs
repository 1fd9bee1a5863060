using BenchmarkDotNet.Configs;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>Adds weight bytes and arithmetic per second to the table.</summary>
internal sealed class ThroughputConfig : ManualConfig
{
    public ThroughputConfig() => AddColumn(
        new ThroughputColumn("GB/s", "Weight bytes read per second, 10⁹", (format, _) => MultiplyBenchmarks.Rows * format.RowBytes(MultiplyBenchmarks.Columns)),
        new ThroughputColumn("GFLOP/s", "2 · rows · columns · tokens per second, 10⁹", (_, tokens) => 2L * MultiplyBenchmarks.Rows * MultiplyBenchmarks.Columns * tokens));
}
