using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Configs;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Benchmarks.Kernels;

/// <summary>One token's product with every TurboQuant format, in the shape of E2B's wide feed-forward matrices, against plainly reading the same bytes.</summary>
/// <remarks>
/// Each call takes the next of enough matrices to leave no cache warm, as decode does. <see cref="Read"/> is the roof: the ratio says how far from it a
/// product stays. The products include the rotation and quantization of the activations.
/// </remarks>
[Config(typeof(BytesConfig))]
public unsafe class TurboQuantBenchmarks : IRangeJob, IDisposable
{
    private const int Rows = 12288;
    private const int Columns = 1536;
    private const long MemoryBytes = 384 << 20;
    private const ulong SignSeed = 1;

    private readonly List<WeightMatrix> _matrices = [];
    private readonly float[] _x = new float[Columns];
    private readonly float[] _y = new float[Rows];
    private byte* _memory;
    private WorkerPool _pool = null!;
    private MatrixMultiplier _multiplier = null!;
    private int _next;
    private ulong _sum;

    /// <summary>All but the two comparison formats, whose rows are decoded to floats.</summary>
    public static IEnumerable<string> Formats => TurboQuantFormats.All.Select(row => row.Name).Except(["polar4", "prod4", "tq4-rows"]).Append("upper plane");

    public static IEnumerable<string> Kernels => ITurboQuantKernel.All.Where(kernel => kernel.IsSupported).Select(kernel => kernel.Name);

    public static IEnumerable<int> ThreadCounts => new HashSet<int> { 1, WorkerPool.DefaultThreads };

    [ParamsSource(nameof(Formats))]
    public string Format { get; set; } = "";

    [ParamsSource(nameof(Kernels))]
    public string Kernel { get; set; } = "";

    [ParamsSource(nameof(ThreadCounts))]
    public int Threads { get; set; }

    /// <summary>Bytes of one matrix.</summary>
    internal static long BytesOf(string format) => Shape(format).MatrixBytes(Rows, Columns);

    [GlobalSetup]
    public void Setup()
    {
        bool upper = Format == "upper plane";
        TurboQuantDescriptor stored = upper ? TurboQuantFormats.Nest(Columns, SignSeed) : Shape(Format);
        long bytes = (stored.MatrixBytes(Rows, Columns) + 63) / 64 * 64;
        int count = (int)(MemoryBytes / bytes) + 1;
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)(count * bytes), 64);
        NativeMemory.Fill(_memory, (nuint)(count * bytes), 0x2C);             // a normal number as a scale, too
        for (int i = 0; i < count; i++)
        {
            var matrix = new WeightMatrix(stored, _memory + (i * bytes), Rows, Columns);
            _matrices.Add(upper ? matrix.UpperPlane() : matrix);
        }

        _pool = new WorkerPool(Threads);
        _multiplier = new MatrixMultiplier(CpuKernels.Select(Kernel), _pool, ActivationFormat.Auto);
        Array.Fill(_x, 0.5f);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _pool.Dispose();
        _matrices.Clear();
        NativeMemory.AlignedFree(_memory);
        GC.SuppressFinalize(this);
    }

    [Benchmark(Baseline = true)]
    public ulong Read()
    {
        _sum = 0;
        _next = (_next + 1) % _matrices.Count;
        _pool.Run(this, Rows / 16, Rows / 16 / (8 * Threads));
        return _sum;
    }

    [Benchmark]
    public void Multiply()
    {
        _next = (_next + 1) % _matrices.Count;
        _multiplier.Multiply(_matrices[_next], _x, _y, 1);
    }

    /// <summary>Reads panels, or what rows weigh as much.</summary>
    void IRangeJob.Run(int first, int count)
    {
        WeightMatrix w = _matrices[_next];
        long panelBytes = w.Bytes / (Rows / 16) / sizeof(ulong);
        var words = new ReadOnlySpan<ulong>((ulong*)w.Data + (first * panelBytes), (int)(count * panelBytes));
        Interlocked.Add(ref _sum, TensorPrimitives.Sum(words));
    }

    private static TurboQuantDescriptor Shape(string format) => format == "upper plane"
        ? NestLayout.Upper(TurboQuantFormats.Nest(Columns, SignSeed))
        : TurboQuantFormats.All.First(row => row.Name == format).For(Columns, SignSeed);

    /// <summary>Adds bytes per second.</summary>
    private sealed class BytesConfig : ManualConfig
    {
        public BytesConfig() => AddColumn(new ThroughputColumn(
            "GB/s", "Weight bytes per second, 10⁹", parameters => BytesOf((string)parameters[nameof(Format)])));
    }
}
