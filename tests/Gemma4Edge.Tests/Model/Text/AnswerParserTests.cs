using System.Text;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model.Text;

public class AnswerParserTests
{
    [Theory]
    [InlineData("It is 21.5.<turn|>", "text:It is 21.5.")]
    [InlineData("<|channel>thought\nNeed it.<channel|>Yes é👋", "thought:Need it.|text:Yes é👋")]
    [InlineData("<|channel>thought\n<channel|>Hi", "text:Hi")]
    [InlineData("<|channel>thought<channel|>Hi", "text:Hi")]
    [InlineData("<|channel>thought\ncut", "thought:cut")]
    [InlineData("A<|tool_call>call:f{}<tool_call|>B", "text:A|f:{}|text:B")]
    [InlineData("<|tool_call>call:f{a:1}<tool_call|><|tool_call>call:g{b:true}<tool_call|><|tool_response>", "f:{\"a\":1}|g:{\"b\":true}")]
    [InlineData("<|channel>thought\nx<|tool_call>call:f{}<tool_call|>", "thought:x|f:{}")]
    [InlineData("<|tool_call>call:f{}<tool_call|><tool_call|>", "f:{}")]
    [InlineData("<|tool_call>call:f{a:1<turn|>more", "f:{\"a\":1}|text:more")]
    [InlineData("<|tool_call>nonsense<tool_call|>x", "bad:nonsense|text:x")]
    [InlineData("<|tool_call>call:f{a<|\"|>b<tool_call|>", "bad:call:f{a<|\"|>b")]
    public void Answer_IsTakenApart(string answer, string expected) => Assert.Equal(expected, Parse(Tokenizers.Gemma4.Encode(answer, specialTokens: true)));

    [Theory]
    [InlineData("""call:f{f:0.5,level:40,o:{a:<|"|>q<|"|>,b:1},on:true,rgb:[1,2],room:<|"|>a, {b}: "c"<|"|>,x:null}""",
        """f:{"f":0.5,"level":40,"o":{"a":"q","b":1},"on":true,"rgb":[1,2],"room":"a, {b}: \"c\"","x":null}""")]
    [InlineData("""call:f{}""", """f:{}""")]
    [InlineData(""" call: f { a : 1 , b : [ ] } """, """f:{"a":1,"b":[]}""")]
    [InlineData("""call:f{a:1.0,b:-2e+3,c:007,d:1.,e:NaN}""", """f:{"a":1.0,"b":-2e+3,"c":"007","d":"1.","e":"NaN"}""")]
    [InlineData("""call:f{a:<|"|>kitchen}""", """f:{"a":"kitchen"}""")]                           // mark missing at the end
    [InlineData("""call:f{o:{a:<|"|>kitchen}}""", """f:{"o":{"a":"kitchen"}}""")]
    [InlineData("""call:f{a:<|"|>kitchen""", """f:{"a":"kitchen"}""")]                            // mark and brace missing
    [InlineData("""call:f{a:<|"|>kitchen<|"|>""", """f:{"a":"kitchen"}""")]                       // brace missing
    [InlineData("""call:f{a:[1,{b:2""", """f:{"a":[1,{"b":2}]}""")]
    [InlineData("""call:f{a:1}}""", """f:{"a":1}""")]                                             // brace too many
    [InlineData("""call:f{a:'living room',b:'it's on'}""", """f:{"a":"living room","b":"it's on"}""")]
    [InlineData("""call:f{"a":"b \"c\" \u00e9\n","d":"C:\x"}""", """f:{"a":"b \"c\" é\n","d":"C:\\x"}""")]
    [InlineData("""call:f{a:kitchen,b:living room}""", """f:{"a":"kitchen","b":"living room"}""")]
    [InlineData("""call:f{<|"|>a<|"|>:1}""", """f:{"a":1}""")]
    [InlineData("""call:f""", """f:{}""")]
    [InlineData("""call:{a:1}""", null)]
    [InlineData("""f{a:1}""", null)]
    [InlineData("""call:f{a}""", null)]
    [InlineData("""call:f{a:}""", null)]
    [InlineData("""call:f{a:1,a:2}""", null)]
    [InlineData("""call:f{a:1]}""", null)]
    [InlineData("""call:f{a:<|"|>b<|"|>c}""", null)]
    [InlineData("""call:f{a:1} and more""", null)]
    public void ToolCall_IsReadOrRepaired(string call, string? expected) =>
        Assert.Equal(expected ?? "bad:" + call, Parse(Tokenizers.Gemma4.Encode($"<|tool_call>{call}<tool_call|>", specialTokens: true)));

