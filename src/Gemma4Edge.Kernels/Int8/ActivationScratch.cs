using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>The quantized activations of the product under way. Grows to the largest product seen, then allocates nothing.</summary>
internal sealed unsafe class ActivationScratch : IRangeJob
{
    private const int Alignment = 64;

    /// <summary>Tokens worth a chunk of their own: one row is a few µs of work.</summary>
    private const int Grain = 4;

    private readonly IHadamardKernel _hadamard;
    private readonly WorkerPool _pool;
    private byte[] _memory = [];
    private Int8Rows _rows;

    // The conversion under way.
    private float* _x;
    private int _columns;
    private int _group;
    private int _rotation;
    private float[]? _inputScale;

    public ActivationScratch(IHadamardKernel hadamard, WorkerPool pool)
    {
        _hadamard = hadamard;
        _pool = pool;
    }

    /// <summary>Scales, rotates and quantizes (tokens, columns) activations.</summary>
    /// <param name="x">(tokens, columns).</param>
    /// <param name="tokens">At least 1.</param>
    /// <param name="columns">A multiple of the group.</param>
    /// <param name="group">Columns per sum.</param>
    /// <param name="rotation">Columns per Hadamard block; 0 = none.</param>
    /// <param name="inputScale">(columns); null = 1.</param>
    /// <returns>Valid until the next call.</returns>
    public Int8Rows Quantize(float* x, int tokens, int columns, int group, int rotation, float[]? inputScale)
    {
        int stride = (columns + Alignment - 1) / Alignment * Alignment;
        int sumStride = columns / group;
        long valueBytes = (long)tokens * stride;
        long bytes = valueBytes + ((long)tokens * (sumStride + 1) * sizeof(int)) + Alignment;
        if (_memory.Length < bytes)
        {
            _memory = GC.AllocateUninitializedArray<byte>(checked((int)bytes), pinned: true);
        }

        byte* start = (byte*)Unsafe.AsPointer(ref _memory[0]);
        start += (nuint)(-(nint)start) % Alignment;
        _rows = new Int8Rows
        {
            Values = (sbyte*)start,
            Stride = stride,
            Scales = (float*)(start + valueBytes),
            Sums = (int*)(start + valueBytes) + tokens,
            SumStride = sumStride,
        };
        _x = x;
        _columns = columns;
        _group = group;
        _rotation = rotation;
        _inputScale = inputScale;
        _pool.Run(this, tokens, Grain);
        return _rows;
    }

    /// <inheritdoc/>
    [SkipLocalsInit]
    public void Run(int first, int count)
    {
        float* memory = stackalloc float[_columns];
        var rotated = new Span<float>(memory, _columns);
        for (int token = first; token < first + count; token++)
        {
            var x = new ReadOnlySpan<float>(_x + ((long)token * _columns), _columns);
            ActivationQuantizer.Rotate(x, _inputScale, _rotation, _hadamard, rotated);
            _rows.Scales[token] = ActivationQuantizer.Quantize(
                rotated, _group, _rows.Values + ((long)token * _rows.Stride), _rows.Sums + ((long)token * _rows.SumStride));
        }
    }
}
