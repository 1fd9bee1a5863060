using System.Runtime.InteropServices;

namespace Gemma4Edge.Kernels;

/// <summary>One TurboQuant format: w = R⁻¹(t·level[code]), with everything a reader or a kernel must know to undo it.</summary>
/// <remarks>
/// R = H·σ on blocks of <see cref="Rotation"/> columns, t one scale per <see cref="Group"/> and row. Made by <see cref="TurboQuantFormats"/> or from the
/// fields a file holds. Immutable, safe on any thread.
/// </remarks>
public sealed class TurboQuantDescriptor : WeightFormat
{
    /// <summary>The longest row: kernels keep one row of activations on their stack.</summary>
    public const int MaxColumns = 1 << 16;

    private readonly sbyte[] _levels = [];

    /// <summary>What the codes mean.</summary>
    public required TurboQuantScheme Scheme { get; init; }

    /// <summary>Where they stand.</summary>
    public required TurboQuantStorage Layout { get; init; }

    /// <summary>Bits per code: 2, 3, 4 or 8.</summary>
    public required int Bits { get; init; }

    /// <summary>Columns per Hadamard block, 32 to 512; 0 = no rotation.</summary>
    public int Rotation { get; init; }

    /// <summary>Seed of the signs σ before the rotation: <see cref="SignVector"/>.</summary>
    public ulong SignSeed { get; init; }

    /// <summary>Columns that share a scale, a multiple of 32; 0 = the whole row.</summary>
    public int Group { get; init; }

    /// <summary>The 2^Bits levels, rising; their magnitude is at most 63. Empty where a code is its own level (Q8) or has none (Polar).</summary>
    public IReadOnlyList<sbyte> Levels
    {
        get => _levels;
        init => _levels = [.. value];
    }

    /// <summary>Whether a row's scale is single precision instead of half; whole rows only.</summary>
    public bool WideScales { get; init; }

    /// <summary>Whether σ is already in the activations, because the writer folded it into what makes them.</summary>
    public bool Folded { get; init; }

    /// <inheritdoc/>
    public override bool TakesInt8 => Layout != TurboQuantStorage.Row;

    /// <inheritdoc/>
    public override string Name => (Scheme, Layout) switch
    {
        (TurboQuantScheme.Tq, TurboQuantStorage.Nest) => "tq4-nest",
        (TurboQuantScheme.Tq, TurboQuantStorage.Row) => $"tq{Bits}-{Group}r",
        (TurboQuantScheme.Tq, _) => $"tq{Bits}-{(Group == 0 ? "row" : Group)}",
        (TurboQuantScheme.Lattice, _) => Group == 0 ? $"lat{Bits}-row" : $"lat{Bits}-g{Group}",
        (TurboQuantScheme.Q8, _) => "q8",
        (TurboQuantScheme.Polar, _) => "polar4",
        _ => "prod4",
    };

    /// <inheritdoc/>
    public override int RowStep => Layout == TurboQuantStorage.Panel16 ? TurboQuantLayout.PanelRows : 1;

    /// <summary>The levels, for kernels.</summary>
    internal ReadOnlySpan<sbyte> LevelSpan => _levels;

    /// <summary>What codes the blocks of rows of <paramref name="columns"/> in a comparison format, made anew; null for the others.</summary>
    internal IBlockCodec? Codec(int columns) => Scheme switch
    {
        TurboQuantScheme.Polar => PolarCodec.Bits4(Group),
        TurboQuantScheme.Prod => new ProdCodec(columns, Group, SignSeed),
        _ => null,
    };

    /// <inheritdoc/>
    public override long RowBytes(int columns) => Layout switch
    {
        TurboQuantStorage.Panel16 => TurboQuantLayout.PanelBytes(this, columns) / TurboQuantLayout.PanelRows,
        TurboQuantStorage.Nest => NestLayout.RowBytes(columns),
        _ => TableRowLayout.RowBytes(columns, Group, scales: Scheme == TurboQuantScheme.Prod ? 2 : 1),
    };

    /// <inheritdoc/>
    public override long MatrixBytes(int rows, int columns) =>
        Layout == TurboQuantStorage.Nest ? NestLayout.MatrixBytes(rows, columns) : base.MatrixBytes(rows, columns);

    /// <inheritdoc/>
    public override void CheckColumns(int columns)
    {
        if (columns % 32 != 0 || columns > MaxColumns || (Group > 0 && columns % Group != 0) || (Rotation > 0 && columns % Rotation != 0))
        {
            throw new ArgumentException($"{columns} columns do not fit {Name}: they must be a multiple of its groups and at most {MaxColumns}.", nameof(columns));
        }
    }

    /// <summary>The descriptor's own consistency: what a kernel relies on and a damaged file may break.</summary>
    /// <exception cref="ArgumentException">Names the field that is wrong.</exception>
    public void Check()
    {
        Require(Bits is 2 or 3 or 4 or 8, $"bits {Bits}; expected 2, 3, 4 or 8");
        Require(Rotation is 0 or 32 or 64 or 128 or 256 or 512, $"rotation {Rotation}; expected 0, 32, 64, 128, 256 or 512");
        Require(Group >= 0 && Group % 32 == 0, $"group {Group}; expected 0 or a multiple of 32");
        Require(!WideScales || Group == 0, "single-precision scales with groups; expected whole rows");
        if (Scheme == TurboQuantScheme.Q8)
        {
            Require(Layout == TurboQuantStorage.Panel16 && Bits == 8, "8-bit rows in another layout than panels of 8 bits");
            Require(_levels.Length == 0, "levels, though its codes are their own");
        }
        else if (Scheme is TurboQuantScheme.Tq or TurboQuantScheme.Lattice)
        {
            Require(Bits < 8 && _levels.Length == 1 << Bits, $"{_levels.Length} levels for {Bits} bits");
            Require(_levels.All(level => level is >= -MaxLevel and <= MaxLevel), $"a level beyond ±{MaxLevel}");
            Require(Layout != TurboQuantStorage.Row || (Bits == 4 && Group > 0 && (Rotation is 0 || Rotation == Group)), "rows that are not 4-bit groups, each rotated whole");
            Require(Layout != TurboQuantStorage.Nest || (Bits == 4 && Group == 0 && !WideScales), "nested planes that are not 4 bits with a half-precision scale per row");
        }
        else
        {
            Require(Layout == TurboQuantStorage.Row && Bits == 4 && Group is 32 or 64 or 128 && Rotation == Group, "comparison rows that are not 4 bits in rotated blocks of 32, 64 or 128");
        }
    }

    /// <summary>What activations are multiplied by before the rotation; null = 1.</summary>
    internal float[]? InputScale(int columns, ReadOnlySpan<float> diagonal)
    {
        bool signed = Rotation > 0 && !Folded;
        if (diagonal.IsEmpty)
        {
            return signed ? SignVector.Shared(SignSeed, columns) : null;
        }

        ArgumentOutOfRangeException.ThrowIfNotEqual(diagonal.Length, columns);
        var scale = new float[columns];
        if (signed)
        {
            SignVector.Fill(SignSeed, scale);
        }
        else
        {
            Array.Fill(scale, 1);
        }

        for (int column = 0; column < columns; column++)
        {
            scale[column] /= diagonal[column];
        }

        return scale;
    }

    /// <summary>The largest level: four products with 8-bit activations fit 16 bits (4·61·127 for ours), and levels + 64 fit 7.</summary>
    private const int MaxLevel = 63;

    private void Require(bool holds, string problem)
    {
        if (!holds)
        {
            throw new ArgumentException($"A {Scheme} matrix in {Layout} layout has {problem}.");
        }
    }
}
