using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>Products of every format on every kernel this CPU runs, in the shape of E2B's wide feed-forward matrices.</summary>
/// <remarks>Each call takes the next of enough matrices to leave no cache warm, as decode does. The columns GB/s and GFLOP/s come from <see cref="ThroughputColumn"/>.</remarks>
[Config(typeof(ThroughputConfig))]
public unsafe class MultiplyBenchmarks : IDisposable
{
    internal const int Rows = 12288;
    internal const int Columns = 1536;
    private const long MemoryBytes = 384 << 20;

    /// <summary>Marks a format that is multiplied with 8-bit activations.</summary>
    private const string Int8 = " int8";

    private readonly List<WeightMatrix> _matrices = [];
    private byte* _memory;
    private WorkerPool _pool = null!;
    private MatrixMultiplier _multiplier = null!;
    private float[] _x = [];
    private float[] _y = [];
    private int _next;

    public static IEnumerable<string> Formats => [.. QuantFormats.All.Select(f => f.Name), .. QuantFormats.All.Where(f => f.TakesInt8).Select(f => f.Name + Int8)];

    public static IEnumerable<string> Kernels => QuantFormats.Q4_0.Int8Kernels.Where(k => k.IsSupported).Select(k => k.Name);

    public static IEnumerable<int> ThreadCounts => new HashSet<int> { 1, WorkerPool.DefaultThreads };

    [ParamsSource(nameof(Formats))]
    public string Format { get; set; } = "";

    [ParamsSource(nameof(Kernels))]
    public string Kernel { get; set; } = "";

    /// <summary>1 = decode, 4 = checking drafts, 64 = prefill.</summary>
    [Params(1, 4, 64)]
    public int Tokens { get; set; }

    [ParamsSource(nameof(ThreadCounts))]
    public int Threads { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        QuantFormat format = FormatOf(Format);
        long matrixBytes = Rows * format.RowBytes(Columns);
        int count = (int)(MemoryBytes / matrixBytes) + 1;
        _memory = (byte*)NativeMemory.Alloc((nuint)(count * matrixBytes));
        NativeMemory.Fill(_memory, (nuint)(count * matrixBytes), 0x2C);       // a normal number in every float format
        for (int i = 0; i < count; i++)
        {
            _matrices.Add(new WeightMatrix(format, _memory + (i * matrixBytes), Rows, Columns));
        }

        _pool = new WorkerPool(Threads);
        _multiplier = new MatrixMultiplier(CpuKernels.Select(Kernel), _pool, Format.EndsWith(Int8, StringComparison.Ordinal) ? ActivationFormat.Int8 : ActivationFormat.Float);
        _x = new float[Tokens * Columns];
        Array.Fill(_x, 0.5f);
        _y = new float[Tokens * Rows];
    }

    internal static QuantFormat FormatOf(string name) =>
        QuantFormats.TryFromName(name.Replace(Int8, "", StringComparison.Ordinal), out QuantFormat? format) ? format : throw new ArgumentException(name);

    [GlobalCleanup]
    public void Dispose()
    {
        _pool.Dispose();
        _matrices.Clear();
        NativeMemory.Free(_memory);
        GC.SuppressFinalize(this);
    }

    [Benchmark]
    public void Multiply()
    {
        _next = (_next + 1) % _matrices.Count;
        _multiplier.Multiply(_matrices[_next], _x, _y, Tokens);
    }
}
