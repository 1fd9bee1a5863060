using System.Text;
using Google.Protobuf;
using Microsoft.ML.Tokenizers;

namespace Gemma4Edge.Model.Text;

/// <summary>A tokenizer.model on the library's own SentencePiece implementation; special and user-defined pieces are split off before it.</summary>
internal sealed class SentencePieceGemmaTokenizer : GemmaTokenizer
{
    private readonly SentencePieceTokenizer _inner;

    private SentencePieceGemmaTokenizer(Vocabulary vocabulary, SentencePieceTokenizer inner) : base(vocabulary) => _inner = inner;

    /// <exception cref="FormatException">It is not a SentencePiece BPE model that keeps spaces as they are.</exception>
    public static SentencePieceGemmaTokenizer Load(Stream stream)
    {
        byte[] model = TokenizerJson.ReadAll(stream);
        Vocabulary vocabulary;
        SentencePieceTokenizer inner;
        try
        {
            vocabulary = ReadPieces(model);
            inner = SentencePieceTokenizer.Create(new MemoryStream(model), addBeginningOfSentence: false, addEndOfSentence: false);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or ArgumentException or InvalidDataException or InvalidOperationException
            or NotSupportedException or KeyNotFoundException or IndexOutOfRangeException or NullReferenceException)
        {
            throw new FormatException($"This is not a SentencePiece BPE model: {e.Message}", e);
        }
        if (inner.AddDummyPrefix)
        {
            throw new FormatException("This SentencePiece model puts a space before every text; Gemma's does not.");
        }
        var tokenizer = new SentencePieceGemmaTokenizer(vocabulary, inner);
        tokenizer.RefuseReachableSpecialTokens();
        return tokenizer;
    }

    private protected override void EncodeFragment(ReadOnlySpan<byte> utf8, List<int> ids) =>
        ids.AddRange(_inner.EncodeToIds(Encoding.UTF8.GetString(utf8), addBeginningOfSentence: false, addEndOfSentence: false));

    /// <summary>SentencePiece merges any two neighbours that together are a piece: no two pieces may make a special token.</summary>
    private void RefuseReachableSpecialTokens()
    {
        foreach (byte[] name in SpecialTokens.Names.Select(Encoding.UTF8.GetBytes).Where(n => Pieces.Find(n) >= 0))
        {
            for (int split = 1; split < name.Length; split++)
            {
                if (IsSymbol(name.AsSpan(0, split)) && IsSymbol(name.AsSpan(split)))
                {
                    throw new FormatException($"The pieces of this model would make the special token {Encoding.UTF8.GetString(name)} out of plain text.");
                }
            }
        }

        bool IsSymbol(ReadOnlySpan<byte> text) => text.Length == 1 || Pieces.Find(text) >= 0;
    }

    /// <summary>The pieces and their kinds, which the library does not show: field 1 of the model, in it 1 = text, 3 = kind.</summary>
    private static Vocabulary ReadPieces(byte[] model)
    {
        var pieces = new PackedStringsBuilder();
        var kinds = new List<PieceKind>();
        var input = new CodedInputStream(model);
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            if (tag != WireFormat.MakeTag(1, WireFormat.WireType.LengthDelimited))
            {
                input.SkipLastField();
                continue;
            }
            CodedInputStream piece = input.ReadBytes().CreateCodedInput();
            ByteString text = ByteString.Empty;
            PieceKind kind = PieceKind.Normal;
            for (uint field; (field = piece.ReadTag()) != 0;)
            {
                if (field == WireFormat.MakeTag(1, WireFormat.WireType.LengthDelimited))
                {
                    text = piece.ReadBytes();
                }
                else if (field == WireFormat.MakeTag(3, WireFormat.WireType.Varint))
                {
                    kind = (PieceKind)piece.ReadEnum();
                }
                else
                {
                    piece.SkipLastField();
                }
            }
            pieces.Add(text.Span);
            kinds.Add(kind);
        }
        return new Vocabulary { Pieces = pieces.Build(), Kinds = kinds, Merges = new PackedStringsBuilder().Build() };
    }
}
