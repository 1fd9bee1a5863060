using System.Text;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model.Text;

public class DetokenizerTests
{
    [Theory]
    [InlineData("gemma4")]
    [InlineData("json")]
    public void Push_TokenByToken_GivesTheWholeText_AndNeverHalfACharacter(string name)
    {
        GemmaTokenizer tokenizer = Tokenizers.ByName(name);
        var random = new Random(6);
        for (int round = 0; round < 300; round++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(1, 30)).Select(_ => RandomRune(random).ToString())).Replace('▁', ' ');
            var detokenizer = new Detokenizer(tokenizer);
            var all = new StringBuilder();
            foreach (int id in tokenizer.Encode(text))
            {
                string delta = detokenizer.Push(id);
                Assert.False(delta.Length > 0 && (char.IsLowSurrogate(delta[0]) || char.IsHighSurrogate(delta[^1])));
                all.Append(delta);
            }
            Assert.Equal("", detokenizer.Flush());
            Assert.Equal(text, all.ToString());
        }
    }

    [Fact]
    public void Push_OfBytesThatAreNotUtf8_PrintsWhatDotNetPrints()
    {
        GemmaTokenizer tokenizer = Tokenizers.DemoJson;
        byte[] interesting = [0x41, 0x80, 0xBF, 0xC0, 0xC3, 0xA9, 0xE4, 0xBD, 0xA0, 0xED, 0xF0, 0x9F, 0x91, 0x8B, 0xF5, 0xFF];
        var random = new Random(7);
        for (int round = 0; round < 3000; round++)
        {
            byte[] bytes = [.. Enumerable.Range(0, random.Next(1, 9)).Select(_ => interesting[random.Next(interesting.Length)])];
            var detokenizer = new Detokenizer(tokenizer);
            string text = string.Concat(bytes.Select(b => detokenizer.Push(ByteId(tokenizer, b)))) + detokenizer.Flush();
            Assert.Equal(Encoding.UTF8.GetString(bytes), text);
        }
    }

    [Fact]
    public void SpecialTokens_PrintNothing_OrTheirNameOnRequest()
    {
        GemmaTokenizer tokenizer = Tokenizers.DemoJson;
        List<int> ids = tokenizer.Encode("<|turn>user\n the<turn|>", specialTokens: true);

        Assert.Equal("user\n the", tokenizer.Decode(ids));
        var shown = new Detokenizer(tokenizer, showSpecialTokens: true);
        Assert.Equal("<|turn>user\n the<turn|>", string.Concat(ids.Select(shown.Push)));
    }

    [Fact]
    public void LeadingSpace_IsKept_AndUnknownIdsPrintNothing()
    {
        GemmaTokenizer tokenizer = Tokenizers.DemoJson;

        Assert.Equal(" the", tokenizer.Decode(tokenizer.Encode(" the")));
        Assert.Equal("", tokenizer.Decode([-1, tokenizer.VocabSize, int.MaxValue]));
    }

    private static int ByteId(GemmaTokenizer tokenizer, byte value) =>
        Enumerable.Range(109, 256).Single(id => tokenizer.PieceBytes(id)[0] == value);

    private static Rune RandomRune(Random random)
    {
        int[] starts = [0x20, 0x61, 0xE0, 0x411, 0x4F60, 0x1F600, 0x10FFF0, 0x1780];
        return new Rune(starts[random.Next(starts.Length)] + random.Next(14));
    }
}
