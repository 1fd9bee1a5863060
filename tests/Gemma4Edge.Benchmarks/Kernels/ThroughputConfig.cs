using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Parameters;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>Adds weight bytes and arithmetic per second to the table.</summary>
internal sealed class ThroughputConfig : ManualConfig
{
    public ThroughputConfig() => AddColumn(
        new ThroughputColumn("GB/s", "Weight bytes read per second, 10⁹", WeightBytes),
        new ThroughputColumn("GFLOP/s", "2 · rows · columns · tokens per second, 10⁹", Operations));

    private static long WeightBytes(ParameterInstances parameters) =>
        MultiplyBenchmarks.Rows * MultiplyBenchmarks.FormatOf((string)parameters[nameof(MultiplyBenchmarks.Format)]).RowBytes(MultiplyBenchmarks.Columns);

    private static long Operations(ParameterInstances parameters) =>
        2L * MultiplyBenchmarks.Rows * MultiplyBenchmarks.Columns * (int)parameters[nameof(MultiplyBenchmarks.Tokens)];
}
