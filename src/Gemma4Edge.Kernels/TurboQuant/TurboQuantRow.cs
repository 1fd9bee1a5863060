using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>One row of any TurboQuant matrix as floats: lookups, and the reference that products are checked against.</summary>
internal static unsafe class TurboQuantRow
{
    /// <summary>Undoes coding and rotation: w = v⊙H·(t·level), v the matrix's input scale. The floats are the same on every CPU.</summary>
    /// <param name="w">A TurboQuant matrix.</param>
    /// <param name="row">In [0, Rows).</param>
    /// <param name="hadamard">The transform's kernel.</param>
    /// <param name="destination">(Columns).</param>
    internal static void Decode(WeightMatrix w, int row, IHadamardKernel hadamard, float* destination)
    {
        var format = (TurboQuantDescriptor)w.Format;
        DecodeRotated(w, format, row, destination);
        if (format.Rotation > 0)
        {
            hadamard.Transform(destination, w.Columns, format.Rotation);
        }

        if (w.InputScale is { } scale)
        {
            var floats = new Span<float>(destination, w.Columns);
            TensorPrimitives.Multiply(floats, scale, floats);
        }
    }

    private static void DecodeRotated(WeightMatrix w, TurboQuantDescriptor format, int row, float* destination)
    {
        int columns = w.Columns;
        byte* stored = w.Data + (row * w.RowBytes);
        switch (format.Layout, format.Scheme)
        {
            case (TurboQuantStorage.Panel16, _):
                int rowInPanel = row % TurboQuantLayout.PanelRows;
                TurboQuantLayout.DecodeRow(format, w.Data + ((row - rowInPanel) * w.RowBytes), rowInPanel, destination, columns);
                break;
            case (TurboQuantStorage.Nest, _):
                NestLayout.DecodeRow(w, row, destination);
                break;
            case (_, TurboQuantScheme.Polar or TurboQuantScheme.Prod):
                BlockRowLayout.DecodeRow(w.Codec!, new ReadOnlySpan<byte>(stored, (int)w.RowBytes), new Span<float>(destination, columns));
                break;
            default:
                TableRowLayout.DecodeRow(format, stored, destination, columns);
                break;
        }
    }
}
