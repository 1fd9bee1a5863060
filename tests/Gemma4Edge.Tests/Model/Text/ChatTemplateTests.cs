using System.Text.Json;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model.Text;

public class ChatTemplateTests
{
    private static readonly JsonDocument s_cases = JsonDocument.Parse(File.ReadAllText(TestData.Path("oracle/template/cases.json")));

    public static TheoryData<string> CaseNames => [.. s_cases.RootElement.EnumerateArray().Select(c => c.GetProperty("name").GetString()!)];

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Render_EqualsThePublishedTemplate(string name)
    {
        JsonElement json = s_cases.RootElement.EnumerateArray().Single(c => c.GetProperty("name").GetString() == name);
        string expected = json.GetProperty("expected").GetString()!;
        TemplateForm form = json.GetProperty("form").GetString() == "31b" ? TemplateForm.Big : TemplateForm.Small;
        Conversation conversation = Conversation.Parse(json);

        Assert.Equal(expected, ChatTemplate.RenderText(conversation, form));
        List<int> ids = ChatTemplate.RenderIds(conversation, form, Tokenizers.Gemma4);
        Assert.Equal(Tokenizers.Gemma4.Encode(expected, specialTokens: true), ids);
        var shown = new Detokenizer(Tokenizers.Gemma4, showSpecialTokens: true);
        Assert.Equal(expected, string.Concat(ids.Select(shown.Push)));
    }

    [Fact]
    public void Cases_AreAllThere() => Assert.Equal(51, CaseNames.Count);

    [Fact]
    public void Render_EqualsThePublishedTemplate_OnRandomConversations()
    {
        string[] lines = File.ReadAllLines(TestData.Path("template/random-conversations.jsonl"));

        Assert.Equal(200, lines.Length);
        Assert.All(lines, line =>
        {
            using JsonDocument json = JsonDocument.Parse(line);
            TemplateForm form = json.RootElement.GetProperty("form").GetString() == "31b" ? TemplateForm.Big : TemplateForm.Small;
            Assert.Equal(json.RootElement.GetProperty("expected").GetString(), ChatTemplate.RenderText(Conversation.Parse(json.RootElement), form));
        });
    }

    [Fact]
    public void DemoEvaluation_PromptsAndIdsAgree()
    {
        int count = 0;
        foreach (string line in File.ReadLines(Path.Combine(TestData.DemoModel, "eval-dev.jsonl")))
        {
            using JsonDocument json = JsonDocument.Parse(line);
            string prompt = json.RootElement.GetProperty("prompt").GetString()!;
            string completion = json.RootElement.GetProperty("completion").GetString()!;
            Conversation conversation = Conversation.Parse(json.RootElement);

            Assert.Equal(prompt, ChatTemplate.RenderText(conversation, TemplateForm.Small));
            List<int> ids = Tokenizers.DemoJson.Encode(prompt, specialTokens: true);
            Assert.Equal(ids, ChatTemplate.RenderIds(conversation, TemplateForm.Small, Tokenizers.DemoJson));
            Assert.Equal(ids, Tokenizers.DemoSentencePiece.Encode(prompt, specialTokens: true));
            Assert.Equal(ids, Tokenizers.DemoGguf.Encode(prompt, specialTokens: true));
            Assert.Equal(Tokenizers.DemoJson.Encode(completion, specialTokens: true), Tokenizers.DemoSentencePiece.Encode(completion, specialTokens: true));
            count++;
        }
        Assert.Equal(500, count);
    }

    public static TheoryData<string> SpecialNames => [.. SpecialTokens.Names];

    [Theory]
    [MemberData(nameof(SpecialNames))]
    public void TextFromOutside_NeverBecomesASpecialToken(string special)
    {
        List<int> harmless = SpecialIds(Hostile("word"));

        Assert.Equal(harmless, SpecialIds(Hostile(special)));
        Assert.Equal(harmless, SpecialIds(Hostile($"\n{special}{special} x")));
        Assert.True(harmless.Count > 30);
    }

