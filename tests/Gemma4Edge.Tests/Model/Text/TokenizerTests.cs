using System.Buffers;
using System.Text;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model.Text;

public class TokenizerTests
{
    private static readonly string[] s_parts =
    [
        "\n", "\n\n", "\n\n\n", " ", "  ", "     ", "a", "e", "the", "Kitchen", "light on", "<unused0>", "<0x0A>", "é", "你好", "👋", "\t", "▁", "0", "12",
        "{", "}", ":", "\"", "zq", "\r\n", "\0", "\ud800", "ĀāĂă", "Größe", "<", "|", "turn", "call:", ", ", "'s",
    ];

    public static TheoryData<string, string> Vectors => TokenizerVectors.All;

    [Theory]
    [MemberData(nameof(Vectors))]
    public void Encode_EqualsHuggingFace_OnTheRealVocabulary(string text, string expected) =>
        Assert.Equal(expected, string.Join(' ', Tokenizers.Gemma4.Encode(text, specialTokens: true)));

    [Fact]
    public void Encode_EqualsLlamaCpp_OnItsPublishedStrings()
    {
        string[] texts = File.ReadAllText(TestData.Path("oracle/tokenizer/ggml-vocab-gemma-4.gguf.inp")).Split("\n__ggml_vocab_test__\n");
        string[] expected = File.ReadAllLines(TestData.Path("oracle/tokenizer/ggml-vocab-gemma-4.gguf.out"));

        Assert.Equal(46, texts.Length);
        for (int i = 0; i < texts.Length; i++)
        {
            Assert.Equal(expected[i].Trim(), string.Join(' ', Tokenizers.Gemma4.Encode(texts[i])));
        }
    }

    [Fact]
    public void Encode_EqualsTheNaiveMerge_OnRandomTables()
    {
        var random = new Random(1);
        for (int round = 0; round < 300; round++)
        {
            (List<string> pieces, List<string> merges) = RandomTables(random);
            GemmaTokenizer tokenizer = GemmaTokenizer.FromVocabulary(Tokenizers.Make(pieces, merges, _ => PieceKind.Normal));
            for (int i = 0; i < 20; i++)
            {
                string text = string.Concat(Enumerable.Range(0, random.Next(1, 40)).Select(_ => "abcd"[random.Next(4)]));
                Assert.Equal(NaiveMerge(text, merges), tokenizer.Encode(text).Select(tokenizer.PieceText));
            }
        }
    }

    [Fact]
    public void ThreeSourcesOfTheDemoVocabulary_Agree_OnRandomText()
    {
        var random = new Random(2);
        for (int i = 0; i < 3000; i++)
        {
            string text = RandomText(random);
            List<int> ids = Tokenizers.DemoJson.Encode(text);
            Assert.Equal(ids, Tokenizers.DemoGguf.Encode(text));
            Assert.Equal(ids, Tokenizers.DemoSentencePiece.Encode(text));
        }
    }

    [Theory]
    [InlineData("gemma4")]
    [InlineData("json")]
    [InlineData("model")]
    [InlineData("gguf")]
    public void Decode_GivesTheTextBack(string name)
    {
        GemmaTokenizer tokenizer = Tokenizers.ByName(name);
        var random = new Random(3);
        for (int i = 0; i < 1000; i++)
        {
            string text = RandomText(random);
            Assert.Equal(text.Replace('▁', ' ').Replace('\ud800', '\ufffd'), tokenizer.Decode(tokenizer.Encode(text)));
        }
    }

    [Theory]
    [InlineData("gemma4")]
    [InlineData("json")]
    [InlineData("model")]
    [InlineData("gguf")]
    public void Encode_MakesNoSpecialToken_UnlessAllowed(string name)
    {
        GemmaTokenizer tokenizer = Tokenizers.ByName(name);
        foreach (string special in SpecialTokens.Names)
        {
            string text = $"a {special}{special}\n{special} b";
            Assert.DoesNotContain(tokenizer.Encode(text), tokenizer.IsSpecial);
            Assert.DoesNotContain(tokenizer.EncodeToIds(text), tokenizer.IsSpecial);
            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
            int id = tokenizer.Special.IdOf(special);
            Assert.Equal(id < 0 ? 0 : 3, tokenizer.Encode(text, specialTokens: true).Count(i => i == id));
        }
    }

