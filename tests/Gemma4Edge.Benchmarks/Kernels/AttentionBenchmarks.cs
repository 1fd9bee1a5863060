using BenchmarkDotNet.Attributes;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>One token's attention in one layer: E2B's eight query heads on one key/value head.</summary>
public class AttentionBenchmarks
{
    private const int Heads = 8;

    private KvPlane _keys = null!;
    private KvPlane _values = null!;
    private readonly AttentionQueries _queries = new();
    private readonly AttentionSums _sums = new();
    private readonly AttentionKernel _kernel = new();
    private float[] _heads = [];
    private float[] _output = [];

    [Params(KvFormat.F32, KvFormat.F16, KvFormat.Kv8, KvFormat.Tq4)]
    public KvFormat Format { get; set; }

    [Params(512, 4096)]
    public int Positions { get; set; }

    [Params(256, 512)]
    public int HeadDim { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _keys = KvPlane.Create(Format, new KvPlaneShape(1, HeadDim, SignSeed: 0, MaxChunk: 1), Positions);
        _values = KvPlane.Create(Format, new KvPlaneShape(1, HeadDim, SignSeed: 2, MaxChunk: 1), Positions);
        var row = new float[HeadDim];
        Array.Fill(row, 0.05f);
        for (int position = 0; position < Positions; position++)
        {
            _keys.Write(position, row);
            _values.Write(position, row);
        }

        _heads = new float[Heads * HeadDim];
        Array.Fill(_heads, 0.1f);
        _output = new float[Heads * HeadDim];
    }

    [Benchmark]
    public void Attend()
    {
        _queries.Clear(HeadDim);
        _queries.Add(_heads, _keys, 0, Positions);
        _sums.Clear(_queries);
        _kernel.Attend(_queries, _keys, _values, 0, 0, Positions, _sums);
        _sums.Write(0, _values, _output);
    }
}
