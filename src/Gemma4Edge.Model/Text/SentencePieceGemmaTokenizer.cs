using System.Text;
using Google.Protobuf;
using Microsoft.ML.Tokenizers;

namespace Gemma4Edge.Model.Text;

/// <summary>A tokenizer.model on the library's own SentencePiece implementation; special and user-defined pieces are split off before it.</summary>
/// <remarks>
/// Of equal pairs the library (2.0.1) merges the rightmost first ("eee" gives e, ee), SentencePiece itself and every list of merges the
/// leftmost (ee, e). So the library is given the pieces and the text mirrored, and its ids are read backwards.
/// </remarks>
internal sealed class SentencePieceGemmaTokenizer : GemmaTokenizer
{
    // Tags of the format's protocol buffer: field number · 8 + wire type.
    private const uint PieceTag = (1 << 3) | 2;
    private const uint TrainerTag = (2 << 3) | 2;
    private const uint TextTag = (1 << 3) | 2;
    private const uint ScoreTag = (2 << 3) | 5;
    private const uint EnumTag = 3 << 3;

    private const int BpeModel = 2;

    private readonly SentencePieceTokenizer _mirrored;

    private SentencePieceGemmaTokenizer(Vocabulary vocabulary, SentencePieceTokenizer mirrored) : base(vocabulary) => _mirrored = mirrored;

    /// <exception cref="FormatException">It is not a SentencePiece BPE model that keeps spaces as they are.</exception>
    public static SentencePieceGemmaTokenizer Load(Stream stream)
    {
        Vocabulary vocabulary;
        SentencePieceTokenizer mirrored;
        try
        {
            vocabulary = Read(TokenizerJson.ReadAll(stream), out MemoryStream mirroredModel);
            mirrored = SentencePieceTokenizer.Create(mirroredModel, addBeginningOfSentence: false, addEndOfSentence: false);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or ArgumentException or InvalidDataException or InvalidOperationException
            or NotSupportedException or KeyNotFoundException or IndexOutOfRangeException or NullReferenceException)
        {
            throw new FormatException($"This is not a SentencePiece BPE model: {e.Message}", e);
        }
        if (mirrored.AddDummyPrefix)
        {
            throw new FormatException("This SentencePiece model puts a space before every text; Gemma's does not.");
        }
        var tokenizer = new SentencePieceGemmaTokenizer(vocabulary, mirrored);
        tokenizer.RefuseReachableSpecialTokens();
        return tokenizer;
    }

    /// <inheritdoc/>
    /// <remarks>A character without a piece merges with nothing: it goes to byte fallback here, and the library sees what stands between.</remarks>
    private protected override void EncodeFragment(ReadOnlySpan<byte> utf8, List<int> ids)
    {
        int start = 0;
        for (int at = 0; at < utf8.Length;)
        {
            Rune.DecodeFromUtf8(utf8[at..], out _, out int length);
            if (Pieces.Find(utf8.Slice(at, length)) < 0)
            {
                EncodeKnown(utf8[start..at], ids);
                AddBytes(utf8.Slice(at, length), ids);
                start = at + length;
            }
            at += length;
        }
        EncodeKnown(utf8[start..], ids);
    }

    private void EncodeKnown(ReadOnlySpan<byte> utf8, List<int> ids)
    {
        string mirrored = Mirror(Encoding.UTF8.GetString(utf8));
        ids.AddRange(_mirrored.EncodeToIds(mirrored, addBeginningOfSentence: false, addEndOfSentence: false).Reverse());
    }

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

    /// <summary>Reads the pieces with their kinds, which the library does not show, and writes the model again with its text pieces mirrored.</summary>
    private static Vocabulary Read(byte[] model, out MemoryStream mirroredModel)
    {
        var pieces = new PackedStringsBuilder();
        var kinds = new List<PieceKind>();
        int modelType = 0;
        mirroredModel = new MemoryStream();
        var input = new CodedInputStream(model);
        var output = new CodedOutputStream(mirroredModel);
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            if (WireFormat.GetTagWireType(tag) != WireFormat.WireType.LengthDelimited)
            {
                input.SkipLastField();
                continue;
            }
            ByteString message = input.ReadBytes();
            if (tag == TrainerTag)
            {
                (_, _, modelType) = ReadRecord(message);
            }
            else if (tag == PieceTag)
            {
                (ByteString text, float score, int kind) = ReadRecord(message);
                pieces.Add(text.Span);
                kinds.Add((PieceKind)kind);
                message = WriteRecord(
                    (PieceKind)kind is PieceKind.Normal or PieceKind.UserDefined ? Mirror(text.ToStringUtf8()) : text.ToStringUtf8(), score, kind);
            }
            output.WriteTag(tag);
            output.WriteBytes(message);
        }
        output.Flush();
        mirroredModel.Position = 0;
        return modelType == BpeModel
            ? new Vocabulary { Pieces = pieces.Build(), Kinds = kinds, Merges = new PackedStringsBuilder().Build() }
            : throw new FormatException("This SentencePiece model is not of the BPE kind.");
    }

    /// <summary>Fields 1 to 3: of a piece its text, score and kind; of the trainer's record the third is the kind of model.</summary>
    private static (ByteString Text, float Score, int Kind) ReadRecord(ByteString message)
    {
        (ByteString Text, float Score, int Kind) record = (ByteString.Empty, 0, (int)PieceKind.Normal);
        CodedInputStream input = message.CreateCodedInput();
        for (uint tag; (tag = input.ReadTag()) != 0;)
        {
            switch (tag)
            {
                case TextTag: record.Text = input.ReadBytes(); break;
                case ScoreTag: record.Score = input.ReadFloat(); break;
                case EnumTag: record.Kind = input.ReadEnum(); break;
                default: input.SkipLastField(); break;
            }
        }
        return record;
    }

    private static ByteString WriteRecord(string text, float score, int kind)
    {
        var message = new MemoryStream();
        var output = new CodedOutputStream(message);
        output.WriteTag(TextTag);
        output.WriteString(text);
        output.WriteTag(ScoreTag);
        output.WriteFloat(score);
        output.WriteTag(EnumTag);
        output.WriteEnum(kind);
        output.Flush();
        return ByteString.CopyFrom(message.ToArray());
    }

    /// <summary>The characters of <paramref name="text"/>, last first; surrogate pairs stay pairs.</summary>
    private static string Mirror(string text)
    {
        char[] mirrored = new char[text.Length];
        int at = text.Length;
        foreach (Rune character in text.EnumerateRunes())
        {
            at -= character.Utf16SequenceLength;
            character.EncodeToUtf16(mirrored.AsSpan(at));
        }
        return new string(mirrored);
    }
}
