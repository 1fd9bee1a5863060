namespace Gemma4Edge.Model.Text;

/// <summary>What a vocabulary entry is for; the numbers are those of GGUF's <c>tokenizer.ggml.token_type</c>.</summary>
public enum PieceKind : byte
{
    /// <summary>Text, reached by merging.</summary>
    Normal = 1,

    /// <summary>The unknown token.</summary>
    Unknown = 2,

    /// <summary>A control token.</summary>
    Control = 3,

    /// <summary>An added piece that matches as a whole.</summary>
    UserDefined = 4,

    /// <summary>Reserved.</summary>
    Unused = 5,

    /// <summary>A byte, <c>&lt;0x00&gt;</c> … <c>&lt;0xFF&gt;</c>.</summary>
    Byte = 6,
}

/// <summary>Many short UTF-8 strings in one buffer: string i is bytes [offsets[i], offsets[i + 1]).</summary>
/// <remarks>A quarter of a million .NET strings would cost ten times the memory. Immutable.</remarks>
public sealed class PackedStrings(byte[] utf8, int[] offsets)
{
    /// <summary>Number of strings.</summary>
    public int Count => offsets.Length - 1;

    /// <summary>The UTF-8 bytes of string <paramref name="index"/>.</summary>
    public ReadOnlySpan<byte> this[int index] => utf8.AsSpan(offsets[index], offsets[index + 1] - offsets[index]);
}

/// <summary>The raw tables a tokenizer is built from, whatever file they came from.</summary>
public sealed class Vocabulary
{
    /// <summary>The text of each token id, as stored (▁ for a space).</summary>
    public required PackedStrings Pieces { get; init; }

    /// <summary>The kind of each token id; as long as <see cref="Pieces"/>.</summary>
    public required IReadOnlyList<PieceKind> Kinds { get; init; }

    /// <summary>Merges, best first, each <c>left right</c>: split at the first space at index ≥ 1.</summary>
    public required PackedStrings Merges { get; init; }
}
