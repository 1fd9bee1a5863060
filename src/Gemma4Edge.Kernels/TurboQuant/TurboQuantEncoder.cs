using System.Numerics.Tensors;

namespace Gemma4Edge.Kernels;

/// <summary>Float rows → the bytes of a TurboQuant matrix, piece by piece, panels split over the pool. The same bytes whatever the pieces and threads.</summary>
/// <remarks>
/// A piece is any number of whole row steps (<see cref="WeightFormat.RowStep"/>; 16 for nested planes); the last may be shorter. Not thread-safe.
/// Rotated formats search their scales (<see cref="LevelSearch"/>); lattices take the scale that reproduces the weights, or refuse; Q8 divides by the largest.
/// </remarks>
public sealed unsafe class TurboQuantEncoder : IRangeJob
{
    private const int PanelRows = TurboQuantLayout.PanelRows;

    private readonly TurboQuantDescriptor _format;
    private readonly IHadamardKernel _hadamard;
    private readonly WorkerPool _pool;
    private readonly LevelSearch? _search;
    private readonly IBlockCodec? _codec;
    private readonly int _columns;
    private readonly int _group;
    private readonly float[]? _signs;
    private readonly float[]? _diagonal;
    private readonly ErrorFeedback? _feedback;
    private readonly bool _bfloat16;

    // The piece under way.
    private float* _rows;
    private int _rowCount;
    private byte* _destination;
    private byte* _lower;
    private (double Error, double Energy)[] _errors = [];

    private double _error;
    private double _energy;

    /// <param name="format">What to write.</param>
    /// <param name="columns">Length of a row.</param>
    /// <param name="kernels">For the rotation.</param>
    /// <param name="pool">Threads that share the rows of a piece.</param>
    /// <param name="diagonal">s, (columns): every column is multiplied by it first; null = 1. For rotated formats.</param>
    /// <param name="bfloat16">Lattices: whether the weights are bfloat16, so that reproducing them means after rounding.</param>
    /// <param name="feedback">Levels: what the error of a column adds to those after it; null = nothing. Without a diagonal.</param>
    /// <exception cref="ArgumentException">The columns do not fit the format, or the format contradicts itself.</exception>
    public TurboQuantEncoder(TurboQuantDescriptor format, int columns, CpuKernels kernels, WorkerPool pool, float[]? diagonal = null, bool bfloat16 = false, ErrorFeedback? feedback = null)
    {
        ArgumentNullException.ThrowIfNull(format);
        ArgumentNullException.ThrowIfNull(kernels);
        format.Check();
        format.CheckColumns(columns);
        _format = format;
        _columns = columns;
        _hadamard = kernels.Hadamard;
        _pool = pool;
        _group = format.Group == 0 ? columns : format.Group;
        _search = format.Scheme == TurboQuantScheme.Tq ? new LevelSearch(format.LevelSpan) : null;
        _codec = format.Codec(columns);
        _signs = format.Rotation > 0 ? SignVector.Shared(format.SignSeed, columns) : null;
        _diagonal = diagonal;
        _bfloat16 = bfloat16;
        _feedback = feedback;
    }

    /// <summary>Σ(w − ŵ)² / Σw² over all rows so far, of the weights multiplied by the diagonal if there is one; lattices: ŵ rounded to bfloat16 where w was.</summary>
    public double RelativeError => _energy == 0 ? 0 : _error / _energy;

