using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Encodes the rows of a source and writes them, a piece at a time.</summary>
/// <param name="source">The rows.</param>
/// <param name="format">What to write.</param>
/// <param name="calibration">What the matrix is used with; null = unknown.</param>
/// <param name="kernels">Decode what was encoded, and rotate.</param>
/// <param name="pool">Threads.</param>
internal sealed unsafe class MatrixTarget(MatrixSource source, WeightFormat format, Calibration? calibration, CpuKernels kernels, WorkerPool pool)
{
    private double _error;
    private double _energy;

    /// <summary>Σ(w − ŵ)² / Σw²; known after <see cref="Write"/>.</summary>
    public double RelativeError { get; private set; }

    /// <summary>Writes the whole tensor.</summary>
    /// <param name="file">Where to.</param>
    /// <param name="written">Told the weights after each piece; may throw to stop.</param>
    /// <exception cref="ConversionException">A lattice was asked for and the weights are on none.</exception>
    public void Write(Stream file, Action<long> written)
    {
        if (format is QuantFormat plain)
        {
            WritePlain(file, plain, written);
        }
        else
        {
            WriteTurboQuant(file, (TurboQuantDescriptor)format, written);
        }
    }

    private void WritePlain(Stream file, QuantFormat plain, Action<long> written)
    {
        int columns = source.Columns;
        var encoded = new byte[plain.RowBytes(columns)];
        var decoded = new float[columns];
        IWeightKernel decoder = kernels.For(plain);
        source.Read((_, _, rows, count) =>
        {
            for (int row = 0; row < count; row++)
            {
                ReadOnlySpan<float> weights = rows.AsSpan(row * columns, columns);
                GgmlEncoder.Encode(plain, weights, encoded);
                file.Write(encoded);
                fixed (byte* bytes = encoded)
                fixed (float* floats = decoded)
                {
                    decoder.Decode(bytes, floats, columns);
                }

                for (int i = 0; i < columns; i++)
                {
                    double difference = weights[i] - decoded[i];
                    _error += difference * difference;
                    _energy += (double)weights[i] * weights[i];
                }
            }

            written((long)count * columns);
            return true;
        });
        RelativeError = _energy == 0 ? 0 : _error / _energy;
    }

    private void WriteTurboQuant(Stream file, TurboQuantDescriptor descriptor, Action<long> written)
    {
        int columns = source.Columns;
        bool nested = descriptor.Layout == TurboQuantStorage.Nest;
        int lowerRowBytes = nested ? columns / 4 : 0;
        var encoder = new TurboQuantEncoder(descriptor, columns, kernels, pool, null, source.Tensor.Format == QuantFormats.BF16, calibration?.Feedback(source, descriptor));
        var piece = new byte[descriptor.MatrixBytes(Math.Min(source.PieceRows, source.Rows), columns)];
        var lowerPlane = new byte[(long)source.Rows * lowerRowBytes]; // stands behind all upper panels
        source.Read((_, first, rows, count) =>
        {
            int bytes = (int)(descriptor.MatrixBytes(count, columns) - (count * lowerRowBytes));
            try
            {
                encoder.Encode(rows, count, piece, nested ? lowerPlane.AsSpan(first * lowerRowBytes, count * lowerRowBytes) : []);
            }
            catch (InvalidOperationException error)
            {
                throw new ConversionException($"'{source.Name}': {error.Message}");
            }

            file.Write(piece, 0, bytes);
            if (nested && first + count == source.Rows)
            {
                file.Write(lowerPlane);
            }

            written((long)count * columns);
            return true;
        });
        RelativeError = encoder.RelativeError;
    }
}