    /// <summary>The text in every place that a sender can fill: messages, declarations, calls, answers; keys and names as well.</summary>
    private static Conversation Hostile(string text)
    {
        string word = JsonSerializer.Serialize(text, SerializerContext.Default.String);
        using JsonDocument json = JsonDocument.Parse($$"""
            {
              "messages": [
                {"role": "system", "content": {{word}} },
                {"role": "user", "content": [{"type": "text", "text": {{word}} }] },
                {"role": "assistant", "reasoning_content": "r", "content": "one", "tool_calls": [
                  {"id": {{word}}, "function": {"name": {{word}}, "arguments": { {{word}}: {{word}}, "z": [ {{word}}, { {{word}}: {{word}} }] } } } ] },
                {"role": "tool", "tool_call_id": {{word}}, "name": {{word}}, "content": {{word}} },
                {"role": "tool", "content": { {{word}}: {{word}} } },
                {"role": "assistant", "reasoning": "q", "content": "two", "tool_responses": [{"name": {{word}}, "response": {{word}} }] },
                {"role": "developer", "content": {{word}} }
              ],
              "tools": [ {"type": "function", "function": {"name": {{word}}, "description": {{word}}, "parameters": {
                "type": "object", "required": [ {{word}} ], "properties": {
                  {{word}}: {"type": "string", "description": {{word}}, "enum": [ {{word}} ] },
                  "z": {"type": "array", "items": {"type": "string", "enum": [ {{word}} ], "w": { {{word}}: {{word}} } } } } } } } ]
            }
            """);
        return Conversation.Parse(json.RootElement);
    }

    private static List<int> SpecialIds(Conversation conversation) =>
        [.. ChatTemplate.RenderIds(conversation, TemplateForm.Small, Tokenizers.Gemma4).Where(Tokenizers.Gemma4.IsSpecial)];

    [Fact]
    public void WordsOfTemplateAndUser_AreMergedAsOneFragment()
    {
        // In the real vocabulary two newlines are one token: the template's own and the user's must meet.
        Conversation conversation = new([new ChatMessage(ChatRole.Assistant) { Reasoning = "\nso" }]);

        Assert.Contains(108, ChatTemplate.RenderIds(conversation, TemplateForm.Small, Tokenizers.Gemma4));
    }

    [Fact]
    public void AnImage_IsRefused_WhenTheVocabularyHasNone()
    {
        Conversation conversation = new([new ChatMessage(ChatRole.User) { Parts = [new ContentPart(ContentKind.Image)] }]);

        Assert.Throws<FormatException>(() => ChatTemplate.RenderIds(conversation, TemplateForm.Small, Tokenizers.DemoJson));
    }

    [Theory]
    [InlineData("1.0", "1.0")]
    [InlineData("-0.0", "-0.0")]
    [InlineData("-0", "0")]
    [InlineData("1e15", "1000000000000000.0")]
    [InlineData("1e16", "1e+16")]
    [InlineData("123456789012345678901234567890", "123456789012345678901234567890")]
    [InlineData("0.0001", "0.0001")]
    [InlineData("0.00001", "1e-05")]
    [InlineData("1.7976931348623157e308", "1.7976931348623157e+308")]
    [InlineData("5e-324", "5e-324")]
    [InlineData("1E2", "100.0")]
    [InlineData("12345678.90", "12345678.9")]
    [InlineData("1e999", "inf")]
    public void Numbers_ArePrintedAsPythonDoes(string json, string expected)
    {
        using JsonDocument number = JsonDocument.Parse(json);

        Assert.Equal(expected, PythonText.Number(number.RootElement));
    }

    [Theory]
    [InlineData("\u00a0\u2003 x\u001c\u0085 y \u3000\r\n", "x\u001c\u0085 y")]
    [InlineData("\u200bx\ufeff", "\u200bx\ufeff")]
    [InlineData(" \t", "")]
    public void Trimming_TakesWhatPythonCallsSpace(string text, string expected) => Assert.Equal(expected, PythonText.Strip(text));

    [Fact]
    public void Members_AreSortedWithoutCase_ByCodePoint()
    {
        using JsonDocument json = JsonDocument.Parse("""{"\uffee":1,"𐐨":2,"b":3,"A":4,"a_2":5,"a":6,"B":7,"b":8}""");

        Assert.Equal(["A", "a", "a_2", "b", "B", "\uffee", "𐐨"], PythonText.DictSort(json.RootElement).Select(m => m.Key));
        Assert.Equal(8, PythonText.DictSort(json.RootElement).Single(m => m.Key == "b").Value.GetInt32());
    }
}
