using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Gemma4Edge.Model.Text;

/// <summary>The pieces of a vocabulary as the bytes they print, and the way back from bytes to an id.</summary>
/// <remarks>
/// Inside the tokenizer a space is a space: the files write ▁ (U+2581) for it. A byte piece <c>&lt;0x0A&gt;</c> is its one byte and is
/// reached by <see cref="ByteId"/> alone, so it cannot be mistaken for the piece "\n". Tables: bytes, offsets and an open-addressing
/// hash of ids at most half full; no string per token. Immutable.
/// </remarks>
internal sealed class PieceTable
{
    private static readonly byte[] s_escapedSpace = Encoding.UTF8.GetBytes("▁");

    private static readonly ulong s_multiplier = (ulong)Random.Shared.NextInt64() | 1;     // per process: a file cannot aim at collisions

    private readonly byte[] _bytes;
    private readonly int[] _offsets;
    private readonly int[] _slots;                       // id + 1; 0 = free
    private readonly int[] _byteIds = new int[256];

    /// <exception cref="FormatException">A piece is empty, not UTF-8, or stands twice.</exception>
    public PieceTable(PackedStrings pieces)
    {
        _offsets = new int[pieces.Count + 1];
        _slots = new int[HashSize(pieces.Count)];
        Array.Fill(_byteIds, -1);
        int sizeBytes = 0;
        for (int id = 0; id < pieces.Count; id++)
        {
            sizeBytes += pieces[id].Length;
        }
        _bytes = new byte[sizeBytes];
        for (int id = 0; id < pieces.Count; id++)
        {
            Add(id, pieces[id]);
        }
    }

    /// <summary>Number of pieces.</summary>
    public int Count => _offsets.Length - 1;

    /// <summary>The bytes that piece <paramref name="id"/> prints; empty for an id the vocabulary does not have.</summary>
    public ReadOnlySpan<byte> this[int id] =>
        (uint)id < (uint)Count ? _bytes.AsSpan(_offsets[id], _offsets[id + 1] - _offsets[id]) : [];

    /// <summary>The id of the piece that stands for one byte, or −1.</summary>
    public int ByteId(byte value) => _byteIds[value];

    /// <summary>The id of the piece that prints <paramref name="text"/>, byte pieces left out, or −1.</summary>
    public int Find(ReadOnlySpan<byte> text) => _slots[Slot(text)] - 1;

    /// <inheritdoc cref="Find(ReadOnlySpan{byte})"/>
    public int Find(string text) => Find(Encoding.UTF8.GetBytes(text));

    /// <summary>Piece <paramref name="id"/> as vocabulary files write it: ▁ for a space, <c>&lt;0x0A&gt;</c> for a byte.</summary>
    public string Text(int id)
    {
        ReadOnlySpan<byte> piece = this[id];
        return piece.Length == 1 && _byteIds[piece[0]] == id
            ? string.Create(CultureInfo.InvariantCulture, $"<0x{piece[0]:X2}>")
            : Encoding.UTF8.GetString(piece).Replace(' ', '▁');
    }

    /// <summary>Writes <paramref name="piece"/> with every ▁ turned into a space; returns the bytes written, at most its length.</summary>
    public static int Unescape(ReadOnlySpan<byte> piece, Span<byte> destination)
    {
        int written = 0;
        for (int space; (space = piece.IndexOf(s_escapedSpace)) >= 0; piece = piece[(space + s_escapedSpace.Length)..])
        {
            piece[..space].CopyTo(destination[written..]);
            written += space;
            destination[written++] = (byte)' ';
        }
        piece.CopyTo(destination[written..]);
        return written + piece.Length;
    }

    /// <summary>A power of two that at least doubles <paramref name="count"/>.</summary>
    public static int HashSize(int count) => (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(count, 8) * 2);

    private void Add(int id, ReadOnlySpan<byte> piece)
    {
        if (piece.IsEmpty || !Utf8.IsValid(piece))
        {
            throw new FormatException($"Token {id} is {(piece.IsEmpty ? "empty" : "not UTF-8")}.");
        }
        Span<byte> text = _bytes.AsSpan(_offsets[id]);
        if (TryParseByte(piece, out byte value))
        {
            if (_byteIds[value] >= 0)
            {
                throw Twice(id, _byteIds[value]);
            }
            text[0] = value;
            _byteIds[value] = id;
            _offsets[id + 1] = _offsets[id] + 1;
            return;
        }
        text = text[..Unescape(piece, text)];
        _offsets[id + 1] = _offsets[id] + text.Length;
        ref int slot = ref _slots[Slot(text)];
        if (slot != 0)
        {
            throw Twice(id, slot - 1);
        }
        slot = id + 1;
    }

    /// <summary>The slot that holds <paramref name="text"/>, or the free slot where it belongs.</summary>
    private int Slot(ReadOnlySpan<byte> text)
    {
        int mask = _slots.Length - 1;
        int slot = (int)Hash(text) & mask;
        while (_slots[slot] != 0 && !text.SequenceEqual(this[_slots[slot] - 1]))
        {
            slot = (slot + 1) & mask;
        }
        return slot;
    }

    /// <summary>Eight bytes a step by one multiplication each; loading hashes half a million merges three times.</summary>
    private static uint Hash(ReadOnlySpan<byte> text)
    {
        ulong hash = (ulong)text.Length;
        for (; text.Length >= sizeof(ulong); text = text[sizeof(ulong)..])
        {
            hash = Mix(hash ^ BinaryPrimitives.ReadUInt64LittleEndian(text));
        }
        ulong tail = 0;
        foreach (byte b in text)
        {
            tail = (tail << 8) | b;
        }
        return (uint)Mix(hash ^ tail);

        static ulong Mix(ulong x)
        {
            x *= s_multiplier;
            return x ^ (x >> 32);
        }
    }

    private static bool TryParseByte(ReadOnlySpan<byte> piece, out byte value)
    {
        value = 0;
        return piece.Length == 6 && piece.StartsWith("<0x"u8) && piece[5] == '>'
            && byte.TryParse(piece[3..5], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static FormatException Twice(int id, int first) => new($"Token {id} has the same text as token {first}.");
}