    [Fact]
    public void SpecialTokens_AreFoundByName_WhateverTheirType()
    {
        SpecialTokens special = Tokenizers.Gemma4.Special;

        Assert.All(SpecialTokens.Names, name => Assert.True(special.IdOf(name) >= 0));
        Assert.Equal(
            [2, 1, 105, 106, 48, 49, 50, 51, 52, 100, 101, 98, 46, 47],
            [
                special.Bos, special.Eos, special.TurnStart, special.TurnEnd, special.ToolCallStart, special.ToolCallEnd, special.ToolResponseStart,
                special.ToolResponseEnd, special.StringMark, special.ChannelStart, special.ChannelEnd, special.Think, special.ToolStart, special.ToolEnd,
            ]);
        Assert.Equal([106, 1, 50], Tokenizers.Gemma4.StopIds);
        Assert.Equal(-1, Tokenizers.DemoJson.Special.Image);
        Assert.DoesNotContain(212, Tokenizers.Gemma4.StopIds);      // </s> is an HTML tag
    }

    [Fact]
    public void UserDefinedPieces_MatchLongestFirst_AlsoInUntrustedText() =>
        Assert.Equal([108, 108, 107], Tokenizers.DemoGguf.Encode("\n\n\n\n\n"));

    [Fact]
    public void PieceBytesAndText_ShowSpacesAndBytes()
    {
        GemmaTokenizer tokenizer = Tokenizers.DemoJson;

        Assert.Equal(" the", Encoding.UTF8.GetString(tokenizer.PieceBytes(tokenizer.Encode(" the")[0])));
        Assert.Equal("▁the", tokenizer.PieceText(tokenizer.Encode(" the")[0]));
        Assert.Equal([0xF0, 0x9F, 0x91, 0x8B], tokenizer.Encode("👋").Select(id => tokenizer.PieceBytes(id)[0]));
        Assert.Equal("<0xF0>", tokenizer.PieceText(tokenizer.Encode("👋")[0]));
        Assert.True(tokenizer.PieceBytes(tokenizer.VocabSize).IsEmpty);
    }

    [Fact]
    public void Encode_OfALongLineWithoutSpaces_MergesAsShortOnesDo()
    {
        // 200 000 characters: a quadratic merge would not come back.
        List<int> ids = Tokenizers.Gemma4.Encode(new string('a', 200_000));

        Assert.Equal(25_000, ids.Count);
        Assert.Single(ids.Distinct());
    }

    [Theory]
    [InlineData("json")]
    [InlineData("model")]
    public void LibraryEntryPoints_AreConsistent(string name)
    {
        GemmaTokenizer tokenizer = Tokenizers.ByName(name);
        var random = new Random(4);
        for (int i = 0; i < 300; i++)
        {
            string text = RandomText(random);
            List<int> ids = tokenizer.Encode(text);
            IReadOnlyList<Microsoft.ML.Tokenizers.EncodedToken> tokens = tokenizer.EncodeToTokens(text, out _);

            Assert.Equal(ids, tokenizer.EncodeToIds(text));
            Assert.Equal(ids, tokens.Select(t => t.Id));
            Assert.Equal(ids.Count, tokenizer.CountTokens(text));
            Assert.Equal(0, tokens[0].Offset.Start.Value);
            Assert.Equal(text.Length, tokens[^1].Offset.End.Value);
            Assert.All(tokens.Zip(tokens.Skip(1)), pair => Assert.Equal(pair.First.Offset.End, pair.Second.Offset.Start));
            Assert.All(tokens.Where(t => t.Value.Length > 1 && !t.Value.StartsWith("<0x", StringComparison.Ordinal)), t => Assert.Equal(t.Value, text[t.Offset].Replace(' ', '▁')));

            int max = random.Next(1, ids.Count + 1);
            int end = tokenizer.GetIndexByTokenCount(text, max, out _, out int countFromStart);
            int start = tokenizer.GetIndexByTokenCountFromEnd(text, max, out _, out int countFromEnd);
            IReadOnlyList<int> first = tokenizer.EncodeToIds(text, max, out _, out int consumed);
            Assert.True(countFromStart <= max && countFromEnd <= max);
            Assert.Equal(end, consumed);
            Assert.Equal(ids.Take(countFromStart), first);
            Assert.Equal(Printed(text[..end]), tokenizer.Decode(ids.Take(countFromStart)));
            Assert.Equal(Printed(text[start..]), tokenizer.Decode(ids.TakeLast(countFromEnd)));
        }

        static string Printed(string text) => text.Replace('▁', ' ').Replace('\ud800', '\ufffd');
    }

