using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A tensor of a source model as float rows, piece by piece, with an adapter's update added. What was read is given back to the system.</summary>
internal sealed unsafe class MatrixSource(string name, StoredTensor tensor, MatrixMultiplier decoder, LoraUpdate? update)
{
    private const int PieceWeights = 4 << 20;

    private readonly WeightMatrix _all = new(
        tensor.Format ?? throw new ConversionException($"'{tensor.Name}' has type {tensor.FormatName}, which can't be converted: use another source."),
        tensor.File.At(tensor.Offset, tensor.Bytes), checked((int)(tensor.Count / tensor.Shape[^1])), tensor.Shape[^1]);

    /// <summary>The checkpoint's name.</summary>
    public string Name => name;

    /// <summary>The tensor in the source file.</summary>
    public StoredTensor Tensor => tensor;

    /// <summary>Rows of one matrix; experts are several.</summary>
    public int Rows => tensor.Shape[^2];

    /// <summary>Length of a row.</summary>
    public int Columns => _all.Columns;

    /// <summary>Number of matrices.</summary>
    public int Matrices => _all.Rows / Rows;

    /// <summary>Rows of a piece, a multiple of a panel's.</summary>
    public int PieceRows => Math.Max(16, PieceWeights / Columns / 16 * 16);

    /// <summary>Whether an adapter changes it.</summary>
    public bool IsUpdated => update is not null;

    /// <summary>Reads the rows of all matrices, a piece at a time; pieces do not cross matrices.</summary>
    /// <param name="take">Gets the matrix's index, the first row in it, and the floats, valid for the call; false = enough.</param>
    public void Read(Func<int, int, float[], int, bool> take)
    {
        var floats = new float[Math.Min(PieceRows, Rows) * Columns];
        for (int matrix = 0; matrix < Matrices; matrix++)
        {
            for (int first = 0; first < Rows; first += PieceRows)
            {
                int count = Math.Min(PieceRows, Rows - first);
                ReadPiece((matrix * Rows) + first, count, floats);
                if (!take(matrix, first, floats, count))
                {
                    return;
                }
            }
        }
    }

    /// <summary>Mean square of each column.</summary>
    public double[] ColumnEnergies()
    {
        var energies = new double[Columns];
        Read((_, _, rows, count) =>
        {
            for (int i = 0; i < count * Columns; i++)
            {
                energies[i % Columns] += (double)rows[i] * rows[i] / _all.Rows;
            }

            return true;
        });
        return energies;
    }

    /// <summary>The lattice all rows lie on, or null. Random weights are known by their first row.</summary>
    public TurboQuantDescriptor? FindLattice()
    {
        if (update is not null)
        {
            return null;
        }

        var detector = new LatticeDetector(Columns, tensor.Format == QuantFormats.BF16);
        Read((_, _, rows, count) =>
        {
            for (int row = 0; row < count && detector.IsPossible; row++)
            {
                detector.Add(rows.AsSpan(row * Columns, Columns));
            }

            return detector.IsPossible;
        });
        return detector.Format;
    }

    private void ReadPiece(int first, int count, float[] floats)
    {
        for (int row = 0; row < count; row++)
        {
            decoder.DecodeRow(_all, first + row, floats.AsSpan(row * Columns, Columns));
        }

        update?.AddTo(floats, first, count);
        tensor.File.Advise(tensor.Offset + (first * _all.RowBytes), count * _all.RowBytes, MappingAdvice.DontNeed);
    }
}
