using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Tests.Model;

public sealed class CalibrationTests
{
    private static readonly string s_items = TestData.DemoModel + "/eval-dev.jsonl";

    /// <summary>The same text in both runs: whether other text gains too is a question for tests/soak/quality.sh.</summary>
    [Fact]
    public void Outputs_AreNearerToTheSource_AndWeightsFarther()
    {
        using var folder = new TemporaryFolder();
        string text = Text(folder, items: 30);
        IReadOnlyList<ConvertedTensor> plain = ModelConverterTests.Convert(TestData.DemoModel, folder["plain.gguf"], "tq2");
        IReadOnlyList<ConvertedTensor> tuned = ModelConverterTests.Convert(TestData.DemoModel, folder["tuned.gguf"], new ConversionOptions { Weights = "tq2", Calibration = text });
        foreach ((ConvertedTensor before, ConvertedTensor after) in plain.Zip(tuned))
        {
            bool changed = after.Format.StartsWith("tq2", StringComparison.Ordinal);
            Assert.Equal(before.Name, after.Name);
            Assert.True(changed ? after.RelativeError > before.RelativeError && after.RelativeError < 0.5 : after.RelativeError == before.RelativeError, $"{after.Name}: {before.RelativeError} became {after.RelativeError}");
        }

        double errorBefore = 0, errorAfter = 0;
        foreach (CalibrationText item in CalibrationText.Read(text, LoadedModel.OpenTokenizer(TestData.DemoModel), 1024, 2048))
        {
            float[] expected = Answer(TestData.DemoModel);
            errorBefore += Distance(expected, Answer(folder["plain.gguf"]));
            errorAfter += Distance(expected, Answer(folder["tuned.gguf"]));

            float[] Answer(string path) => Logits(path, item.Tokens)[^(item.AnswerCount * 4096)..];
        }

        Assert.InRange(errorAfter / errorBefore, 0.1, 0.8);
    }

    [Fact]
    public void Bytes_DoNotDependOnThreads()
    {
        using var folder = new TemporaryFolder();
        string text = Text(folder, items: 3);
        foreach (int threads in (int[])[1, 3])
        {
            ModelConverterTests.Convert(TestData.DemoModel, folder[$"{threads}.gguf"], new ConversionOptions { Threads = threads, Weights = "tq3", Calibration = text });
        }

        Assert.Equal(File.ReadAllBytes(folder["1.gguf"]), File.ReadAllBytes(folder["3.gguf"]));
    }

    [Theory]
    [InlineData("oracle/tiny-b-f32.gguf")] // keys as values
    [InlineData("oracle/tiny-e-f32.gguf")] // experts
    public void OtherShapes_CanBeCalibrated(string name)
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path(name);
        File.WriteAllText(folder["t.txt"], string.Join(' ', Enumerable.Range(0, 1500)));
        ModelConverterTests.Convert(source, folder["plain.gguf"], "tq3");
        ModelConverterTests.Convert(source, folder["tuned.gguf"], new ConversionOptions { Weights = "tq3", Calibration = folder["t.txt"] });
        int[] tokens = [.. Enumerable.Range(2, 20)];
        Assert.All(Logits(folder["tuned.gguf"], tokens), logit => Assert.True(float.IsFinite(logit)));
        Assert.NotEqual(Logits(folder["plain.gguf"], tokens), Logits(folder["tuned.gguf"], tokens));
    }

    [Fact]
    public void TooLittleText_ChangesNothing()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["t.txt"], "Turn on the kitchen light");
        ModelConverterTests.Convert(TestData.DemoModel, folder["plain.gguf"], "tq3");
        ModelConverterTests.Convert(TestData.DemoModel, folder["tuned.gguf"], new ConversionOptions { Weights = "tq3", Calibration = folder["t.txt"] });
        Assert.Equal(File.ReadAllBytes(folder["plain.gguf"]), File.ReadAllBytes(folder["tuned.gguf"]));
    }

    [Theory]
    [InlineData("t.txt", "", "no text")]
    [InlineData("t.jsonl", "\n \n", "no text")]
    [InlineData("t.jsonl", "{\"text\": \"a\"}\n{\"prompt\": \"b\"}\n", "line 2")]
    [InlineData("t.jsonl", "{\"text\": 1}\n", "line 1")]
    [InlineData("t.jsonl", "\n[]\n", "line 2")]
    [InlineData("t.jsonl", "{\"text\"\n", "line 1")]
    [InlineData("t.jsonl", null, "does not exist")]
    public void File_ThatIsNoCalibrationText_IsRefused(string name, string? content, string said)
    {
        using var folder = new TemporaryFolder();
        if (content is not null)
        {
            File.WriteAllText(folder[name], content);
        }

        var error = Assert.Throws<ConversionException>(() => ModelConverterTests.Convert(TestData.DemoModel, folder["m.gguf"], new ConversionOptions { Calibration = folder[name] }));
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(folder["m.gguf"]));
    }

    [Fact]
    public void Adapter_IsRefused()
    {
        using var folder = new TemporaryFolder();
        var error = Assert.Throws<ConversionException>(() => ModelConverterTests.Convert(TestData.DemoModel, folder["m.gguf"], new ConversionOptions { Calibration = s_items, Adapter = folder.Path }));
        Assert.Contains("bf16 first", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Prompts_KeepTheirEnd_AndTextIsCut()
    {
        using var folder = new TemporaryFolder();
        GemmaTokenizer tokenizer = LoadedModel.OpenTokenizer(TestData.DemoModel);
        File.WriteAllText(folder["t.jsonl"], "{\"prompt\": \"<bos>one two three four five six\", \"completion\": \" seven\"}\n{\"text\": \"one two three four five six\"}\n");
        List<CalibrationText> whole = CalibrationText.Read(folder["t.jsonl"], tokenizer, 1024, 1024), cut = CalibrationText.Read(folder["t.jsonl"], tokenizer, 5, 1024);
        Assert.Equal(whole[0].Tokens[^5..], cut[0].Tokens);
        Assert.Equal(whole[0].AnswerCount, cut[0].AnswerCount);
        Assert.Equal(tokenizer.Special.Bos, whole[0].Tokens[0]);
        Assert.Equal((0, tokenizer.Special.Bos), (whole[1].PromptCount, whole[1].Tokens[0]));
        Assert.Equal(whole[1].Tokens[1..], cut.Skip(1).SelectMany(part => part.Tokens[1..]));
        Assert.All(cut, part => Assert.InRange(part.Tokens.Length, 2, 5));
        Assert.Single(CalibrationText.Read(folder["t.jsonl"], tokenizer, 1024, 1));
    }

    private static string Text(TemporaryFolder folder, int items)
    {
        File.WriteAllLines(folder["t.jsonl"], File.ReadLines(s_items).Take(items));
        return folder["t.jsonl"];
    }

    private static float[] Logits(string path, int[] tokens)
    {
        using TestNetwork network = TestNetwork.Open(path, maxChunk: 16);
        return network.Run(tokens, network.NewCache(), 16);
    }

    private static double Distance(float[] expected, float[] actual) => expected.Zip(actual).Average(pair => Math.Pow(pair.First - pair.Second, 2));
}