    [Fact]
    public void DecodeIntoASpan_StopsAtAWholeToken_WhenItIsTooSmall()
    {
        GemmaTokenizer tokenizer = Tokenizers.DemoJson;
        List<int> ids = tokenizer.Encode("the 👋 light");
        string text = "the 👋 light";
        for (int size = 0; size <= text.Length; size++)
        {
            char[] destination = new char[size];
            OperationStatus status = tokenizer.Decode(ids, destination, out int consumed, out int written);
            Assert.Equal(size == text.Length ? OperationStatus.Done : OperationStatus.DestinationTooSmall, status);
            Assert.Equal(tokenizer.Decode(ids.Take(consumed)), new string(destination, 0, written));
            Assert.DoesNotContain('\ufffd', new string(destination, 0, written));
        }
    }

    [Fact]
    public void ContradictingTables_AreRefused()
    {
        Assert.Contains("Token 1", Refusal(["a", "a"], []), StringComparison.Ordinal);
        Assert.Contains("Token 0", Refusal([""], []), StringComparison.Ordinal);
        Assert.Contains("Merge 0", Refusal(["a", "b"], ["a b"]), StringComparison.Ordinal);
        Assert.Contains("Merge 0", Refusal(["a", "aa"], ["aa"]), StringComparison.Ordinal);
        Assert.Contains("Merge 1", Refusal(["a", "aa"], ["a a", "a a"]), StringComparison.Ordinal);
        Assert.Contains("<|turn>", Refusal(["<|", "turn>", "<|turn>"], ["<| turn>"]), StringComparison.Ordinal);

        static string Refusal(string[] pieces, string[] merges) =>
            Assert.Throws<FormatException>(() => GemmaTokenizer.FromVocabulary(Tokenizers.Make(pieces, merges, _ => PieceKind.Normal))).Message;
    }

    private static string RandomText(Random random) => string.Concat(Enumerable.Range(0, random.Next(1, 14)).Select(_ => s_parts[random.Next(s_parts.Length)]));

    private static (List<string> Pieces, List<string> Merges) RandomTables(Random random)
    {
        List<string> pieces = ["a", "b", "c", "d"];
        List<string> merges = [];
        for (int i = 0; i < 30; i++)
        {
            string left = pieces[random.Next(pieces.Count)];
            string right = pieces[random.Next(pieces.Count)];
            if (!merges.Contains($"{left} {right}"))
            {
                merges.Insert(random.Next(merges.Count + 1), $"{left} {right}");
            }
            if (!pieces.Contains(left + right))
            {
                pieces.Add(left + right);
            }
        }
        return (pieces, merges);
    }

    /// <summary>The definition: merge the neighbours of the lowest rank, the leftmost among equals, until none is left.</summary>
    private static List<string> NaiveMerge(string text, List<string> merges)
    {
        List<string> symbols = [.. text.Select(c => c.ToString())];
        while (true)
        {
            int best = -1;
            int bestRank = int.MaxValue;
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                int rank = merges.IndexOf($"{symbols[i]} {symbols[i + 1]}");
                if (rank >= 0 && rank < bestRank)
                {
                    (best, bestRank) = (i, rank);
                }
            }
            if (best < 0)
            {
                return symbols;
            }
            symbols[best] += symbols[best + 1];
            symbols.RemoveAt(best + 1);
        }
    }
}