    /// <summary>Encodes the next rows.</summary>
    /// <param name="rows">(rowCount, columns) floats.</param>
    /// <param name="rowCount">A multiple of the row step (16 for nested planes), but for the last piece.</param>
    /// <param name="destination">The piece's bytes: rows or panels; of a nested matrix, its upper panels.</param>
    /// <param name="lowerPlane">Of a nested matrix, the piece's lower rows; else empty.</param>
    /// <exception cref="ArgumentException">A length does not fit.</exception>
    /// <exception cref="InvalidOperationException">A lattice format can't hold a weight exactly.</exception>
    public void Encode(ReadOnlySpan<float> rows, int rowCount, Span<byte> destination, Span<byte> lowerPlane = default)
    {
        bool nested = _format.Layout == TurboQuantStorage.Nest;
        long upperBytes = nested ? NestLayout.UpperBytes(rowCount, _columns) : _format.MatrixBytes(rowCount, _columns);
        long lowerBytes = nested ? rowCount * NestLayout.LowerRowBytes(_columns) : 0;
        if (rows.Length < (long)rowCount * _columns || destination.Length < upperBytes || lowerPlane.Length < lowerBytes)
        {
            throw new ArgumentException($"{rows.Length} floats into {destination.Length} + {lowerPlane.Length} bytes: {rowCount} rows of {_format} need {(long)rowCount * _columns} and {upperBytes} + {lowerBytes}.");
        }

        destination[..(int)upperBytes].Clear();
        lowerPlane[..(int)lowerBytes].Clear();
        int panels = PanelProduct.Count(rowCount);
        if (_errors.Length < panels)
        {
            _errors = new (double, double)[panels];
        }

        fixed (float* rowsStart = rows)
        fixed (byte* destinationStart = destination, lowerStart = lowerPlane)
        {
            _rows = rowsStart;
            _rowCount = rowCount;
            _destination = destinationStart;
            _lower = lowerStart;
            _pool.Run(this, panels, 1);
        }

        for (int panel = 0; panel < panels; panel++)
        {
            _error += _errors[panel].Error;
            _energy += _errors[panel].Energy;
        }
    }

    /// <inheritdoc/>
    void IRangeJob.Run(int first, int count)
    {
        var buffers = new Buffers(_columns);
        for (int panel = first; panel < first + count; panel++)
        {
            _errors[panel] = default;
            for (int row = panel * PanelRows; row < Math.Min((panel + 1) * PanelRows, _rowCount); row++)
            {
                EncodeRow(row, buffers, ref _errors[panel]);
            }
        }
    }

    /// <summary>Encodes one row and adds its error, which a rotation does not change.</summary>
    private void EncodeRow(int row, Buffers buffers, ref (double Error, double Energy) errors)
    {
        Span<float> y = buffers.Row, decoded = buffers.Decoded;
        new ReadOnlySpan<float>(_rows + ((long)row * _columns), _columns).CopyTo(y);
        if (_diagonal is not null)
        {
            TensorPrimitives.Multiply(y, _diagonal, y);
        }

        ActivationQuantizer.Rotate(y, _signs, _format.Rotation, _hadamard, y);
        if (_codec is not null)
        {
            var stored = new Span<byte>(_destination + (row * _format.RowBytes(_columns)), (int)_format.RowBytes(_columns));
            BlockRowLayout.EncodeRow(_codec, y, stored);
            BlockRowLayout.DecodeRow(_codec, stored, decoded);
        }
        else if (_feedback is not null)
        {
            EncodeWithFeedback(row, buffers);
        }
        else
        {
            EncodeGroups(row, y, buffers.Codes, decoded);
        }

        for (int column = 0; column < _columns; column++)
        {
            double difference = y[column] - decoded[column];
            errors.Error += difference * difference;
            errors.Energy += (double)y[column] * y[column];
        }
    }

    private void EncodeGroups(int row, ReadOnlySpan<float> y, Span<byte> codes, Span<float> decoded)
    {
        for (int column = 0; column < _columns; column += _group)
        {
            ReadOnlySpan<float> values = y.Slice(column, _group);
            Span<byte> groupCodes = codes.Slice(column, _group);
            float scale = EncodeGroup(values, groupCodes);
            ReadOnlySpan<sbyte> levels = _format.LevelSpan;
            for (int i = 0; i < _group; i++)
            {
                float value = scale * (levels.IsEmpty ? (sbyte)groupCodes[i] : levels[groupCodes[i]]);
                decoded[column + i] = _bfloat16 && _format.Scheme == TurboQuantScheme.Lattice ? Lattice.ToBFloat16(value) : value;
            }

            Write(row, column, scale, groupCodes);
        }
    }

