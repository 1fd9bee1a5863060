using System.Text;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model.Text;

/// <summary>tokenizer.json and tokenizer.model come from outside: whatever is wrong with them is one clear refusal.</summary>
public class TokenizerFileTests
{
    [Theory]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"b":1,"ab":2,"a":0},"merges":[["a","b"]]},"added_tokens":[],"other":{"deep":[1,[2]]}}""")]
    public void TokenizerJson_TakesBothFormsOfMerges(string json) =>
        Assert.Equal([2], GemmaTokenizer.FromTokenizerJson(Bytes(json)).Encode("ab"));

    [Fact]
    public void TokenizerJson_AddedTokensMatchAsAWhole()
    {
        GemmaTokenizer tokenizer = GemmaTokenizer.FromTokenizerJson(Bytes(
            """{"added_tokens":[{"id":2,"content":"ba","special":false}],"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"""));

        Assert.Equal([0, 2, 1], tokenizer.Encode("abab"));
    }

    [Theory]
    [InlineData("""{"model":{"type":"Unigram"}}""", "Unigram")]
    [InlineData("""{"model":{"vocab":{"a":0,"b":0}}}""", "id 0 twice")]
    [InlineData("""{"model":{"vocab":{"a":0,"a":1}}}""", "Token 1 has the same text")]
    [InlineData("""{"model":{"vocab":{"a":0,"b":2}}}""", "Token 1 is missing")]
    [InlineData("""{"model":{"vocab":{"a":-1}}}""", "not between")]
    [InlineData("""{"model":{"vocab":{"a":99999999}}}""", "not between")]
    [InlineData("""{"model":{"vocab":{"a":"0"}}}""", "JSON")]
    [InlineData("""{"model":{"vocab":{"a":0},"merges":["a b"]}}""", "Merge 0")]
    [InlineData("""{"model":{"vocab":{"a":0},"merges":[["a"]]}}""", "JSON")]
    [InlineData("""{"model":{"vocab":{"a":0},"merges":[["a","a","a"]]}}""", "Entry 0")]
    [InlineData("""{"model":{"vocab":{"a":0},"merges":[["a a","a"]]}}""", "Entry 0")]
    [InlineData("""{"model":{"vocab":{"a":0},"merges":{}}}""", "model.merges")]
    [InlineData("""{"model":{"vocab":{"a":0}},"added_tokens":[{"id":0,"content":"b"}]}""", "'a' in model.vocab but 'b'")]
    [InlineData("""{"model":{"vocab":{"a":0}},"added_tokens":[{"content":"b"}]}""", "without id")]
    [InlineData("""{"model":{"vocab":{"\ud800":0}}}""", "JSON")]
    [InlineData("""{"x":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}""", "JSON")]
    [InlineData("""{"model":{"vocab":{"a":0}""", "JSON")]
    [InlineData("[]", "the file")]
    [InlineData("", "JSON")]
    public void TokenizerJson_IsRefused_WithTheReason(string json, string reason) =>
        Assert.Contains(reason, Assert.Throws<FormatException>(() => GemmaTokenizer.FromTokenizerJson(Bytes(json))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer.model")]
    public void DamagedFiles_WorkOrAreRefused_ButNothingElseHappens(string name)
    {
        byte[] whole = File.ReadAllBytes(Path.Combine(TestData.DemoModel, name));
        var random = new Random(5);
        int refused = 0;
        for (int i = 0; i < 150; i++)
        {
            byte[] damaged = i % 3 == 0 ? whole[..random.Next(whole.Length)] : [.. whole];
            if (i % 3 > 0)
            {
                damaged[random.Next(i % 3 == 1 ? 200 : damaged.Length)] = (byte)random.Next(256);
            }
            try
            {
                GemmaTokenizer tokenizer = name == "tokenizer.json"
                    ? GemmaTokenizer.FromTokenizerJson(new MemoryStream(damaged))
                    : GemmaTokenizer.FromSentencePiece(new MemoryStream(damaged));
                tokenizer.Decode(tokenizer.Encode("Turn on the light 你<|turn>\n\n", specialTokens: true));
            }
            catch (FormatException)
            {
                refused++;
            }
        }
        Assert.InRange(refused, 50, 150);
    }

    private static MemoryStream Bytes(string text) => new(Encoding.UTF8.GetBytes(text));
}
