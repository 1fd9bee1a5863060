using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Unicode;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Value types of GGUF metadata; the numbers are those of the file.</summary>
internal enum GgufType : uint
{
    UInt8,
    Int8,
    UInt16,
    Int16,
    UInt32,
    Int32,
    Float32,
    Bool,
    String,
    Array,
    UInt64,
    Int64,
    Float64,
}

/// <summary>Where a metadata value lies: <paramref name="Count"/> elements in <paramref name="Bytes"/> bytes at <paramref name="Offset"/>. A plain value is one element.</summary>
internal readonly record struct GgufValue(GgufType Element, bool IsArray, long Count, long Offset, long Bytes)
{
    /// <inheritdoc/>
    public override string ToString() => IsArray ? $"{Count} × {Element}" : Element.ToString();
}

/// <summary>The metadata of a GGUF file, decoded when asked for. Every getter names key, found and expected when the value is not what it should be.</summary>
internal sealed class GgufMetadata(MappedFile file)
{
    private const long MaxTextBytes = 1 << 20;
    private const long MaxTextsBytes = 64 << 20;

    /// <summary>The file, for messages.</summary>
    public string Path => file.Path;

    /// <summary>Where each key's value lies.</summary>
    public Dictionary<string, GgufValue> Values { get; } = [];

    /// <summary>The value, or null.</summary>
    public GgufValue? Find(string key) => Values.TryGetValue(key, out GgufValue value) ? value : null;

    /// <summary>An integer of any width within [<paramref name="min"/>, <paramref name="max"/>].</summary>
    public int Int32(string key, int min, int max)
    {
        GgufValue value = Get(key);
        return value.IsArray ? throw Wrong(key, value, "an integer") : Int32At(key, value, 0, min, max);
    }

    /// <summary><paramref name="count"/> integers: an array of that length, or one integer for all.</summary>
    public int[] Int32s(string key, int count, int min, int max)
    {
        GgufValue value = Get(key);
        if (value.IsArray && value.Count != count)
        {
            throw Wrong(key, value, $"one integer, or {count}");
        }

        var result = new int[count];
        for (int i = 0; i < count; i++)
        {
            result[i] = Int32At(key, value, value.IsArray ? i : 0, min, max);
        }

        return result;
    }

    /// <summary><paramref name="count"/> booleans.</summary>
    public bool[] Bools(string key, int count)
    {
        GgufValue value = Get(key);
        if (!value.IsArray || value.Element != GgufType.Bool || value.Count != count)
        {
            throw Wrong(key, value, $"{count} × {GgufType.Bool}");
        }

        return Array.ConvertAll(file.Span(value.Offset, count).ToArray(), flag => flag != 0);
    }

    /// <summary>A finite number.</summary>
    public float Single(string key)
    {
        GgufValue value = Get(key);
        double number = (value.Element, value.IsArray) switch
        {
            (GgufType.Float32, false) => BinaryPrimitives.ReadSingleLittleEndian(file.Span(value.Offset, sizeof(float))),
            (GgufType.Float64, false) => BinaryPrimitives.ReadDoubleLittleEndian(file.Span(value.Offset, sizeof(double))),
            _ => throw Wrong(key, value, "a number with a fraction"),
        };
        return float.IsFinite((float)number) ? (float)number : throw Bad(key, $"is {number.ToString(CultureInfo.InvariantCulture)}; expected a finite number");
    }

    /// <summary>A text.</summary>
    public string Text(string key)
    {
        GgufValue value = Get(key);
        if (value.IsArray || value.Element != GgufType.String)
        {
            throw Wrong(key, value, "a text");
        }

        long length = value.Bytes - sizeof(ulong);
        if (length > MaxTextBytes)
        {
            throw Bad(key, $"has {length} bytes; expected at most {MaxTextBytes}");
        }

        ReadOnlySpan<byte> utf8 = file.Span(value.Offset + sizeof(ulong), (int)length);
        return Utf8.IsValid(utf8) ? Encoding.UTF8.GetString(utf8) : throw Bad(key, "is no UTF-8 text");
    }

    /// <summary>An array of texts, packed: a quarter of a million strings in one buffer.</summary>
    public PackedStrings Texts(string key)
    {
        GgufValue value = Get(key);
        if (!value.IsArray || value.Element != GgufType.String)
        {
            throw Wrong(key, value, "texts");
        }

        long total = value.Bytes - (value.Count * sizeof(ulong));
        if (value.Bytes > MaxTextsBytes)
        {
            throw Bad(key, $"has {value.Bytes} bytes; expected at most {MaxTextsBytes}");
        }

        var utf8 = new byte[total];
        var offsets = new int[value.Count + 1];
        long at = value.Offset;
        for (int i = 0; i < value.Count; i++)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.Span(at, sizeof(ulong)));
            file.Span(at + sizeof(ulong), length).CopyTo(utf8.AsSpan(offsets[i]));
            offsets[i + 1] = offsets[i] + length;
            at += sizeof(ulong) + length;
        }

        return new PackedStrings(utf8, offsets);
    }

    /// <summary>The error for a value that cannot be: <c>The key 'k' {what}.</c></summary>
    public ModelFileException Bad(string key, string what, string hint = ModelFileException.GetItAgain) =>
        new(file.Path, Find(key)?.Offset ?? 0, $"The key '{key}' {what}.", hint);

    private GgufValue Get(string key) => Find(key) ?? throw Bad(key, "is missing");

    private ModelFileException Wrong(string key, GgufValue found, string expected) => Bad(key, $"holds {found}; expected {expected}");

    private int Int32At(string key, GgufValue value, long index, int min, int max)
    {
        int size = value.Element is GgufType.String ? 0 : value.Element.Size();
        ReadOnlySpan<byte> bytes = file.Span(value.Offset + (index * size), size);
        Int128 number = value.Element switch
        {
            GgufType.UInt8 => bytes[0],
            GgufType.Int8 => (sbyte)bytes[0],
            GgufType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
            GgufType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(bytes),
            GgufType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
            GgufType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
            GgufType.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
            GgufType.Int64 => BinaryPrimitives.ReadInt64LittleEndian(bytes),
            _ => throw Wrong(key, value, "an integer"),
        };
        return number >= min && number <= max ? (int)number : throw Bad(key, $"is {number}; expected {min} to {max}");
    }
}

/// <summary>Sizes of the value types.</summary>
internal static class GgufTypes
{
    /// <summary>Bytes of one element of a type of fixed size.</summary>
    public static int Size(this GgufType type) => type switch
    {
        GgufType.UInt8 or GgufType.Int8 or GgufType.Bool => 1,
        GgufType.UInt16 or GgufType.Int16 => 2,
        GgufType.UInt32 or GgufType.Int32 or GgufType.Float32 => 4,
        GgufType.UInt64 or GgufType.Int64 or GgufType.Float64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Strings and arrays have no fixed size."),
    };
}
