using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma4Edge.Kernels;

/// <summary>The activations of the product under way as <see cref="Int8Block"/>s. Grows to the largest product seen, then allocates nothing.</summary>
/// <remarks>The same integers and scales on every CPU: each step is one rounded operation, and a maximum has no order.</remarks>
internal sealed unsafe class Int8BlockQuantizer(WorkerPool pool) : IRangeJob
{
    private const int Alignment = 64;

    /// <summary>Tokens worth a chunk of their own: one row is a few µs of work.</summary>
    private const int Grain = 4;

    private byte[] _memory = [];

    // The conversion under way.
    private float* _x;
    private int _tokens;
    private int _columns;
    private Int8Block* _blocks;

    /// <summary>Quantizes (tokens, columns) activations.</summary>
    /// <param name="x">(tokens, columns).</param>
    /// <param name="tokens">At least 1.</param>
    /// <param name="columns">A multiple of 32.</param>
    /// <returns>(columns / 32, tokens); valid until the next call.</returns>
    public Int8Block* Quantize(float* x, int tokens, int columns)
    {
        long bytes = ((long)tokens * columns / Int8Block.Columns * sizeof(Int8Block)) + Alignment;
        if (_memory.Length < bytes)
        {
            _memory = GC.AllocateUninitializedArray<byte>(checked((int)bytes), pinned: true);
        }

        byte* start = (byte*)Unsafe.AsPointer(ref _memory[0]);
        _blocks = (Int8Block*)(start + ((nuint)(-(nint)start) % Alignment));
        _x = x;
        _tokens = tokens;
        _columns = columns;
        pool.Run(this, tokens, Grain);
        return _blocks;
    }

    /// <inheritdoc/>
    public void Run(int first, int count)
    {
        for (int token = first; token < first + count; token++)
        {
            float* x = _x + ((long)token * _columns);
            Int8Block* block = _blocks + token;
            for (float* end = x + _columns; x < end; x += Int8Block.Columns)
            {
                Quantize(x, block);
                block += _tokens;
            }
        }
    }

    /// <summary>Quantizes 32 activations to the nearest integers, halves to the even one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Quantize(float* x, Int8Block* block)
    {
        // Magnitudes as integers: they order as the floats do, and NaN comes last.
        Vector128<int> largest = Vector128<int>.Zero;
        for (int i = 0; i < Int8Block.Columns; i += 4)
        {
            largest = Vector128.Max(largest, Vector128.Load(x + i).AsInt32() & Vector128.Create(int.MaxValue));
        }

        float magnitude = BitConverter.Int32BitsToSingle(Max(largest));
        bool isFinite = float.IsFinite(magnitude);
        if (!isFinite || magnitude < ActivationQuantizer.Smallest)
        {
            *block = new Int8Block { Scale = isFinite ? 0 : float.NaN };
            return;
        }

        block->Scale = magnitude / 127;
        block->EightSums = 8 * ActivationQuantizer.QuantizeGroup(x, Int8Block.Columns, 127 / magnitude, block->Values);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Max(Vector128<int> values)
    {
        values = Vector128.Max(values, Vector128.Shuffle(values, Vector128.Create(2, 3, 0, 1)));
        return Math.Max(values[0], values[1]);
    }
}
