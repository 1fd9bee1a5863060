using System.Diagnostics;
using System.Text;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Tests.Service;

public class RequestParserTests
{
    private static readonly NodeTopics s_topics = new("kitchen");
    private static readonly RequestParser s_parser = new(s_topics, new ReplyTopic(s_topics, ["gemma4edge/reply/"]));
    private static readonly RequestDefaults s_defaults = new(SamplingOptions.Gemma4, 256, false, "Be short.", [new ToolDefinition("set_light")], 300);

    [Theory]
    [InlineData("{\"prompt\":", "JSON")]
    [InlineData("{\"prompt\":\"a\"} x", "JSON")]
    [InlineData("{}", "exactly one of prompt and messages")]
    [InlineData("{\"prompt\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "exactly one of prompt and messages")]
    [InlineData("{\"prompt\":\"\"}", "request.prompt")]
    [InlineData("{\"prompt\":5}", "request.prompt")]
    [InlineData("{\"prompt\":\"\\ud800\"}", "Unicode")]
    [InlineData("{\"prompt\":\"a\",\"id\":\"a b\"}", "request.id")]
    [InlineData("{\"prompt\":\"a\",\"id\":\"\"}", "request.id")]
    [InlineData("{\"prompt\":\"a\",\"id\":7}", "request.id")]
    [InlineData("{\"prompt\":\"a\",\"id\":\"a\\n\"}", "request.id")]
    [InlineData("{\"prompt\":\"a\",\"id\":\"12345678901234567890123456789012345678901234567890123456789012345\"}", "request.id")]
    [InlineData("{\"messages\":[]}", "request.messages")]
    [InlineData("{\"messages\":{}}", "request.messages")]
    [InlineData("{\"messages\":[{\"role\":\"robot\",\"content\":\"a\"}]}", "request.messages[0].role")]
    [InlineData("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}", "request.messages[0].content")]
    [InlineData("{\"system\":\"x\",\"messages\":[{\"role\":\"system\",\"content\":\"y\"}]}", "request.system")]
    [InlineData("{\"prompt\":\"a\",\"system\":1}", "request.system")]
    [InlineData("{\"prompt\":\"a\",\"session\":\"\"}", "request.session")]
    [InlineData("{\"prompt\":\"a\",\"tools\":{}}", "request.tools")]
    [InlineData("{\"prompt\":\"a\",\"tools\":[{\"function\":{}}]}", "request.tools[0].function.name")]
    [InlineData("{\"prompt\":\"a\",\"tool_choice\":\"required\"}", "request.tool_choice")]
    [InlineData("{\"prompt\":\"a\",\"stream\":\"yes\"}", "request.stream")]
    [InlineData("{\"prompt\":\"a\",\"stream_mode\":\"word\"}", "request.stream_mode")]
    [InlineData("{\"prompt\":\"a\",\"max_tokens\":0}", "request.max_tokens")]
    [InlineData("{\"prompt\":\"a\",\"max_tokens\":1e300}", "request.max_tokens")]
    [InlineData("{\"prompt\":\"a\",\"max_tokens\":1.5}", "request.max_tokens")]
    [InlineData("{\"prompt\":\"a\",\"max_tokens\":99999999999999999999}", "request.max_tokens")]
    [InlineData("{\"prompt\":\"a\",\"temperature\":-1}", "temperature")]
    [InlineData("{\"prompt\":\"a\",\"temperature\":1e999}", "request.temperature")]
    [InlineData("{\"prompt\":\"a\",\"temperature\":\"hot\"}", "request.temperature")]
    [InlineData("{\"prompt\":\"a\",\"top_k\":-1}", "request.top_k")]
    [InlineData("{\"prompt\":\"a\",\"top_p\":0}", "top_p")]
    [InlineData("{\"prompt\":\"a\",\"seed\":-1}", "request.seed")]
    [InlineData("{\"prompt\":\"a\",\"think\":1}", "request.think")]
    [InlineData("{\"prompt\":\"a\",\"format\":\"json\"}", "request.format")]
    [InlineData("{\"prompt\":\"a\",\"format\":{\"type\":\"object\"}}", "request.format")]
    [InlineData("{\"prompt\":\"a\",\"execute\":\"no\"}", "request.execute")]
    [InlineData("{\"prompt\":\"a\",\"deadline_ms\":0}", "request.deadline_ms")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":\"zigbee2mqtt/light/set\"}", "request.reply_to")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":\"gemma4edge/reply/\"}", "request.reply_to")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":\"gemma4edge/reply/+\"}", "request.reply_to")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":\"gemma4edge/reply/#\"}", "request.reply_to")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":\"gemma4edge/reply/a\\u0000\"}", "request.reply_to")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":\"gemma4edge/reply/\\uffff\"}", "request.reply_to")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":5}", "request.reply_to")]
    [InlineData("{\"prompt\":\"a\",\"reply_to\":\"gemma4edge/reply/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a\"}", "request.reply_to")]
    public void Parse_RefusesAndNamesTheField(string payload, string named)
    {
        ParsedRequest parsed = Parse(payload);
        Assert.Null(parsed.Request);
        Assert.Equal(FailureCode.BadRequest, parsed.Failure!.Code);
        Assert.Contains(named, parsed.Failure.Message, StringComparison.Ordinal);
        Assert.Equal(s_topics.Response, parsed.Reply.Topic);
    }

    [Fact]
    public void Parse_RefusesWhatIsTooLarge_TooDeep_OrNotUtf8()
    {
        Assert.NotNull(Parse(new byte[RequestParser.MaxPayloadBytes + 1]).Failure);
        Assert.NotNull(Parse(Encoding.ASCII.GetBytes(new string('a', RequestParser.MaxPayloadBytes))).Request);
        Assert.NotNull(Parse(Nested(33)).Failure);
        Assert.NotNull(Parse(Nested(32)).Request);
        ParsedRequest invalid = Parse([.. "{\"id\":\"a1\",\"prompt\":\""u8, 0xC3, .. "\"}"u8]);
        Assert.Null(invalid.Id);
        Assert.NotNull(invalid.Failure);
        Assert.NotNull(Parse([]).Failure);

        static byte[] Nested(int depth) => Encoding.ASCII.GetBytes($$"""{"prompt":"a","other":{{new string('[', depth - 1)}}{{new string(']', depth - 1)}}}""");
    }

    [Fact]
    public void Parse_TellsTheId_WhereTheRestIsWrong()
    {
        ParsedRequest parsed = Parse("""{"id":"a1","prompt":"a","max_tokens":-1,"reply_to":"gemma4edge/reply/x"}""");
        Assert.Equal(("a1", "gemma4edge/reply/x"), (parsed.Id, parsed.Reply.Topic));
        Assert.NotNull(parsed.Failure);
    }

    /// <summary>A number as id is a common slip: its sender listens on its reply topic alone.</summary>
    [Fact]
    public void Parse_TellsOfAWrongId_WhereTheReplyShallGo()
    {
        ParsedRequest parsed = Parse("""{"id":7,"prompt":"a","reply_to":"gemma4edge/reply/x"}""");
        Assert.Equal((null, "gemma4edge/reply/x"), (parsed.Id, parsed.Reply.Topic));
        Assert.Equal("request.id: expected a string of 1 to 64 of A-Z a-z 0-9 _ . -, found 7.", parsed.Failure!.Message);
    }

    [Fact]
    public void Parse_ReadsEveryField()
    {
        ParsedRequest parsed = Parse(
            """
            {"id":"a.1","messages":[{"role":"user","content":"hi"}],"system":"Be kind.","tools":[{"type":"function","function":{"name":"t"}}],"session":"Küche",
             "stream":true,"stream_mode":"sentence","max_tokens":9.0,"temperature":0.5,"top_k":3,"top_p":0.5,"min_p":0.1,"seed":18446744073709551615,"think":true,
             "format":"text","deadline_ms":2000,"reply_to":"gemma4edge/reply/x","execute":false,"later":{"unknown":1}}
            """);
        PromptRequest request = parsed.Request!;
        Assert.Equal(new SamplingOptions { Temperature = 0.5f, TopK = 3, TopP = 0.5f, MinP = 0.1f, Seed = ulong.MaxValue }, request.Sampling);
        Assert.Equal(("a.1", "Küche", "Be kind.", 9, true), (request.Id, request.Session, request.System, request.MaxTokens, request.Think));
        Assert.Equal("hi", Assert.Single(request.Messages!).Text);
        Assert.Equal("t", Assert.Single(request.Tools!).Name);
        Assert.Equal((StreamMode.Sentence, "gemma4edge/reply/x"), (parsed.Stream, parsed.Reply.Topic));
        Assert.Equal(2, (request.DeadlineTimestamp!.Value - request.ReceivedTimestamp) / (double)Stopwatch.Frequency, 6);
    }

    [Fact]
    public void Parse_TakesDefaults_WhereTheRequestIsSilent()
    {
        PromptRequest request = Parse("""{"prompt":"hi"}""").Request!;
        Assert.Equal((s_defaults.Sampling, 256, null, "Be short.", false), (request.Sampling, request.MaxTokens, request.System, request.DefaultSystem, request.Think));
        Assert.Equal("set_light", Assert.Single(request.Tools!).Name);
        Assert.Empty(Parse("""{"prompt":"hi","tool_choice":"none"}""").Request!.Tools!);
        Assert.Empty(Parse("""{"prompt":"hi","tools":[]}""").Request!.Tools!);
    }

    [Theory]
    [InlineData(0u, null, 300)]
    [InlineData(10u, null, 10)]
    [InlineData(10u, 5000, 5)]
    [InlineData(10u, 50000, 10)]
    [InlineData(1000u, 5000000, 300)]
    public void Deadline_IsTheEarliest(uint expirySeconds, int? deadlineMs, double seconds)
    {
        string field = deadlineMs is null ? "" : $",\"deadline_ms\":{deadlineMs}";
        PromptRequest request = s_parser.Parse(Message($"{{\"prompt\":\"a\"{field}}}") with { ExpirySeconds = expirySeconds }, s_defaults).Request!;
        Assert.Equal(seconds, (request.DeadlineTimestamp!.Value - request.ReceivedTimestamp) / (double)Stopwatch.Frequency, 6);
    }

    [Fact]
    public void ReplyTo_BeatsTheProperty_EvenAForbiddenOne()
    {
        InboundMessage message = Message("""{"prompt":"a","reply_to":"gemma4edge/reply/field"}""");
        Assert.Equal("gemma4edge/reply/field", s_parser.Parse(message with { ResponseTopic = "gemma4edge/reply/property" }, s_defaults).Reply.Topic);
        Assert.NotNull(s_parser.Parse(message with { ResponseTopic = "elsewhere" }, s_defaults).Request);
    }

    [Theory]
    [InlineData("gemma4edge/reply/x", true)]
    [InlineData("gemma4edge/kitchen/response", true)]
    [InlineData("gemma4edge/bath/response", false)]
    [InlineData("gemma4edge/kitchen/request", false)]
    [InlineData("elsewhere", false)]
    public void ResponseTopic_MustBeAllowed(string topic, bool allowed)
    {
        foreach (string payload in (string[])["plain", """{"prompt":"a"}"""])
        {
            ParsedRequest parsed = s_parser.Parse(Message(payload) with { ResponseTopic = topic }, s_defaults);
            Assert.Equal(allowed, parsed.Request is not null);
            Assert.Equal(allowed ? topic : s_topics.Response, parsed.Reply.Topic);
        }
    }

    [Fact]
    public void UnreadableJson_IsAnsweredOnTheProperty_WithoutAnId()
    {
        ParsedRequest parsed = s_parser.Parse(Message("{nonsense") with { ResponseTopic = "gemma4edge/reply/x", CorrelationData = "c1"u8.ToArray() }, s_defaults);
        Assert.Equal((null, "gemma4edge/reply/x"), (parsed.Id, parsed.Reply.Topic));
        Assert.NotNull(parsed.Failure);
    }

    [Fact]
    public void Correlation_IsTheId_OnlyWhereThePayloadHasNoneAndItFits()
    {
        Assert.Equal("c-1", With("c-1"u8.ToArray(), "hi").Id);
        Assert.Equal("a1", With("c-1"u8.ToArray(), """{"id":"a1","prompt":"hi"}""").Id);
        Assert.Equal(32, With("c 1"u8.ToArray(), "hi").Id!.Length);
        Assert.Equal(32, With([1, 2, 200], "hi").Id!.Length);

        static ParsedRequest With(byte[] correlation, string payload) => s_parser.Parse(Message(payload) with { CorrelationData = correlation }, s_defaults);
    }

    [Fact]
    public void PlainText_IsThePrompt()
    {
        Assert.Equal("Grüß Gott", Parse("Grüß Gott").Request!.Prompt);
        Assert.Equal("[note] hi", Parse("[note] hi").Request!.Prompt);
        Assert.Equal("42", Parse("42").Request!.Prompt);
        Assert.Equal("hi", Parse("\uFEFF{\"prompt\":\"hi\"}").Request!.Prompt);
        Assert.Equal("hi", Parse("\uFEFFhi").Request!.Prompt);
        Assert.Equal("hi", Parse(" \n{\"prompt\":\"hi\"}").Request!.Prompt);
        Assert.Equal("{\"prompt\":1}", s_parser.ParsePrompt(Message("{\"prompt\":1}"), s_defaults).Request!.Prompt);
    }

    /// <summary>5000 payloads made of broken pieces of good ones: each is a request or a bad_request, never an exception.</summary>
    [Fact]
    public void Parse_NeverThrows()
    {
        var random = new Random(20261124);
        string[] pieces =
        [
            "{", "}", "[", "]", ":", ",", "\"", "\"id\":", "\"a1\"", "\"prompt\":\"hi\"", "\"messages\":", "{\"role\":\"user\",\"content\":\"x\"}", "\"tools\":", "\"temperature\":", "1e400", "-0",
            "null", "true", "\"\\ud800\"", "\"\\u0000\"", "{\"type\":\"function\",\"function\":{\"name\":\"t\",\"parameters\":{}}}", "\"reply_to\":\"gemma4edge/reply/a\"", "é", "\"stream\":true",
            "\"seed\":99999999999999999999999", "\"\\udfff\":1", "\"content\":[{\"type\":\"text\",\"text\":\"x\"}]", "\"format\":", "\"session\":\"s\"", "\"max_tokens\":7",
        ];
        int good = 0;
        for (int i = 0; i < 5000; i++)
        {
            byte[] payload = Encoding.UTF8.GetBytes((i % 2 == 0 ? "{" : "") + string.Join(i % 3 == 0 ? "," : "", Enumerable.Range(0, random.Next(1, 12)).Select(_ => pieces[random.Next(pieces.Length)])) + (i % 4 < 2 ? "}" : ""));
            if (i % 5 == 0)
            {
                payload[random.Next(payload.Length)] = (byte)random.Next(256);
            }

            ParsedRequest parsed = Parse(payload);
            Assert.True(parsed.Request is null != parsed.Failure is null);
            Assert.True(parsed.Failure is null or { Code: FailureCode.BadRequest });
            good += parsed.Request is null ? 0 : 1;
        }

        Assert.InRange(good, 100, 4900); // both outcomes are met
    }

    private static ParsedRequest Parse(string payload) => s_parser.Parse(Message(payload), s_defaults);

    private static ParsedRequest Parse(byte[] payload) => s_parser.Parse(new InboundMessage(s_topics.Request, payload), s_defaults);

    private static InboundMessage Message(string payload) => new(s_topics.Request, Encoding.UTF8.GetBytes(payload));
}
