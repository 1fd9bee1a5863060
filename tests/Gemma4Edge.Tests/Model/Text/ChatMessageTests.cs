using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model.Text;

public class ChatMessageTests
{
    [Fact]
    public void Arguments_MayBeAStringThatHoldsAnObject()
    {
        ToolCall call = ToolCall.Parse(Json("""{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1.0,\"b\":\"é\"}"}}"""));

        Assert.Equal("c1", call.Id);
        Assert.Equal("""{"a":1.0,"b":"é"}""", call.Arguments.GetRawText());
        Assert.Equal("""{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1.0,\"b\":\"é\"}"}}""", call.ToJson());
    }

    [Theory]
    [InlineData("""{"function":{"name":"f"}}""")]
    [InlineData("""{"function":{"name":"f","arguments":null}}""")]
    [InlineData("""{"function":{"name":"f","arguments":""}}""")]
    public void Arguments_MayBeAbsent(string json) => Assert.Equal("{}", ToolCall.Parse(Json(json)).Arguments.GetRawText());

    [Fact]
    public void Parse_OutlivesTheCallersDocument()
    {
        ChatMessage message;
        using (JsonDocument json = JsonDocument.Parse("""{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":"b"}}}]}"""))
        {
            message = ChatMessage.Parse(json.RootElement);
        }
        Assert.Equal("b", message.ToolCalls[0].Arguments.GetProperty("a").GetString());
    }

    [Theory]
    [InlineData("""[]""", "$: expected an object, found an array")]
    [InlineData("""{}""", "$.messages is missing")]
    [InlineData("""{"messages":{}}""", "$.messages: expected an array")]
    [InlineData("""{"messages":["x"]}""", "$.messages[0]: expected an object, found the string 'x'")]
    [InlineData("""{"messages":[{"content":"x"}]}""", "$.messages[0].role is missing")]
    [InlineData("""{"messages":[{"role":"<|turn>","content":"x"}]}""", "$.messages[0].role: expected system")]
    [InlineData("""{"messages":[{"role":"user","content":5}]}""", "$.messages[0].content: expected a string, found 5")]
    [InlineData("""{"messages":[{"role":"user","content":{"a":1}}]}""", "$.messages[0].content: expected a string, found an object")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"text"}]}]}""", "$.messages[0].content[0].text is missing")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"smell"}]}]}""", "$.messages[0].content[0].type: expected text")]
    [InlineData("""{"messages":[{"role":"user","content":"\ud800"}]}""", "not valid Unicode")]
    [InlineData("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":""}}]}]}""", "$.messages[0].tool_calls[0].function.name: expected")]
    [InlineData("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}]}""", "arguments (the JSON in it): expected an object")]
    [InlineData("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}]}""", "tool_calls[0].function.arguments: expected a JSON object")]
    [InlineData("""{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":["\udfff"]}}}]}]}""", "not valid Unicode")]
    [InlineData("""{"messages":[],"tools":[{"type":"function"}]}""", "$.tools[0].function is missing")]
    [InlineData("""{"messages":[],"tools":[{"function":{"name":"f","parameters":[]}}]}""", "$.tools[0].function.parameters: expected an object")]
    [InlineData("""{"messages":[],"tools":[{"function":{"name":"f","parameters":{"properties":[]}}}]}""", "parameters.properties: expected an object")]
    [InlineData("""{"messages":[],"enable_thinking":"yes"}""", "$.enable_thinking: expected true or false, found the string 'yes'")]
    public void Parse_NamesThePathOfWhatIsWrong(string json, string expected) =>
        Assert.Contains(expected, Assert.Throws<FormatException>(() => Conversation.Parse(Json(json))).Message, StringComparison.Ordinal);

    private static JsonElement Json(string text)
    {
        using JsonDocument json = JsonDocument.Parse(text);
        return json.RootElement.Clone();
    }
}
