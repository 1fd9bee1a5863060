using System.Buffers.Binary;
using System.IO.Hashing;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>The header of a GGUF file, version 3, little-endian: metadata and tensor entries. Nothing of it is trusted before it is checked.</summary>
/// <remarks>
/// Layout: magic, version u32, tensor count u64, key count u64; per key: name, type u32, value; per tensor: name, dimension count u32,
/// dimensions u64 (input first), type u32, offset u64 from the aligned end of the header. A string is a length u64 and UTF-8 bytes.
/// Counts are limited before anything is allocated for them. Source: the GGUF description in the ggml project.
/// </remarks>
internal sealed class GgufFile
{
    private const int Version = 3;
    private const int DefaultAlignment = 32;
    private const int MaxEntries = 16_384;
    private const int MaxNameBytes = 256;
    private const int MaxDimensions = 4;

    private readonly MappedFile _file;
    private long _position;

    /// <summary>Reads and checks the header.</summary>
    /// <exception cref="ModelFileException">It is not a whole, plausible header.</exception>
    public GgufFile(MappedFile file)
    {
        _file = file;
        if (file.Length < 4 || !file.Span(0, 4).SequenceEqual("GGUF"u8))
        {
            throw Bad(0, "The file does not start with 'GGUF'.", "Name a GGUF file or a Hugging Face folder.");
        }

        _position = 4;
        uint version = ReadUInt32("the version");
        if (version != Version)
        {
            string kind = version == BinaryPrimitives.ReverseEndianness(Version) ? "a big-endian file" : $"GGUF version {version}";
            throw Bad(4, $"This is {kind}; expected version {Version}, little-endian.", "Convert the model again with a current tool.");
        }

        int tensorCount = ReadCount("tensors");
        int keyCount = ReadCount("keys");
        Metadata = new GgufMetadata(file);
        for (int i = 0; i < keyCount; i++)
        {
            long at = _position;
            string key = ReadName("a key");
            if (!Metadata.Values.TryAdd(key, ReadValue(key)))
            {
                throw Bad(at, $"The key '{key}' appears twice.");
            }
        }

        ReadTensors(tensorCount);
    }

    /// <summary>Keys and values.</summary>
    public GgufMetadata Metadata { get; }

    /// <summary>The tensors in the order of the header; their data lies inside the file.</summary>
    public List<StoredTensor> Tensors { get; } = [];

    private void ReadTensors(int tensorCount)
    {
        long alignment = Metadata.Find("general.alignment") is null ? DefaultAlignment : Metadata.Int32("general.alignment", 1, 1 << 30);
        if (!BitOperations.IsPow2(alignment))
        {
            throw Metadata.Bad("general.alignment", $"is {alignment}; expected a power of two");
        }

        var entries = new List<(long At, string Name, int[] Shape, QuantFormat? Format, ulong Offset)>();
        for (int i = 0; i < tensorCount; i++)
        {
            long at = _position;
            string name = ReadName("a tensor name");
            int[] shape = ReadShape(name);
            long typeAt = _position;
            uint type = ReadUInt32($"the type of '{name}'");
            if (!QuantFormats.TryFromGgmlType((int)type, out QuantFormat? format) && !(type == TurboQuantKeys.BytesType && IsOurs(name)))
            {
                throw Bad(typeAt, $"The tensor '{name}' has weight type {type}; expected {string.Join(", ", QuantFormats.All)}.", "Convert the model to one of them.");
            }

            if (format is not null && shape[^1] % format.BlockColumns != 0)
            {
                throw Bad(at, $"The tensor '{name}' has rows of {shape[^1]} weights; {format} needs a multiple of {format.BlockColumns}.");
            }

            entries.Add((at, name, shape, format, ReadUInt64($"the offset of '{name}'")));
        }

        uint[]? checksums = Checksums(tensorCount);
        ulong dataStart = ((ulong)_position + (ulong)alignment - 1) / (ulong)alignment * (ulong)alignment;
        foreach ((long at, string name, int[] shape, QuantFormat? format, ulong offset) in entries)
        {
            long count = shape.Aggregate(1L, (count, size) => count * size);
            long bytes = format is null ? count : count / format.BlockColumns * format.BlockBytes;
            ulong room = (ulong)_file.Length - Math.Min(dataStart, (ulong)_file.Length);
            ulong step = format is null ? Math.Max((ulong)alignment, TurboQuantKeys.Alignment) : (ulong)alignment;
            if (offset % step != 0 || (format is null && dataStart % step != 0))
            {
                throw Bad(at, $"The tensor '{name}' starts at offset {offset}, which is no multiple of the alignment {step}.");
            }

            if (offset > room || (ulong)bytes > room - offset)
            {
                throw Bad(at, $"The data of tensor '{name}' ({bytes} bytes at offset {offset}) leaves the file of {_file.Length} bytes.");
            }

            long start = (long)(dataStart + offset);
            StoredTensor tensor = format is null
                ? Described(name, start, bytes)
                : new StoredTensor(_file, name, shape, format, format.Name, start, bytes);
            Tensors.Add(tensor with { Checksum = checksums?[Tensors.Count] });
        }

        CheckHeader(_position, (long)dataStart); // last: an error above says more
    }

