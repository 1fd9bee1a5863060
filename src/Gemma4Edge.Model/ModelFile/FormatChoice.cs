using System.IO.Enumeration;
using System.Numerics;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Which format each matrix gets.</summary>
/// <remarks>
/// The gates and projections of the per-layer embeddings and the router decide much and weigh little: they keep 8 bits. The token embedding,
/// which is the head too, is nested; the per-layer embeddings are rows to look up.
/// </remarks>
public sealed class FormatChoice
{
    /// <summary>The exact lattice of a quantization-aware training where there is one, else <c>tq4</c>.</summary>
    internal const string Auto = "auto";

    /// <summary>Signs of every rotation: one seed, so that matrices with the same input share them.</summary>
    private const ulong SignSeed = 0x47656D6D6134;

    private static readonly string[] s_plain = ["q8_0", "q4_0", "bf16"];
    private static readonly string[] s_sensitive = ["per_layer_input_gate.weight", "per_layer_projection.weight", "per_layer_model_projection.weight", "router.proj.weight"];

    private readonly ConversionOptions _options;
    private readonly Gemma4Config _config;
    private readonly HashSet<string> _unused;

    /// <exception cref="ConversionException">A format is unknown.</exception>
    internal FormatChoice(ConversionOptions options, Gemma4Config config)
    {
        _options = options;
        _config = config;
        _unused = [.. options.Tensors.Select(tensor => tensor.Key)];
        if (!Names.Contains(options.Weights))
        {
            throw new ConversionException($"Unknown weights '{options.Weights}'. Known: {string.Join(", ", Names)}.");
        }
    }

    /// <summary>What <see cref="ConversionOptions.Weights"/> may be.</summary>
    public static IReadOnlyList<string> Names { get; } = [Auto, "tq4", "tq3", "tq2", "polar4", "prod4", "q8", .. s_plain];

    /// <summary>Overrides that matched no tensor so far.</summary>
    internal IReadOnlyCollection<string> Unused => _unused;

    /// <summary>The format of a matrix.</summary>
    /// <param name="name">The checkpoint's name.</param>
    /// <param name="columns">Length of its rows.</param>
    /// <param name="findLattice">Looks for a lattice; null = none.</param>
    /// <exception cref="ConversionException">An override is unknown, or does not fit the matrix.</exception>
    internal WeightFormat Of(string name, int columns, Func<TurboQuantDescriptor?> findLattice)
    {
        string? asked = null;
        foreach ((string pattern, string format) in _options.Tensors)
        {
            if (Matches(pattern, name) || Matches(pattern, TensorNames.ToGguf(name)))
            {
                asked = format;
                _unused.Remove(pattern);
            }
        }

        if (asked is not null)
        {
            return Fits(asked, columns) ?? throw new ConversionException($"'{name}' has rows of {columns} weights, which do not fit {asked}: choose another format for it.");
        }

        if (_options.Weights == Auto && columns % 32 == 0 && findLattice() is { } lattice)
        {
            return name == "embed_tokens_per_layer.weight" ? AsRows(lattice, columns) : lattice;
        }

        return Fits(Usual(name), columns) ?? QuantFormats.BF16;
    }

    private string Usual(string name)
    {
        bool sensitive = Array.Exists(s_sensitive, name.EndsWith);
        bool plain = s_plain.Contains(_options.Weights);
        return (name, _options.Weights) switch
        {
            (_, "q4_0") when sensitive => "q8_0",
            _ when plain => _options.Weights,
            _ when sensitive => "q8",
            ("embed_tokens_per_layer.weight", "q8") => "q8_0",
            (_, "q8") => "q8",
            ("embed_tokens_per_layer.weight", _) => "tq4-rows",
            ("embed_tokens.weight" or "lm_head.weight", _) => "tq4-nest",
            (_, Auto) => "tq4",
            _ => _options.Weights,
        };
    }

    /// <summary>The format of that name, or null where the rows do not fit it.</summary>
    private WeightFormat? Fits(string name, int columns)
    {
        int slice = _config.HiddenSizePerLayerInput;
        WeightFormat format =
            QuantFormats.TryFromName(name, out QuantFormat? plain) && GgmlEncoder.Formats.Contains(plain) ? plain
            : name == "tq4-rows" && BitOperations.IsPow2(slice) && slice is >= 32 and <= 512 ? TurboQuantFormats.Rows(slice, SignSeed)
            : TurboQuantFormats.All.FirstOrDefault(row => row.Name == name) is { } row ? row.For(columns, SignSeed)
            : throw new ConversionException($"Unknown format '{name}'. Known: {string.Join(", ", GgmlEncoder.Formats.Select(f => f.Name).Concat(TurboQuantFormats.All.Select(r => r.Name)))}.");
        try
        {
            format.CheckColumns(columns);
            return format;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    /// <summary>The same 4-bit lattice in rows that can be looked up; 2-bit lattices and single-precision scales have no such form.</summary>
    private TurboQuantDescriptor AsRows(TurboQuantDescriptor lattice, int columns) => lattice.Bits != 4 || lattice.WideScales ? lattice : new TurboQuantDescriptor
    {
        Scheme = lattice.Scheme,
        Layout = TurboQuantStorage.Row,
        Bits = lattice.Bits,
        Group = lattice.Group > 0 ? lattice.Group : columns % _config.HiddenSizePerLayerInput == 0 && _config.HiddenSizePerLayerInput % 32 == 0 ? _config.HiddenSizePerLayerInput : 32,
        Levels = lattice.Levels,
    };

    private static bool Matches(string pattern, string name) => FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false);
}