    /// <summary>As <see cref="ErrorFeedback"/> has it, column after column; a group's scale is searched with what is known when it begins.</summary>
    private void EncodeWithFeedback(int row, Buffers buffers)
    {
        ReadOnlySpan<sbyte> levels = _format.LevelSpan;
        Span<float> errors = buffers.Errors;
        for (int start = 0; start < _columns; start += _group)
        {
            Span<float> targets = buffers.Targets.AsSpan(0, _group);
            for (int i = 0; i < _group; i++)
            {
                ReadOnlySpan<float> factors = _feedback!.Of(start + i);
                int before = Math.Max(0, factors.Length - i); // columns of the block that the group does not hold
                targets[i] = buffers.Row[start + i] + TensorPrimitives.Dot(factors[..before], errors.Slice(start + i - factors.Length, before));
            }

            float scale;
            fixed (float* group = targets)
            {
                scale = _search!.Scale(group, _group);
            }

            float inverse = scale == 0 ? 0 : 1 / scale;
            for (int i = 0; i < _group; i++)
            {
                int column = start + i;
                ReadOnlySpan<float> factors = _feedback!.Of(column);
                int inside = Math.Min(i, factors.Length);
                float target = targets[i] + TensorPrimitives.Dot(factors[^inside..], errors.Slice(column - inside, inside));
                int code = LevelSearch.Code(levels, target * inverse);
                buffers.Codes[i] = (byte)code;
                buffers.Decoded[column] = scale * levels[code];
                errors[column] = buffers.Row[column] - buffers.Decoded[column];
            }

            Write(row, start, scale, buffers.Codes.AsSpan(0, _group));
        }
    }

    /// <summary>The codes of a group; returns its scale as it is stored.</summary>
    private float EncodeGroup(ReadOnlySpan<float> values, Span<byte> codes)
    {
        float scale;
        switch (_format.Scheme)
        {
            case TurboQuantScheme.Tq:
                fixed (float* start = values)
                {
                    scale = _search!.Scale(start, values.Length);
                }

                _search.Codes(values, scale, codes);
                return scale;
            case TurboQuantScheme.Lattice:
                if (!Lattice.TryScale(values, _format.LevelSpan, _bfloat16, wide: false, out scale)
                    && !(_format.WideScales && Lattice.TryScale(values, _format.LevelSpan, _bfloat16, wide: true, out scale)))
                {
                    throw new InvalidOperationException($"Weights that do not lie on {_format}'s lattice can't be stored in it; choose another format.");
                }

                for (int i = 0; i < values.Length; i++)
                {
                    codes[i] = (byte)Lattice.Code(_format.LevelSpan, values[i], scale);
                }

                return scale;
            default:
                scale = (float)(Half)(MathF.Abs(TensorPrimitives.MaxMagnitude(values)) / sbyte.MaxValue);
                for (int i = 0; i < values.Length; i++)
                {
                    float level = scale == 0 ? 0 : MathF.Round(values[i] / scale);
                    codes[i] = (byte)(sbyte)Math.Clamp(level, -sbyte.MaxValue, sbyte.MaxValue);
                }

                return scale;
        }
    }

    /// <summary>Stores a group's scale and codes where the layout has them.</summary>
    private void Write(int row, int column, float scale, ReadOnlySpan<byte> codes)
    {
        switch (_format.Layout)
        {
            case TurboQuantStorage.Panel16:
                byte* panel = _destination + (row / PanelRows * TurboQuantLayout.PanelBytes(_format, _columns));
                TurboQuantLayout.WriteScale(_format, panel, _columns, row % PanelRows, column / _group, scale);
                for (int i = 0; i < codes.Length; i++)
                {
                    TurboQuantLayout.WriteCode(panel, _format.Bits, row % PanelRows, column + i, codes[i]);
                }

                break;
            case TurboQuantStorage.Nest:
                NestLayout.WriteRow(_format, _destination, _lower, row, scale, codes);
                break;
            default:
                TableRowLayout.WriteSlice(_destination + (row * _format.RowBytes(_columns)) + TableRowLayout.RowBytes(column, _group), scale, codes);
                break;
        }
    }

    private sealed class Buffers(int columns)
    {
        public float[] Row { get; } = new float[columns];

        public float[] Decoded { get; } = new float[columns];

        public byte[] Codes { get; } = new byte[columns];

        public float[] Targets { get; } = new float[columns];

        public float[] Errors { get; } = new float[columns];
    }
}