    private bool IsOurs(string tensor) => Metadata.Find(TurboQuantKeys.Format(tensor)) is not null;

    /// <summary>A TurboQuant tensor, as its descriptor has it.</summary>
    private StoredTensor Described(string name, long start, long bytes)
    {
        if (Metadata.Find(TurboQuantKeys.HeaderChecksum) is null)
        {
            throw Bad(0, $"The header has TurboQuant tensors but no '{TurboQuantKeys.HeaderChecksum}'.");
        }

        try
        {
            (TurboQuantDescriptor format, int[] shape, string? diagonal) = TurboQuantKeys.Parse(Metadata.Text(TurboQuantKeys.Format(name)), bytes);
            return new StoredTensor(_file, name, shape, format, format.Name, start, bytes) { Diagonal = diagonal };
        }
        catch (FormatException error)
        {
            throw Metadata.Bad(TurboQuantKeys.Format(name), error.Message);
        }
    }

    /// <summary>Holds the header against its checksum, where it has one.</summary>
    private void CheckHeader(long end, long dataStart)
    {
        if (Metadata.Find(TurboQuantKeys.HeaderChecksum) is not { } value)
        {
            return;
        }

        if (value is not { Element: GgufType.UInt32, IsArray: false })
        {
            throw Metadata.Bad(TurboQuantKeys.HeaderChecksum, $"holds {value}; expected {GgufType.UInt32}");
        }

        if (end > int.MaxValue)
        {
            throw Bad(0, $"The header has {end} bytes; expected at most {int.MaxValue}.");
        }

        var crc = new Crc32();
        Append(0, value.Offset);
        crc.Append(stackalloc byte[sizeof(uint)]);
        Append(value.Offset + sizeof(uint), end);
        if (crc.GetCurrentHashAsUInt32() != BinaryPrimitives.ReadUInt32LittleEndian(_file.Span(value.Offset, sizeof(uint))))
        {
            throw Bad(0, "The header does not match its checksum.");
        }

        if (_file.Span(end, (int)(Math.Min(dataStart, _file.Length) - end)).ContainsAnyExcept((byte)0))
        {
            throw Bad(end, "The padding behind the header is not zero.");
        }

        void Append(long start, long stop) => crc.Append(_file.Span(start, (int)(stop - start)));
    }

    private uint[]? Checksums(int tensorCount)
    {
        if (Metadata.Find(TurboQuantKeys.TensorChecksums) is not { } value)
        {
            return null;
        }

        return value is { Element: GgufType.UInt32, IsArray: true } && value.Count == tensorCount
            ? MemoryMarshal.Cast<byte, uint>(_file.Span(value.Offset, (int)value.Bytes)).ToArray()
            : throw Metadata.Bad(TurboQuantKeys.TensorChecksums, $"holds {value}; expected {tensorCount} × {GgufType.UInt32}");
    }

