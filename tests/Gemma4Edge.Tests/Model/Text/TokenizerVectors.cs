namespace Gemma4Edge.Tests.Model.Text;

/// <summary>Texts and their token ids in Gemma 4's own vocabulary, as Hugging Face's tokenizer gives them (published with ollama's tests).</summary>
internal static class TokenizerVectors
{
    public static TheoryData<string, string> All { get; } = new()
    {
        { "hello", "23391" },
        { "hello world", "23391 1902" },
        { "Hello, World!", "9259 236764 4109 236888" },
        { "Hello, world!", "9259 236764 1902 236888" },
        { " hello", "29104" },
        { "  hello", "138 23391" },
        { "hello  world", "23391 138 12392" },
        { "   ", "139" },
        { "      ", "142" },
        { " leading spaces", "5830 9952" },
        { "multiple    spaces", "43819 140 35220" },
        { "ąęśćżźółń", "237198 237202 14732 237277 238992 24875 238041" },
        { "Zażółć gęślą jaźń", "236953 40512 24875 237289 549 237202 62081 237198 4828 238992 238041" },
        { "café résumé naïve", "123125 236859 118515 120362" },
        { "L'élève a mangé", "236798 236789 161654 496 14695 236859" },
        { "über Straße Größe", "28223 80176 112880" },
        { "ąęćł", "237198 226110 237114" },
        { "ĀāĂăĄą", "241920 237448 241645 237106 243514 237198" },
        { "你好世界", "144626 12811" },
        { "こんにちは", "85141" },
        { "hello ąęść world café 你好", "23391 236743 237198 237202 14732 1902 33443 43758 237389" },
        { "", "" },
        { "\n\n", "108" },
        { "\t\t", "255969" },
        { "def foo(x): return x + 1", "2063 46293 236769 236781 1473 994 1123 900 236743 236770" },
        { "{\"key\": \"value\"}", "14937 2478 1083 623 2394 25938" },
        { "aaaaaa", "50354 9236" },
        { "hello 👋 world", "23391 155818 1902" },
        { "12345", "236770 236778 236800 236812 236810" },
        { "3.14159", "236800 236761 236770 236812 236770 236810 236819" },
        { "func main() { fmt.Println(\"hello\") }", "6823 1689 825 642 22766 236761 29006 885 23391 1373 682" },
        { "The answer is 42, not 43.5 or -1", "818 3890 563 236743 236812 236778 236764 711 236743 236812 236800 236761 236810 653 753 236770" },
        { "<|turn>user\nWhat is 2+2?<turn|>\n<|turn>model\n", "105 2364 107 3689 563 236743 236778 236862 236778 236881 106 107 105 4368 107" },
        { "<|tool>declaration:bash{description:<|\"|>Run a command<|\"|>}<tool|>", "46 163688 236787 42422 236782 7777 236787 52 7306 496 4991 52 236783 47" },
        { "<|tool_call>call:bash{command:<|\"|>ls -la<|\"|>}<tool_call|>", "48 6639 236787 42422 236782 7674 236787 52 5629 753 2149 52 236783 49" },
        { "<|channel>thought\nLet me think about this...<channel|>The answer is 42.", "100 45518 107 6481 786 1751 1003 672 1390 101 818 3890 563 236743 236812 236778 236761" },
        { "<|turn>system\nYou are a helpful assistant.\n<|tool>declaration:get_weather{description:<|\"|>Get weather<|\"|>,parameters:{properties:{city:{type:<|\"|>STRING<|\"|>}},type:<|\"|>OBJECT<|\"|>}}<tool|><turn|>\n<|turn>user\nWhat's the weather in Paris?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>", "105 9731 107 3048 659 496 11045 16326 236761 107 46 163688 236787 828 236779 19323 236782 7777 236787 52 3407 7606 52 236764 19031 29616 15921 29616 13319 29616 2084 236787 52 35410 52 5237 2084 236787 52 60688 52 1807 47 106 107 105 2364 107 3689 236789 236751 506 7606 528 9079 236881 106 107 105 4368 107 100 45518 107 101" },
    };
}
