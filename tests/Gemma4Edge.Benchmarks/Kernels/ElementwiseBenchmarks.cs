using BenchmarkDotNet.Attributes;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>The serial steps of one token: a norm, a gated product and the soft cap over the vocabulary, in E2B's sizes; and an empty dispatch.</summary>
public class ElementwiseBenchmarks : IRangeJob, IDisposable
{
    private readonly float[] _hidden = new float[1536];
    private readonly float[] _weight = new float[1536];
    private readonly float[] _gate = new float[12288];
    private readonly float[] _up = new float[12288];
    private readonly float[] _logits = new float[262144];
    private readonly float[] _heads = new float[8 * 256];
    private readonly RopeTable _rope = new(256, 10000, []);
    private readonly WorkerPool _pool = new(WorkerPool.DefaultThreads);

    [GlobalSetup]
    public void Setup()
    {
        foreach (float[] values in (float[][])[_hidden, _weight, _gate, _up, _logits, _heads])
        {
            Array.Fill(values, 0.5f);
        }

        _rope.Prepare(0, 64);
    }

    [Benchmark]
    public void RmsNorm1536() => RmsNorm.Apply(_hidden, _weight, 1e-6f, _hidden);

    [Benchmark]
    public void Gelu12288() => Gelu.ApplyTanhAndMultiply(_gate, _up);

    [Benchmark]
    public void SoftCap262144() => SoftCap.Apply(_logits, 30);

    [Benchmark]
    public void Rope8Heads() => _rope.Apply(_heads, 63);

    [Benchmark]
    public void EmptyDispatch() => _pool.Run(this, 2 * _pool.Threads, 1);

    public void Run(int first, int count)
    {
    }

    public void Dispose()
    {
        _pool.Dispose();
        GC.SuppressFinalize(this);
    }
}
