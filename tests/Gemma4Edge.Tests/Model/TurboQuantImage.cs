using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

/// <summary>The bytes of a converted file, and where in them the parts stand: for damaging it, and for sealing the header again so that what lies behind its checksum is reached.</summary>
internal sealed class TurboQuantImage
{
    private readonly int _checksumAt;

    public TurboQuantImage(string path)
    {
        Bytes = File.ReadAllBytes(path);
        using var file = new MappedFile(path);
        var gguf = new GgufFile(file);
        _checksumAt = (int)gguf.Metadata.Values[TurboQuantKeys.HeaderChecksum].Offset;
        DataStart = (int)gguf.Tensors.Min(tensor => tensor.Offset);
        Tensors = [.. gguf.Tensors.Select(tensor => (tensor.Name, (int)tensor.Offset, (int)tensor.Bytes))];
        Descriptors = [.. gguf.Metadata.Values.Where(pair => pair.Key.StartsWith(TurboQuantKeys.Format(""), StringComparison.Ordinal)).Select(pair => ((int)pair.Value.Offset, gguf.Metadata.Text(pair.Key)))];

        int at = _checksumAt + sizeof(uint);
        foreach ((string name, _, _) in Tensors)
        {
            at += sizeof(ulong) + Encoding.UTF8.GetByteCount(name);
            int dimensions = (int)BinaryPrimitives.ReadUInt32LittleEndian(Bytes.AsSpan(at));
            EntryNumbers.AddRange([at, .. Enumerable.Range(0, dimensions).Select(i => at + 4 + (8 * i)), at + 4 + (8 * dimensions), at + 8 + (8 * dimensions)]);
            at += sizeof(uint) + (dimensions * sizeof(ulong)) + sizeof(uint) + sizeof(ulong);
        }

        HeaderEnd = at;
    }

    /// <summary>The whole file.</summary>
    public byte[] Bytes { get; }

    /// <summary>End of the last tensor entry; up to <see cref="DataStart"/> there is padding.</summary>
    public int HeaderEnd { get; }

    /// <summary>First byte of the first tensor.</summary>
    public int DataStart { get; }

    /// <summary>Name and place of every tensor's data.</summary>
    public (string Name, int Offset, int Bytes)[] Tensors { get; }

    /// <summary>Where each descriptor's text stands (behind its length), and the text.</summary>
    public (int Offset, string Text)[] Descriptors { get; }

    /// <summary>Where in the tensor entries numbers stand: dimension counts, dimensions, types, offsets.</summary>
    public List<int> EntryNumbers { get; } = [];

    /// <summary>A copy with another text in place of a descriptor. The data stays where it is.</summary>
    public byte[] WithDescriptor(int descriptor, string text)
    {
        (int at, string old) = Descriptors[descriptor];
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        byte[] copy = [.. Bytes];
        BinaryPrimitives.WriteUInt64LittleEndian(copy.AsSpan(at), (ulong)utf8.Length);
        utf8.CopyTo(copy, at + sizeof(ulong));
        int rest = at + sizeof(ulong) + old.Length, moved = at + sizeof(ulong) + utf8.Length, restLength = HeaderEnd - rest;
        Assert.True(moved + restLength <= DataStart, "The padding has no room for that.");
        copy.AsSpan(moved + restLength, Math.Max(0, rest - moved)).Clear();
        Bytes.AsSpan(rest, restLength).CopyTo(copy.AsSpan(moved));
        return Sealed(copy, moved - rest);
    }

    /// <summary>The bytes with the checksum that their header should have.</summary>
    /// <param name="bytes">Changed in place.</param>
    /// <param name="growth">Bytes that were put in before the checksum.</param>
    public byte[] Sealed(byte[] bytes, int growth = 0)
    {
        Span<byte> checksum = bytes.AsSpan(_checksumAt + growth, sizeof(uint));
        checksum.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(checksum, Crc32.HashToUInt32(bytes.AsSpan(0, HeaderEnd + growth)));
        return bytes;
    }
}
