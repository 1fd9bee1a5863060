using System.Buffers;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace Gemma4Edge.Model.Text;

/// <summary>Gemma 4's tokenizer: text ↔ token ids.</summary>
/// <remarks>
/// Encoding: split at the special tokens (only where allowed), then at user-defined pieces (always, the longest first), then merge each
/// fragment as a whole; a character without a piece becomes its UTF-8 bytes. A space is the piece ▁; nothing else is normalized. Text that is
/// not valid UTF-16 is encoded as U+FFFD. The entry points of <see cref="Tokenizer"/> take text as untrusted: they never make a special token.
/// Immutable after construction; safe to use from any thread.
/// </remarks>
public abstract class GemmaTokenizer : Tokenizer
{
    private const char EscapedSpace = '▁';

    private readonly PieceTrie[] _splits;                // special tokens, then user-defined pieces

    private protected GemmaTokenizer(Vocabulary vocabulary)
    {
        Pieces = new PieceTable(vocabulary.Pieces);
        if (vocabulary.Kinds.Count != Pieces.Count)
        {
            throw new FormatException($"The vocabulary has {Pieces.Count} tokens but {vocabulary.Kinds.Count} token types.");
        }
        Special = new SpecialTokens(Pieces.Find);
        StopIds = [.. new[] { Special.TurnEnd, Special.Eos, Special.ToolResponseStart }.Where(id => id >= 0)];
        _splits =
        [
            new PieceTrie(Pieces, SpecialTokens.Names.Select(Special.IdOf).Where(id => id >= 0)),
            new PieceTrie(Pieces, Enumerable.Range(0, Pieces.Count).Where(id => vocabulary.Kinds[id] == PieceKind.UserDefined && !Special.Contains(id))),
        ];
    }

    /// <summary>Number of token ids.</summary>
    public int VocabSize => Pieces.Count;

    /// <summary>The ids of the special tokens.</summary>
    public SpecialTokens Special { get; }

    /// <summary>The tokens after which generation stops: end of turn, end of text, and the opening of a tool's answer.</summary>
    public IReadOnlyList<int> StopIds { get; }

    private protected PieceTable Pieces { get; }

    /// <summary>A tokenizer on the tables of a GGUF file (or any other source of pieces and ranked merges).</summary>
    /// <exception cref="FormatException">The tables contradict themselves; the message names the token or merge.</exception>
    public static GemmaTokenizer FromVocabulary(Vocabulary vocabulary) => new RankBpeTokenizer(vocabulary);

    /// <summary>A tokenizer on a Hugging Face <c>tokenizer.json</c>.</summary>
    /// <exception cref="FormatException">It is not a BPE tokenizer.json, or contradicts itself; the message says where.</exception>
    public static GemmaTokenizer FromTokenizerJson(Stream stream) => new RankBpeTokenizer(TokenizerJson.Read(stream));

    /// <summary>A tokenizer on a SentencePiece <c>tokenizer.model</c>.</summary>
    /// <exception cref="FormatException">It is not a SentencePiece BPE model.</exception>
    public static GemmaTokenizer FromSentencePiece(Stream stream) => SentencePieceGemmaTokenizer.Load(stream);

    /// <summary>The bytes that token <paramref name="id"/> prints: a space for ▁, the raw byte of a byte piece; empty for an id outside the vocabulary.</summary>
    /// <returns>A view that lives as long as the tokenizer. A special token gives its name: see <see cref="IsSpecial"/>.</returns>
    public ReadOnlySpan<byte> PieceBytes(int id) => Pieces[id];

    /// <summary>The text of token <paramref name="id"/> as vocabulary files write it: ▁ for a space, <c>&lt;0x0A&gt;</c> for a byte.</summary>
    public string PieceText(int id) => Pieces.Text(id);

    /// <summary>Whether <paramref name="id"/> is one of the 24 special tokens.</summary>
    public bool IsSpecial(int id) => Special.Contains(id);

