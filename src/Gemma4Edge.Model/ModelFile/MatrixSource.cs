using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A tensor of a source model as float rows, piece by piece, with an adapter's update added. What was read is given back to the system.</summary>
internal sealed class MatrixSource(string name, StoredTensor tensor, WeightMatrix[] matrices, MatrixMultiplier decoder, Func<LoraUpdate>? update)
{
    private const int PieceWeights = 4 << 20;

    /// <summary>The checkpoint's name.</summary>
    public string Name => name;

    /// <summary>The tensor in the source file.</summary>
    public StoredTensor Tensor => tensor;

    /// <summary>Rows of one matrix; experts are several.</summary>
    public int Rows => matrices[0].Rows;

    /// <summary>Length of a row.</summary>
    public int Columns => matrices[0].Columns;

    /// <summary>Number of matrices.</summary>
    public int Matrices => matrices.Length;

    /// <summary>Rows of a piece, a multiple of a panel's.</summary>
    public int PieceRows => Math.Max(16, PieceWeights / Columns / 16 * 16);

    /// <summary>Reads the rows of all matrices, a piece at a time; pieces do not cross matrices.</summary>
    /// <param name="take">Gets the matrix's index, the first row in it, and the floats, valid for the call; false = enough.</param>
    public void Read(Func<int, int, float[], int, bool> take)
    {
        var floats = new float[Math.Min(PieceRows, Rows) * Columns];
        LoraUpdate? loaded = update?.Invoke(); // for this pass: all updates of an adapter together may be as large as a model
        for (int matrix = 0; matrix < Matrices; matrix++)
        {
            for (int first = 0; first < Rows; first += PieceRows)
            {
                int count = Math.Min(PieceRows, Rows - first);
                ReadPiece(matrix, first, count, floats, loaded);
                if (!take(matrix, first, floats, count))
                {
                    return;
                }
            }
        }
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

    private void ReadPiece(int index, int first, int count, float[] floats, LoraUpdate? loaded)
    {
        WeightMatrix matrix = matrices[index];
        for (int row = 0; row < count; row++)
        {
            decoder.DecodeRow(matrix, first + row, floats.AsSpan(row * Columns, Columns));
        }

        loaded?.AddTo(floats, first, count);
        tensor.File.Advise(tensor.Offset + (index * matrix.Bytes) + (first * matrix.RowBytes), count * matrix.RowBytes, MappingAdvice.DontNeed);
    }
}
