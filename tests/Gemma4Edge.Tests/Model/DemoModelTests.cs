using System.Numerics.Tensors;
using System.Text.Json;
using Gemma4Edge.Model;

namespace Gemma4Edge.Tests.Model;

/// <summary>The trained demo model (bf16, a Hugging Face folder) against the logits and the greedy answers of an independent forward pass.</summary>
public class DemoModelTests
{
    private const float Gate = 5e-4f;
    private static readonly JsonElement s_reference = JsonDocument.Parse(File.ReadAllBytes(TestData.Path("demo-reference/reference.json"))).RootElement;

    [Theory]
    [InlineData("plain")]
    [InlineData("single")]
    [InlineData("followup")]
    public void Forward_GivesTheReferenceLogits(string name)
    {
        JsonElement sequence = s_reference.GetProperty("sequences").EnumerateArray().Single(s => s.GetProperty("name").GetString() == name);
        float[] expected = TestData.Floats($"demo-reference/{name}.f32");
        int[] argmax = Numbers(sequence.GetProperty("argmax"));
        using TestNetwork network = TestNetwork.Open(TestData.DemoModel, maxChunk: 64);
        int vocabulary = network.Config.VocabSize;
        float[] logits = network.Run(Numbers(sequence.GetProperty("ids")), network.NewCache(), chunk: 64);

        Assert.Equal(argmax, Enumerable.Range(0, argmax.Length).Select(row => TensorPrimitives.IndexOfMax(logits.AsSpan(row * vocabulary, vocabulary))));
        float largest = Numbers(sequence.GetProperty("rows")).Select((row, index) =>
            TestNetwork.MaxDifference(expected.AsSpan(index * vocabulary, vocabulary), logits.AsSpan(row * vocabulary, vocabulary))).Max();
        Assert.InRange(largest, 0, Gate);
    }

    [Fact]
    public void GreedyDecoding_GivesTheReferenceAnswers()
    {
        using TestNetwork network = TestNetwork.Open(TestData.DemoModel, maxChunk: 64);
        foreach (JsonElement answer in s_reference.GetProperty("greedy").EnumerateArray())
        {
            int[] expected = Numbers(answer.GetProperty("greedy_ids"));
            KvCache cache = network.NewCache();
            float[] logits = network.Prefill(Numbers(answer.GetProperty("prompt_ids")), cache);
            List<int> tokens = [];
            while (tokens.Count < expected.Length)
            {
                tokens.Add(TensorPrimitives.IndexOfMax(logits));
                logits = network.Prefill([tokens[^1]], cache);
            }

            Assert.Equal(expected, tokens);
        }
    }

    private static int[] Numbers(JsonElement array) => [.. array.EnumerateArray().Select(n => n.GetInt32())];
}
