using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Gemma4Edge.Model;

/// <summary>How a cache keeps keys and values: one format for its sliding layers, one for its full layers, and exceptions.</summary>
/// <param name="Preset">The name of the choice, as the user writes it.</param>
/// <param name="Sliding">Format of sliding layers. They hold little, so presets that save memory leave them at 8 bits.</param>
/// <param name="Full">Format of full layers.</param>
public sealed record KvCacheFormat(string Preset, KvLayerFormat Sliding, KvLayerFormat Full)
{
    /// <summary>The word for <see cref="Default"/>.</summary>
    public const string Auto = "auto";

    /// <summary>Exact.</summary>
    public static KvCacheFormat F32 { get; } = Uniform(KvLayerFormat.F32);

    /// <summary>What is used where nobody chooses: half the memory of f16 or less, and answers that are not told apart (tests/soak/quality.md).</summary>
    public static KvCacheFormat Default { get; } = new(KvLayerFormat.K8V4.Name, KvLayerFormat.Kv8, KvLayerFormat.K8V4);

    /// <summary>Every preset. The comparison formats hold every layer, or the sliding layers would hide their error.</summary>
    public static IReadOnlyList<KvCacheFormat> All { get; } =
    [
        F32,
        Uniform(KvLayerFormat.F16),
        Uniform(KvLayerFormat.Kv8),
        Default,
        new(KvLayerFormat.K4V4.Name, KvLayerFormat.Kv8, KvLayerFormat.K4V4),
        Uniform(KvLayerFormat.Polar4),
        Uniform(KvLayerFormat.Prod4),
    ];

    /// <summary>How an exception is written.</summary>
    public static string LayerSyntax { get; } = $"LAYER=FORMAT with one of {string.Join(", ", KvLayerFormat.All.Select(format => format.Name))}";

    /// <summary>Every name that <see cref="TryFromName"/> knows.</summary>
    public static IReadOnlyList<string> Names { get; } = [Auto, .. All.Select(format => format.Preset)];

    /// <summary>Layers that differ. A few layers of some models bear no quantization: this leaves them exact.</summary>
    public IReadOnlyDictionary<int, KvLayerFormat> Layers { get; init; } = new Dictionary<int, KvLayerFormat>();

    /// <summary>Finds a preset.</summary>
    public static bool TryFromName(string name, [NotNullWhen(true)] out KvCacheFormat? format)
    {
        format = name == Auto ? Default : All.FirstOrDefault(preset => preset.Preset == name);
        return format is not null;
    }

    /// <summary>Reads an exception: <c>14=f16</c> for layer 14.</summary>
    public static bool TryParseLayer(string text, out int layer, [NotNullWhen(true)] out KvLayerFormat? format)
    {
        ArgumentNullException.ThrowIfNull(text);
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        format = KvLayerFormat.All.FirstOrDefault(pair => pair.Name == text[(equals + 1)..]);
        return int.TryParse(text.AsSpan(0, Math.Max(equals, 0)), NumberStyles.None, CultureInfo.InvariantCulture, out layer) && format is not null;
    }

    /// <summary>This format with exceptions; a later one for the same layer wins.</summary>
    /// <exception cref="FormatException">One of them is not of the form that <see cref="TryParseLayer"/> reads.</exception>
    public KvCacheFormat With(IReadOnlyList<string> layers)
    {
        ArgumentNullException.ThrowIfNull(layers);
        if (layers.Count == 0)
        {
            return this;
        }

        var formats = new Dictionary<int, KvLayerFormat>(Layers);
        foreach (string text in layers)
        {
            formats[TryParseLayer(text, out int layer, out KvLayerFormat? format) ? layer : throw new FormatException($"'{text}' is not LAYER=FORMAT.")] = format;
        }

        return this with { Layers = formats };
    }

    /// <summary>Format of a layer that owns keys and values.</summary>
    public KvLayerFormat Of(int layer, LayerType type) =>
        Layers.TryGetValue(layer, out KvLayerFormat? format) ? format : type == LayerType.Full ? Full : Sliding;

    /// <summary>For people: sliding/full, or one word when they are the same, then the exceptions. <c>kv8/k8v4 14=f16</c></summary>
    public override string ToString() =>
        string.Join(' ', [Sliding == Full ? Full.Name : $"{Sliding.Name}/{Full.Name}", .. Layers.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key}={pair.Value.Name}")]);

    private static KvCacheFormat Uniform(KvLayerFormat format) => new(format.Name, format, format);
}