    /// <summary>Appends the token ids of <paramref name="text"/> to <paramref name="ids"/>. Adds no <c>&lt;bos&gt;</c>.</summary>
    /// <param name="text">The text; the empty text has no tokens.</param>
    /// <param name="specialTokens">True: names of special tokens in the text become their ids; only for text that this program wrote.
    /// False: they are text like any other.</param>
    /// <param name="ids">The ids are appended here.</param>
    public void Encode(ReadOnlySpan<char> text, bool specialTokens, List<int> ids)
    {
        byte[] utf8 = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(text.Length));
        int length;
        if (text.Contains(EscapedSpace))                 // in the text itself it is the same token as a space
        {
            char[] unescaped = ArrayPool<char>.Shared.Rent(text.Length);
            text.Replace(unescaped, EscapedSpace, ' ');
            length = Encoding.UTF8.GetBytes(unescaped.AsSpan(0, text.Length), utf8);
            ArrayPool<char>.Shared.Return(unescaped);
        }
        else
        {
            length = Encoding.UTF8.GetBytes(text, utf8);
        }
        Split(utf8.AsSpan(0, length), specialTokens ? 0 : 1, ids);
        ArrayPool<byte>.Shared.Return(utf8);
    }

    /// <summary>The token ids of a text that is merged as a whole: valid UTF-8, not empty, spaces as spaces.</summary>
    private protected abstract void EncodeFragment(ReadOnlySpan<byte> utf8, List<int> ids);

    /// <summary>Byte fallback: the ids of <paramref name="utf8"/>'s bytes; <c>&lt;unk&gt;</c> where the vocabulary has no byte piece.</summary>
    private protected void AddBytes(ReadOnlySpan<byte> utf8, List<int> ids)
    {
        foreach (byte value in utf8)
        {
            int id = Pieces.ByteId(value);
            ids.Add(id >= 0 ? id : Special.Unk);
        }
    }

    private void Split(ReadOnlySpan<byte> text, int level, List<int> ids)
    {
        if (level == _splits.Length)
        {
            if (!text.IsEmpty)
            {
                EncodeFragment(text, ids);
            }
            return;
        }
        while (_splits[level].TryFindFirst(text, out int start, out int length, out int id))
        {
            Split(text[..start], level + 1, ids);
            ids.Add(id);
            text = text[(start + length)..];
        }
        Split(text, level + 1, ids);
    }

    /// <inheritdoc/>
    /// <remarks>A token's offset is the range of characters that its bytes complete; the first bytes of a character complete none.</remarks>
    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        ReadOnlySpan<char> source = text ?? textSpan;
        List<int> ids = [];
        Encode(source, specialTokens: false, ids);
        List<int> ends = CharacterEnds(source, ids);
        int count = CountWithin(ends, settings.MaxTokenCount);
        var tokens = new EncodedToken[count];
        for (int i = 0; i < count; i++)
        {
            tokens[i] = new EncodedToken(ids[i], PieceText(ids[i]), (i == 0 ? 0 : ends[i - 1])..ends[i]);
        }
        return new EncodeResults<EncodedToken> { Tokens = tokens, CharsConsumed = count == 0 ? 0 : ends[count - 1] };
    }

    /// <inheritdoc/>
    protected override EncodeResults<int> EncodeToIds(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        ReadOnlySpan<char> source = text ?? textSpan;
        List<int> ids = [];
        Encode(source, specialTokens: false, ids);
        if (ids.Count <= settings.MaxTokenCount)
        {
            return new EncodeResults<int> { Tokens = ids, CharsConsumed = source.Length };
        }
        List<int> ends = CharacterEnds(source, ids);
        int count = CountWithin(ends, settings.MaxTokenCount);
        ids.RemoveRange(count, ids.Count - count);
        return new EncodeResults<int> { Tokens = ids, CharsConsumed = count == 0 ? 0 : ends[count - 1] };
    }

    /// <inheritdoc/>
    protected override int CountTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings) =>
        EncodeToIds(text, textSpan, settings).Tokens.Count;

    /// <inheritdoc/>
    protected override int GetIndexByTokenCount(
        string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings, bool fromEnd, out string? normalizedText, out int tokenCount)
    {
        ReadOnlySpan<char> source = text ?? textSpan;
        List<int> ids = [];
        Encode(source, specialTokens: false, ids);
        List<int> ends = CharacterEnds(source, ids);
        normalizedText = null;
        if (!fromEnd)
        {
            tokenCount = CountWithin(ends, settings.MaxTokenCount);
            return tokenCount == 0 ? 0 : ends[tokenCount - 1];
        }
        int first = Math.Max(0, ids.Count - settings.MaxTokenCount);
        while (first < ids.Count && !IsBoundary(ends, first))
        {
            first++;                                     // not into the bytes of one character
        }
        tokenCount = ids.Count - first;
        return first == 0 ? 0 : ends[first - 1];
    }

    /// <summary>The text of <paramref name="ids"/>; special tokens print nothing, bytes that are not UTF-8 print U+FFFD.</summary>
    public override string Decode(IEnumerable<int> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var detokenizer = new Detokenizer(this);
        var text = new StringBuilder();
        foreach (int id in ids)
        {
            text.Append(detokenizer.Push(id));
        }
        return text.Append(detokenizer.Flush()).ToString();
    }

    /// <inheritdoc/>
    /// <remarks>When <paramref name="destination"/> is too small, what was written ends with a whole character and a whole token.</remarks>
    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var detokenizer = new Detokenizer(this);
        (idsConsumed, charsWritten) = (0, 0);
        int read = 0;
        int written = 0;
        foreach (int id in ids)
        {
            string text = detokenizer.Push(id);
            if (!text.TryCopyTo(destination[written..]))
            {
                return OperationStatus.DestinationTooSmall;
            }
            read++;
            written += text.Length;
            if (!detokenizer.IsPending)
            {
                (idsConsumed, charsWritten) = (read, written);
            }
        }
        string rest = detokenizer.Flush();
        if (!rest.TryCopyTo(destination[written..]))
        {
            return OperationStatus.DestinationTooSmall;
        }
        (idsConsumed, charsWritten) = (read, written + rest.Length);
        return OperationStatus.Done;
    }

    /// <summary>For each token the number of UTF-16 units of <paramref name="text"/> that are complete when its bytes are printed.</summary>
    private List<int> CharacterEnds(ReadOnlySpan<char> text, List<int> ids)
    {
        var ends = new List<int>(ids.Count);
        int chars = 0;
        int textBytes = 0;                               // of the characters counted, with ▁ as one byte as in PieceBytes
        int tokenBytes = 0;
        foreach (int id in ids)
        {
            tokenBytes += PieceBytes(id).Length;
            while (chars < text.Length)
            {
                Rune.DecodeFromUtf16(text[chars..], out Rune rune, out int units);
                int size = text[chars] == EscapedSpace ? 1 : rune.Utf8SequenceLength;
                if (textBytes + size > tokenBytes)
                {
                    break;
                }
                textBytes += size;
                chars += units;
            }
            ends.Add(chars);
        }
        return ends;
    }

    /// <summary>How many of the first tokens are at most <paramref name="max"/> and end with a whole character.</summary>
    private static int CountWithin(List<int> ends, int max)
    {
        int count = Math.Min(ends.Count, max);
        while (!IsBoundary(ends, count))
        {
            count--;
        }
        return count;
    }

    /// <summary>Whether the first <paramref name="count"/> tokens end with a whole character.</summary>
    private static bool IsBoundary(List<int> ends, int count) => count == 0 || ends[count - 1] > (count == 1 ? 0 : ends[count - 2]);
}
