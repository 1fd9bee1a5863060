using System.Text;
using Google.Protobuf;
using Microsoft.ML.Tokenizers;

namespace Gemma4Edge.Model.Text;

/// <summary>A tokenizer.model on the library's own SentencePiece implementation; special and user-defined pieces are split off before it.</summary>
internal sealed class SentencePieceGemmaTokenizer : GemmaTokenizer
{
    // Tags of the format's protocol buffer: field number · 8 + wire type.
    private const uint PieceTag = (1 << 3) | 2;
    private const uint TrainerTag = (2 << 3) | 2;
    private const uint TextTag = (1 << 3) | 2;
    private const uint EnumTag = 3 << 3;

    private const int BpeModel = 2;

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

    /// <summary>The pieces with their kinds, which the library does not show.</summary>
    private static Vocabulary ReadPieces(byte[] model)
    {
        var pieces = new PackedStringsBuilder();
        var kinds = new List<PieceKind>();
        int modelType = 0;
        var input = new CodedInputStream(model);
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            switch (tag)
            {
                case PieceTag:
                    (ByteString text, int kind) = ReadTextAndEnum(input.ReadBytes());
                    pieces.Add(text.Span);
                    kinds.Add((PieceKind)kind);
                    break;
                case TrainerTag:
                    (_, modelType) = ReadTextAndEnum(input.ReadBytes());
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }
        return modelType == BpeModel
            ? new Vocabulary { Pieces = pieces.Build(), Kinds = kinds, Merges = new PackedStringsBuilder().Build() }
            : throw new FormatException("This SentencePiece model is not of the BPE kind.");
    }

    /// <summary>Field 1 (of a piece: its text) and field 3 (of a piece: its kind; of the trainer's record: the kind of model).</summary>
    private static (ByteString Text, int Value) ReadTextAndEnum(ByteString message)
    {
        ByteString text = ByteString.Empty;
        int value = (int)PieceKind.Normal;
        CodedInputStream input = message.CreateCodedInput();
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            switch (tag)
            {
                case TextTag:
                    text = input.ReadBytes();
                    break;
                case EnumTag:
                    value = input.ReadEnum();
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }
        return (text, value);
    }
}
