using System.Globalization;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>What stands in a GGUF file of ours beyond the standard: three kinds of keys. A reader that does not know them still lists the file.</summary>
/// <remarks>
/// <code>
/// gemma4edge.format.NAME      text      a TurboQuant tensor's descriptor; its data are I8 bytes, one dimension
/// gemma4edge.tensor_crc32     u32 [n]   CRC-32 of every tensor's data, in the order of the header, paddings not included
/// gemma4edge.header_crc32     u32       CRC-32 of the header up to the end of the last tensor entry, these four bytes taken as 0
///
/// descriptor                  "shape=1536x1536 scheme=tq layout=panel16 bits=4 rotation=128 seed=7 group=128 levels=-61,…,61"
///     shape                   dimensions, outermost first; three = that many matrices one after the other
///     scheme, layout          <see cref="TurboQuantScheme"/>, <see cref="TurboQuantStorage"/>
///     rotation, group         columns; 0 = none, the whole row
///     wide=1                  scales are F32 instead of F16
///     folded=1                the signs are already in the weights that make the activations
///     diag=NAME               the F32 tensor the columns were multiplied by
/// </code>
/// CRC-32 is the polynomial of zip and PNG (ISO-HDLC). Paddings are zeros: the one behind the header is checked when the file is opened, those between
/// tensors by <see cref="LoadedModel.Verify"/>.
/// </remarks>
internal static class TurboQuantKeys
{
    /// <summary>Begins all of our keys.</summary>
    public const string Prefix = "gemma4edge.";

    /// <summary>The checksums of the tensors.</summary>
    public const string TensorChecksums = Prefix + "tensor_crc32";

    /// <summary>The checksum of the header.</summary>
    public const string HeaderChecksum = Prefix + "header_crc32";

    /// <summary>GGUF's type number of plain bytes, I8.</summary>
    public const uint BytesType = 24;

    /// <summary>TurboQuant data start at multiples of this: kernels load aligned lines.</summary>
    public const int Alignment = 64;

    private const int MaxDimensions = 3;

    /// <summary>The key of a tensor's descriptor.</summary>
    public static string Format(string tensor) => $"{Prefix}format.{tensor}";

    /// <summary>A descriptor as text.</summary>
    public static string Describe(TurboQuantDescriptor format, ReadOnlySpan<int> shape, string? diagonal)
    {
        List<string> fields =
        [
            $"shape={string.Join('x', shape.ToArray())}", $"scheme={Lower(format.Scheme)}", $"layout={Lower(format.Layout)}", $"bits={format.Bits}",
            $"rotation={format.Rotation}", $"seed={format.SignSeed}", $"group={format.Group}",
        ];
        AddIf(format.Levels.Count > 0, $"levels={string.Join(',', format.Levels)}");
        AddIf(format.WideScales, "wide=1");
        AddIf(format.Folded, "folded=1");
        AddIf(diagonal is not null, $"diag={diagonal}");
        return string.Join(' ', fields);

        void AddIf(bool present, string field)
        {
            if (present)
            {
                fields.Add(field);
            }
        }
    }

    /// <summary>Reads a descriptor and checks it against the bytes it describes.</summary>
    /// <param name="text">What the file says.</param>
    /// <param name="bytes">Size of the tensor's data.</param>
    /// <returns>Format, shape, and the diagonal's tensor or null.</returns>
    /// <exception cref="FormatException">A field is missing, unknown or contradicts another, or the bytes are not as many as it needs.</exception>
    public static (TurboQuantDescriptor Format, int[] Shape, string? Diagonal) Parse(string text, long bytes)
    {
        var fields = new Dictionary<string, string>();
        foreach (string field in text.Split(' '))
        {
            string[] parts = field.Split('=', 2);
            if (parts.Length != 2 || !fields.TryAdd(parts[0], parts[1]))
            {
                throw new FormatException($"has the field '{field}'; expected name=value, each name once");
            }
        }

        int[] shape = Array.ConvertAll(Take("shape").Split('x'), size => Number("shape", size, 1, int.MaxValue));
        if (shape.Length is < 2 or > MaxDimensions)
        {
            throw new FormatException($"has {shape.Length} dimensions; expected 2 or {MaxDimensions}");
        }

        var format = new TurboQuantDescriptor
        {
            Scheme = OneOf<TurboQuantScheme>("scheme"),
            Layout = OneOf<TurboQuantStorage>("layout"),
            Bits = Number("bits", Take("bits"), 1, 8),
            Rotation = Number("rotation", Take("rotation"), 0, TurboQuantDescriptor.MaxColumns),
            SignSeed = ulong.TryParse(Take("seed"), NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed) ? seed : throw new FormatException("has a seed that is no number"),
            Group = Number("group", Take("group"), 0, TurboQuantDescriptor.MaxColumns),
            Levels = fields.Remove("levels", out string? levels) ? Array.ConvertAll(levels.Split(','), level => (sbyte)Number("levels", level, sbyte.MinValue, sbyte.MaxValue)) : [],
            WideScales = fields.Remove("wide", out string? wide) && Number("wide", wide, 0, 1) == 1,
            Folded = fields.Remove("folded", out string? folded) && Number("folded", folded, 0, 1) == 1,
        };
        fields.Remove("diag", out string? diagonal);
        if (fields.Count > 0)
        {
            throw new FormatException($"has the unknown field '{fields.Keys.First()}'");
        }

        try
        {
            format.Check();
            format.CheckColumns(shape[^1]);
        }
        catch (ArgumentException error)
        {
            throw new FormatException($"contradicts itself: {error.Message.TrimEnd('.')}", error);
        }

        Int128 needed = shape.SkipLast(2).Aggregate((Int128)1, (matrices, size) => matrices * size) * format.MatrixBytes(shape[^2], shape[^1]);
        return needed == bytes ? (format, shape, diagonal) : throw new FormatException($"needs {needed} bytes, but the tensor has {bytes}");

        string Take(string name) => fields.Remove(name, out string? value) ? value : throw new FormatException($"lacks '{name}'");

        T OneOf<T>(string name)
            where T : struct, Enum
        {
            string value = Take(name);
            T found = Enum.GetValues<T>().FirstOrDefault(candidate => Lower(candidate) == value);
            return Lower(found) == value ? found : throw new FormatException($"has {name}={value}; expected {string.Join(", ", Enum.GetValues<T>().Select(Lower))}");
        }
    }

    private static string Lower<T>(T value)
        where T : struct, Enum => value.ToString().ToLowerInvariant();

    private static int Number(string name, string text, int min, int max) =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value) && value >= min && value <= max
            ? value
            : throw new FormatException($"has {name}={text}; expected {min} to {max}");
}
