using System.Globalization;
using System.Runtime.InteropServices;

namespace Gemma4Edge.Tests.Cli;

public sealed class LogitsTests
{
    public static TheoryData<string> Cases { get; } =
        [.. Directory.GetFiles(TestData.Path("oracle"), "*.numpy.f32").Select(file => Path.GetFileName(file).Replace(".numpy.f32", "", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task AllRows_AreWithin5e4_OfTheReference(string name)
    {
        string[] parts = name.Split(".t"); // tiny-a-f32.t40: model, prompt length
        string tokens = File.ReadAllText(TestData.Path($"oracle/tokens-{parts[1]}.txt")) + " "
            + string.Join(' ', File.ReadLines(TestData.Path($"oracle/{name}.numpy.greedy.txt")).Select(line => line.Split(' ')[0]));
        using var rows = new TempFile();

        CliResult result = await TestCli.RunAsync("logits", TestData.Path($"oracle/{parts[0]}.gguf"), "--tokens", tokens, "--all", "--out", rows.Path, "--chunk", "16");

        Assert.True(result.Code == 0, result.Error);
        float[] expected = TestData.Floats($"oracle/{name}.numpy.f32");
        float[] actual = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(rows.Path)).ToArray();
        Assert.Equal(expected.Length, actual.Length);
        float worst = expected.Zip(actual, (a, b) => MathF.Abs(a - b)).Max();
        Assert.True(worst < 5e-4f, $"{worst}");
    }

    [Fact]
    public async Task LastRow_IsShownAsTheTenBestTokens()
    {
        string[] greedy = File.ReadLines(TestData.Path("oracle/tiny-a-f32.t5.numpy.greedy.txt")).First().Split(' ');

        CliResult result = await TestCli.RunAsync("logits", TestData.Path("oracle/tiny-a-f32.gguf"), "--tokens", File.ReadAllText(TestData.Path("oracle/tokens-5.txt")));

        Assert.Equal(11, result.Lines.Length);
        string[] best = result.Lines[1].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(greedy[0], best[0]);
        Assert.Equal(float.Parse(greedy[1], CultureInfo.InvariantCulture), float.Parse(best[1], CultureInfo.InvariantCulture), 1e-3f);
    }
}
