namespace Gemma4Edge.Kernels;

/// <summary>The table of TurboQuant formats. A row is the whole registration: encoder, kernels, tests and benchmarks go through it.</summary>
public static class TurboQuantFormats
{
    /// <summary>One row: the format's name in options, and the descriptor for a matrix.</summary>
    /// <param name="Name">Lower case: <c>tq4</c>.</param>
    /// <param name="For">Makes the descriptor for rows of some columns, with the seed of the signs.</param>
    public sealed record Row(string Name, Func<int, ulong, TurboQuantDescriptor> For);

    private static readonly sbyte[] s_int4 = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7];

    /// <summary>Every format, the weights' first.</summary>
    public static IReadOnlyList<Row> All { get; } =
    [
        new("tq4", (columns, seed) => Tq(4, columns, seed)),
        new("tq3", (columns, seed) => Tq(3, columns, seed)),
        new("tq2", (columns, seed) => Tq(2, columns, seed)),
        new("lat4-g32", (_, _) => Lattice(s_int4, 32)),
        new("lat4-row", (_, _) => Lattice(s_int4, 0)),
        new("lat2-row", (_, _) => Lattice([-2, -1, 0, 1], 0)),
        new("q8", (columns, _) => Q8(columns)),
        new("tq4-nest", Nest),
        new("tq4-rows", (columns, seed) => Rows(Block(columns), seed)),
        new("polar4", (columns, seed) => Comparison(TurboQuantScheme.Polar, columns, seed)),
        new("prod4", (columns, seed) => Comparison(TurboQuantScheme.Prod, columns, seed)),
    ];

    /// <summary>The levels that a quantization-aware training may have used, most usual first.</summary>
    internal static IReadOnlyList<sbyte[]> LatticeLevels { get; } = [s_int4, [-2, -1, 0, 1], [-3, -1, 1, 3]];

    /// <summary>TQ4, TQ3, TQ2: signs and Hadamard on blocks of 128 columns (64 or 32 where 128 does not divide them), Lloyd-Max levels, one scale per block.</summary>
    public static TurboQuantDescriptor Tq(int bits, int columns, ulong seed) => new()
    {
        Scheme = TurboQuantScheme.Tq,
        Layout = TurboQuantStorage.Panel16,
        Bits = bits,
        Rotation = Block(columns),
        SignSeed = seed,
        Group = Block(columns),
        Levels = LloydMaxTable.Of(bits).Levels.ToArray(),
    };

    /// <summary>The integers of a quantization-aware training: 16 levels for 4 bits, 4 for 2; one scale per <paramref name="group"/> columns, 0 = per row.</summary>
    public static TurboQuantDescriptor Lattice(IReadOnlyList<sbyte> levels, int group, bool wideScales = false)
    {
        ArgumentNullException.ThrowIfNull(levels);
        return new()
        {
            Scheme = TurboQuantScheme.Lattice,
            Layout = TurboQuantStorage.Panel16,
            Bits = levels.Count == 4 ? 2 : 4,
            Group = group,
            Levels = levels,
            WideScales = wideScales,
        };
    }

    /// <summary>8-bit integers, one scale per 128 columns (64 or 32), no rotation: what must not lose anything.</summary>
    public static TurboQuantDescriptor Q8(int columns) => new()
    {
        Scheme = TurboQuantScheme.Q8,
        Layout = TurboQuantStorage.Panel16,
        Bits = 8,
        Group = Block(columns),
    };

    /// <summary>TQ4 as the tied embedding and head: one scale per row, the codes split into two planes.</summary>
    public static TurboQuantDescriptor Nest(int columns, ulong seed) => new()
    {
        Scheme = TurboQuantScheme.Tq,
        Layout = TurboQuantStorage.Nest,
        Bits = 4,
        Rotation = Block(columns),
        SignSeed = seed,
        Levels = LloydMaxTable.Bits4.Levels.ToArray(),
    };

    /// <summary>TQ4 in rows of slices, each rotated whole with its own scale: the per-layer embeddings, where a slice is a layer's.</summary>
    /// <param name="slice">Columns of a slice: 32 to 512, a power of two.</param>
    /// <param name="seed">Seed of the signs.</param>
    public static TurboQuantDescriptor Rows(int slice, ulong seed) => new()
    {
        Scheme = TurboQuantScheme.Tq,
        Layout = TurboQuantStorage.Row,
        Bits = 4,
        Rotation = slice,
        SignSeed = seed,
        Group = slice,
        Levels = LloydMaxTable.Bits4.Levels.ToArray(),
    };

    /// <summary>The largest of 128, 64 and 32 that divides the columns.</summary>
    internal static int Block(int columns) => columns % 128 == 0 ? 128 : columns % 64 == 0 ? 64 : 32;

    private static TurboQuantDescriptor Comparison(TurboQuantScheme scheme, int columns, ulong seed) => new()
    {
        Scheme = scheme,
        Layout = TurboQuantStorage.Row,
        Bits = 4,
        Rotation = Block(columns),
        SignSeed = seed,
        Group = Block(columns),
        Levels = scheme == TurboQuantScheme.Prod ? LloydMaxTable.Bits3.Levels.ToArray() : [],
    };
}