    /// <summary>Dimensions, outermost first; each fits an int, and their product fits a long with room for 8 bytes a weight.</summary>
    private int[] ReadShape(string name)
    {
        long at = _position;
        uint rank = ReadUInt32($"the dimensions of '{name}'");
        if (rank is 0 or > MaxDimensions)
        {
            throw Bad(at, $"The tensor '{name}' has {rank} dimensions; expected 1 to {MaxDimensions}.");
        }

        var shape = new int[rank];
        Int128 count = 1;
        for (int i = (int)rank - 1; i >= 0; i--)
        {
            ulong size = ReadUInt64($"the dimensions of '{name}'");
            if (size is 0 or > int.MaxValue || (count *= size) > long.MaxValue / 8)
            {
                throw Bad(at, $"The tensor '{name}' has a dimension of {size} that cannot be.");
            }

            shape[i] = (int)size;
        }

        return shape;
    }

    private GgufValue ReadValue(string key)
    {
        GgufType type = ReadType(key);
        if (type != GgufType.Array)
        {
            return ReadElements(key, type, isArray: false, 1);
        }

        long at = _position;
        GgufType element = ReadType(key);
        if (element == GgufType.Array)
        {
            throw Bad(at, $"The key '{key}' holds an array of arrays; expected plain values.");
        }

        ulong count = ReadUInt64($"the length of '{key}'");
        long smallest = element == GgufType.String ? sizeof(ulong) : element.Size();
        if (count > (ulong)((_file.Length - _position) / smallest))
        {
            throw Bad(at, $"The key '{key}' holds {count} values, more than the rest of the file.");
        }

        return ReadElements(key, element, isArray: true, (long)count);
    }

    private GgufValue ReadElements(string key, GgufType element, bool isArray, long count)
    {
        long start = _position;
        if (element != GgufType.String)
        {
            Skip(count * element.Size(), $"the value of '{key}'");
        }
        else
        {
            for (long i = 0; i < count; i++)
            {
                Skip(ReadLength($"a string of '{key}'"), $"a string of '{key}'");
            }
        }

        return new GgufValue(element, isArray, count, start, _position - start);
    }

    private GgufType ReadType(string key)
    {
        long at = _position;
        var type = (GgufType)ReadUInt32($"the type of '{key}'");
        return type <= GgufType.Float64 ? type : throw Bad(at, $"The key '{key}' has the unknown value type {(uint)type}.");
    }

    private string ReadName(string what)
    {
        long at = _position;
        long length = ReadLength(what);
        if (length is 0 or > MaxNameBytes)
        {
            throw Bad(at, $"The length of {what} is {length}; expected 1 to {MaxNameBytes} bytes.");
        }

        Skip(length, what);
        ReadOnlySpan<byte> utf8 = _file.Span(_position - length, (int)length);
        string name = Encoding.UTF8.GetString(utf8);
        return Utf8.IsValid(utf8) && !name.Any(char.IsControl) ? name : throw Bad(at, $"The text of {what} is no printable UTF-8.");
    }

    private int ReadCount(string what)
    {
        long at = _position;
        ulong count = ReadUInt64($"the number of {what}");
        return count <= MaxEntries ? (int)count : throw Bad(at, $"The header counts {count} {what}; expected at most {MaxEntries}.");
    }

    private long ReadLength(string what)
    {
        long at = _position;
        ulong length = ReadUInt64(what);
        return length <= (ulong)(_file.Length - _position) ? (long)length : throw Bad(at, $"The length of {what} is {length}, more than the rest of the file.");
    }

    private uint ReadUInt32(string what)
    {
        Skip(sizeof(uint), what);
        return BinaryPrimitives.ReadUInt32LittleEndian(_file.Span(_position - sizeof(uint), sizeof(uint)));
    }

    private ulong ReadUInt64(string what)
    {
        Skip(sizeof(ulong), what);
        return BinaryPrimitives.ReadUInt64LittleEndian(_file.Span(_position - sizeof(ulong), sizeof(ulong)));
    }

    private void Skip(long bytes, string what)
    {
        if (bytes > _file.Length - _position)
        {
            throw Bad(_position, $"The file ends inside {what}.");
        }

        _position += bytes;
    }

    private ModelFileException Bad(long at, string problem, string hint = ModelFileException.GetItAgain) => new(_file.Path, at, problem, hint);
}
