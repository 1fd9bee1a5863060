using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Tests.Kernels;

/// <summary>Float rows in a TurboQuant format, in native memory aligned as a file's are.</summary>
internal sealed unsafe class EncodedMatrix : IDisposable
{
    private readonly byte* _memory;

    public EncodedMatrix(TurboQuantDescriptor format, float[] weights, int columns, float[]? diagonal = null, bool bfloat16 = false, int threads = 1, int pieceRows = int.MaxValue, ErrorFeedback? feedback = null)
    {
        int rows = weights.Length / columns;
        long bytes = format.MatrixBytes(rows, columns);
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);
        using var pool = new WorkerPool(threads);
        var encoder = new TurboQuantEncoder(format, columns, CpuKernels.Select(null), pool, diagonal, bfloat16, feedback);
        bool nested = format.Layout == TurboQuantStorage.Nest;
        byte* lower = _memory + (nested ? NestLayout.UpperBytes(rows, columns) : 0);
        for (int row = 0; row < rows; row += pieceRows)
        {
            int count = Math.Min(pieceRows, rows - row);
            byte* piece = _memory + (nested ? NestLayout.UpperBytes(row, columns) : row * format.RowBytes(columns));
            long pieceBytes = nested ? NestLayout.UpperBytes(count, columns) : format.MatrixBytes(count, columns);
            Span<byte> lowerPiece = nested ? new Span<byte>(lower + (row * NestLayout.LowerRowBytes(columns)), count * columns / 4) : default;
            encoder.Encode(weights.AsSpan(row * columns, count * columns), count, new Span<byte>(piece, (int)pieceBytes), lowerPiece);
        }

        RelativeError = encoder.RelativeError;
        Matrix = new WeightMatrix(format, _memory, rows, columns, diagonal);
    }

    public WeightMatrix Matrix { get; }

    public double RelativeError { get; }

    public ReadOnlySpan<byte> Bytes => new(_memory, (int)Matrix.Bytes);

    public static float[] Gaussian(int count, int seed, float deviation = 1)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = deviation * (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(Math.Tau * random.NextDouble()));
        }

        return values;
    }

    /// <summary>Weights that a format of lattices can hold, Gaussian ones for the others.</summary>
    public static float[] WeightsFor(TurboQuantDescriptor format, int count, int seed)
    {
        float[] values = Gaussian(count, seed, 0.05f);
        if (format.Scheme == TurboQuantScheme.Lattice)
        {
            var random = new Random(seed);
            for (int i = 0; i < count; i++)
            {
                values[i] = format.Levels[random.Next(format.Levels.Count)] * 0.0625f;
            }
        }

        return values;
    }

    /// <summary>Every row as floats, in double precision's reach of what the bytes mean.</summary>
    public float[] Decode()
    {
        using var pool = new WorkerPool(1);
        var multiplier = new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto);
        var floats = new float[Matrix.Rows * Matrix.Columns];
        for (int row = 0; row < Matrix.Rows; row++)
        {
            multiplier.DecodeRow(Matrix, row, floats.AsSpan(row * Matrix.Columns));
        }

        return floats;
    }

    public void Dispose() => NativeMemory.AlignedFree(_memory);
}
