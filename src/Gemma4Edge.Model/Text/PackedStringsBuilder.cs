using System.Buffers;

namespace Gemma4Edge.Model.Text;

/// <summary>Collects <see cref="PackedStrings"/> one after the other.</summary>
internal sealed class PackedStringsBuilder
{
    private readonly ArrayBufferWriter<byte> _utf8 = new();
    private readonly List<int> _offsets = [0];

    /// <summary>Number of strings so far.</summary>
    public int Count => _offsets.Count - 1;

    /// <summary>Appends one string.</summary>
    public void Add(ReadOnlySpan<byte> utf8)
    {
        _utf8.Write(utf8);
        _offsets.Add(_utf8.WrittenCount);
    }

    /// <summary>The strings added.</summary>
    public PackedStrings Build() => new(_utf8.WrittenSpan.ToArray(), [.. _offsets]);
}
