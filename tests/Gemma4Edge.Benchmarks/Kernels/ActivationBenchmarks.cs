using System.Numerics.Tensors;
using BenchmarkDotNet.Attributes;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>What a TurboQuant product does to one row of activations, step by step: x → σ ⊙ x → H128 → 8-bit integers.</summary>
/// <remarks>The first step is what folding the signs into the weights before it would save.</remarks>
public unsafe class ActivationBenchmarks
{
    private const int Block = 128;

    private readonly IHadamardKernel _hadamard = CpuKernels.Select(null).Hadamard;
    private float[] _x = [];
    private float[] _signs = [];
    private float[] _result = [];
    private sbyte[] _values = [];
    private int[] _sums = [];

    [Params(1536, 12288)]
    public int Columns { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _x = [.. Enumerable.Range(0, Columns).Select(i => MathF.Sin(i))];
        _signs = new float[Columns];
        SignVector.Fill(1, _signs);
        _result = new float[Columns];
        _values = new sbyte[Columns];
        _sums = new int[Columns / Block];
    }

    [Benchmark]
    public void Signs() => TensorPrimitives.Multiply(_x, _signs, _result);

    [Benchmark]
    public void Hadamard()
    {
        fixed (float* result = _result)
        {
            _hadamard.Transform(result, Columns, Block);
        }
    }

    [Benchmark]
    public float Quantize()
    {
        fixed (sbyte* values = _values)
        fixed (int* sums = _sums)
        {
            return ActivationQuantizer.Quantize(_x, Block, values, sums);
        }
    }
}