    [Fact]
    public void ToolCall_SpelledOutInText_IsText()
    {
        string text = "Say <|tool_call>call:f{}<tool_call|> and <|channel>thought\nx<channel|>.";

        Assert.Equal("text:" + text, Parse(Tokenizers.Gemma4.Encode(text)));
    }

    [Fact]
    public void ToolCall_Deeper_ThanTheLimit_IsMalformed()
    {
        Assert.StartsWith("f:", Parse(Call(31)), StringComparison.Ordinal);
        Assert.StartsWith("bad:", Parse(Call(32)), StringComparison.Ordinal);
        Assert.StartsWith("bad:", Parse(Call(5000)), StringComparison.Ordinal);

        static List<int> Call(int depth) => Tokenizers.Gemma4.Encode(
            "<|tool_call>call:f{a:" + new string('[', depth) + new string(']', depth) + "}<tool_call|>", specialTokens: true);
    }

    [Fact]
    public void ToolCall_LongerThanTheLimit_IsMalformed_AndNotKept()
    {
        List<int> call = [.. Tokenizers.DemoJson.Encode("<|tool_call>call:f{a:", specialTokens: true), .. Enumerable.Repeat(Tokenizers.DemoJson.Encode("é")[0], 3 * AnswerParser.MaxCallTokens)];

        string parsed = Parse(call, Tokenizers.DemoJson);
        Assert.StartsWith("bad:", parsed, StringComparison.Ordinal);
        Assert.InRange(parsed.Length, AnswerParser.MaxCallTokens / 2, AnswerParser.MaxCallTokens + 10);
    }

    [Fact]
    public void Begin_InsideAThought_ReadsThoughtFirst()
    {
        var sink = new Recorder();
        var parser = new AnswerParser(Tokenizers.Gemma4);
        parser.Begin(insideThought: true);
        Tokenizers.Gemma4.Encode("It is warm.<channel|>Yes.", specialTokens: true).ForEach(id => parser.Push(id, sink));
        parser.Finish(sink);

        Assert.Equal("thought:It is warm.|text:Yes.", sink.ToString());
    }

    [Fact]
    public void AnyTokens_GiveSomething_AndThrowNothing()
    {
        GemmaTokenizer tokenizer = Tokenizers.DemoJson;
        SpecialTokens special = tokenizer.Special;
        int[] structure =
        [
            special.ToolCallStart, special.ToolCallStart, special.ToolCallEnd, special.StringMark, special.StringMark, special.ChannelStart, special.ChannelEnd,
            special.TurnEnd, .. tokenizer.Encode("call:f{a:1,b:[{\"c\":'d'}]}"), .. tokenizer.Encode("{}[]:,'\"\\n-0.5 é"),
        ];
        var random = new Random(8);
        int calls = 0;
        for (int round = 0; round < 20_000; round++)
        {
            List<int> ids = [.. Enumerable.Range(0, random.Next(1, 30)).Select(_ => random.Next(4) == 0 ? random.Next(-1, tokenizer.VocabSize + 1) : structure[random.Next(structure.Length)])];
            if (round % 2 == 0)
            {
                ids.InsertRange(0, [special.ToolCallStart, .. tokenizer.Encode("call:f{a:")]);
            }
            calls += Parse(ids, tokenizer).Contains("f:{", StringComparison.Ordinal) ? 1 : 0;
        }
        Assert.True(calls > 100);
    }

    private static string Parse(List<int> ids, GemmaTokenizer? tokenizer = null)
    {
        var sink = new Recorder();
        var parser = new AnswerParser(tokenizer ?? Tokenizers.Gemma4);
        ids.ForEach(id => parser.Push(id, sink));
        parser.Finish(sink);
        return sink.ToString();
    }

    /// <summary>What a sink was told, deltas of a kind joined: "thought:…|text:…|NAME:ARGUMENTS|bad:RAW".</summary>
    private sealed class Recorder : IAnswerSink
    {
        private readonly StringBuilder _log = new();
        private string _open = "";

        public void OnText(string delta) => Append("text:", delta);

        public void OnThought(string delta) => Append("thought:", delta);

        public void OnToolCall(ToolCall toolCall) => Add($"{toolCall.Name}:{toolCall.Arguments.GetRawText()}", "");

        public void OnMalformedToolCall(string raw) => Add("bad:" + raw, "");

        public override string ToString() => _log.ToString();

        private void Append(string kind, string delta)
        {
            Assert.NotEqual("", delta);
            if (_open == kind)
            {
                _log.Append(delta);
            }
            else
            {
                Add(kind + delta, kind);
            }
        }

        private void Add(string entry, string kind)
        {
            _log.Append(_log.Length > 0 ? "|" : "").Append(entry);
            _open = kind;
        }
    }
}
