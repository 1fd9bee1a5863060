using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public sealed class ModelConverterTests
{
    private static readonly int[] s_tokens = [.. Enumerable.Range(2, 30)];

    [Fact]
    public void Bf16_OfAFolder_IsTheSameModel()
    {
        using var folder = new TemporaryFolder();
        IReadOnlyList<ConvertedTensor> report = Convert(TestData.DemoModel, folder["m.gguf"], "bf16");
        Assert.All(report, tensor => Assert.Equal(0, tensor.RelativeError));
        using LoadedModel expected = LoadedModel.Open(TestData.DemoModel), actual = LoadedModel.Open(folder["m.gguf"]);
        ModelFileFolders.AssertSame(expected, actual);
        Assert.Equal(expected.ChatTemplateText, actual.ChatTemplateText);
        Assert.Equal(expected.Generation.DoSample == false ? 0 : expected.Generation.Temperature, actual.Generation.Temperature);

        List<int> expectedIds = [], actualIds = [];
        const string Text = "<bos><|turn>user\nTurn on the kitchen light — 21 °C<turn|>";
        expected.OpenTokenizer().Encode(Text, true, expectedIds);
        actual.OpenTokenizer().Encode(Text, true, actualIds);
        Assert.Equal(expectedIds, actualIds);
    }

    [Theory]
    [InlineData("tq4", 0.0079, 0.6)]
    [InlineData("tq3", 0.0316, 0.8)]
    [InlineData("tq2", 0.1138, 1.2)]
    [InlineData("q8", 0.00005, 0.05)]
    [InlineData("polar4", 0.0092, 0.6)]
    [InlineData("prod4", 0.0191, 0.8)]
    public void TurboQuant_ComputesNearlyTheSame(string weights, double expectedError, double mostDifference)
    {
        using var folder = new TemporaryFolder();
        IReadOnlyList<ConvertedTensor> report = Convert(TestData.DemoModel, folder["m.gguf"], weights);
        Assert.All(report.Where(tensor => tensor.Name.Contains(".ffn_up.", StringComparison.Ordinal)), tensor => Assert.InRange(tensor.RelativeError, 0.5 * expectedError, 1.15 * expectedError));
        Assert.All(report.Where(tensor => tensor.Name.Contains(".inp_gate.", StringComparison.Ordinal)), tensor => Assert.Equal("q8", tensor.Format));
        if (weights != "q8")
        {
            Assert.Equal("tq4-nest", report.Single(tensor => tensor.Name == "token_embd.weight").Format);
            Assert.Equal("tq4-64r", report.Single(tensor => tensor.Name == "per_layer_token_embd.weight").Format);
        }

        float[] expected = Logits(TestData.DemoModel), actual = Logits(folder["m.gguf"]);
        double squares = expected.Zip(actual).Average(pair => Math.Pow(pair.First - pair.Second, 2));
        Assert.True(Math.Sqrt(squares) < mostDifference, $"{weights}: logits are {Math.Sqrt(squares):F3} off");
    }

    [Theory]
    [InlineData("tiny-b-f32")] // keys as values
    [InlineData("tiny-c-f32")]
    [InlineData("tiny-e-f32")] // experts
    public void F32_OfAGguf_IsTheSameModel(string name)
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path($"oracle/{name}.gguf");
        Convert(source, folder["m.gguf"], new ConversionOptions { Tensors = [new("*", "f32")] });
        using LoadedModel expected = LoadedModel.Open(source), actual = LoadedModel.Open(folder["m.gguf"]);
        ModelFileFolders.AssertSame(expected, actual);
        Convert(source, folder["t.gguf"], "tq4");
        Assert.All(Logits(folder["t.gguf"]), logit => Assert.True(float.IsFinite(logit)));
    }

    [Fact]
    public void Auto_TakesALatticeOverExactly()
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-q4_0.gguf");
        IReadOnlyList<ConvertedTensor> report = Convert(source, folder["m.gguf"], "auto");
        ConvertedTensor[] imported = [.. report.Where(tensor => tensor.From == "q4_0")];
        Assert.NotEmpty(imported);
        Assert.All(imported, tensor => Assert.Equal(0, tensor.RelativeError));
        Assert.All(imported, tensor => Assert.StartsWith("lat4-", tensor.Format, StringComparison.Ordinal)); // rows of 32 are one group
        using LoadedModel expected = LoadedModel.Open(source), actual = LoadedModel.Open(folder["m.gguf"]);
        WeightMatrix from = expected.Weights.Layers[0].DownProj, to = actual.Weights.Layers[0].DownProj;
        for (int row = 0; row < from.Rows; row++)
        {
            Assert.Equal(Row(from, row), Row(to, row));
        }
    }

    [Fact]
    public void Bytes_DoNotDependOnThreads()
    {
        using var folder = new TemporaryFolder();
        Convert(TestData.DemoModel, folder["1.gguf"], new ConversionOptions { Threads = 1, Weights = "tq3" });
        Convert(TestData.DemoModel, folder["3.gguf"], new ConversionOptions { Threads = 3, Weights = "tq3" });
        Assert.Equal(File.ReadAllBytes(folder["1.gguf"]), File.ReadAllBytes(folder["3.gguf"]));
    }

    [Fact]
    public void Overrides_TakeBothNames_TheLastCounts()
    {
        using var folder = new TemporaryFolder();
        IReadOnlyList<ConvertedTensor> report = Convert(TestData.DemoModel, folder["m.gguf"], new ConversionOptions
        {
            Weights = "tq4",
            Tensors = [new("blk.*.attn_q.weight", "tq2"), new("layers.0.self_attn.q_proj*", "q8_0")],
        });
        Assert.Equal("q8_0", report.Single(tensor => tensor.Name == "blk.0.attn_q.weight").Format);
        Assert.Equal("tq2-128", report.Single(tensor => tensor.Name == "blk.1.attn_q.weight").Format);
    }

    [Theory]
    [InlineData("blk.0.attn_z.weight", "tq4", "No matrix matches")]
    [InlineData("*", "tq9", "Unknown format 'tq9'")]
    [InlineData("blk.0.attn_q.weight", "lat4-row", "lattice")]
    public void Overrides_ThatCannotBe_AreRefused_AndNothingIsLeft(string name, string format, string said)
    {
        using var folder = new TemporaryFolder();
        var error = Assert.Throws<ConversionException>(() => Convert(TestData.DemoModel, folder["m.gguf"], new ConversionOptions { Tensors = [new(name, format)] }));
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void Diagonal_IsUndoneByTheReader()
    {
        using var folder = new TemporaryFolder();
        Convert(TestData.Path("oracle/tiny-a-f32.gguf"), folder["m.gguf"], "tq4");
        using var file = new MappedFile(folder["m.gguf"]);
        var gguf = new GgufFile(file);
        var writer = new GgufWriter();
        GgufKeys.Copy(writer, file);
        float[] diagonal = new float[gguf.Tensors.Single(tensor => tensor.Name == "blk.0.attn_q.weight").Shape[^1]];
        Array.Fill(diagonal, 4);
        writer.AddTensor("blk.0.attn_q.weight.diag", QuantFormats.F32, [diagonal.Length], to => to.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(diagonal)));
        foreach (StoredTensor tensor in gguf.Tensors)
        {
            writer.AddTensor(tensor.Name, tensor.Format!, tensor.Shape, to => to.Write(file.Span(tensor.Offset, (int)tensor.Bytes)), tensor.Name == "blk.0.attn_q.weight" ? "blk.0.attn_q.weight.diag" : null);
        }

        writer.Write(folder["d.gguf"]);
        using LoadedModel plain = LoadedModel.Open(folder["m.gguf"]), scaled = LoadedModel.Open(folder["d.gguf"]);
        Assert.Equal(Row(plain.Weights.Layers[0].QProj, 3).Select(value => value / 4), Row(scaled.Weights.Layers[0].QProj, 3));
    }

    [Fact]
    public void TurboQuantSource_IsDecodedExactly()
    {
        using var folder = new TemporaryFolder();
        Convert(TestData.Path("oracle/tiny-e-f32.gguf"), folder["m.gguf"], "tq4");
        Convert(folder["m.gguf"], folder["n.gguf"], new ConversionOptions { Tensors = [new("*", "f32")] });
        using LoadedModel coded = LoadedModel.Open(folder["m.gguf"]), decoded = LoadedModel.Open(folder["n.gguf"]);
        foreach (Func<Gemma4Weights, WeightMatrix> pick in new Func<Gemma4Weights, WeightMatrix>[] { w => w.EmbedTokens, w => w.Layers[1].QProj, w => w.Layers[1].Experts!.DownProj[2] })
        {
            WeightMatrix from = pick(coded.Weights), to = pick(decoded.Weights);
            Assert.Equal("f32", to.Format.Name);
            Assert.Equal(Row(from, from.Rows - 1), Row(to, from.Rows - 1));
        }
    }

    internal static IReadOnlyList<ConvertedTensor> Convert(string source, string target, string weights) =>
        Convert(source, target, new ConversionOptions { Weights = weights });

    internal static IReadOnlyList<ConvertedTensor> Convert(string source, string target, ConversionOptions options) =>
        ModelConverter.Convert(source, target, options, (_, _, _) => { }, TestContext.Current.CancellationToken);

    internal static float[] Row(WeightMatrix matrix, int row)
    {
        using var pool = new WorkerPool(1);
        var floats = new float[matrix.Columns];
        new MatrixMultiplier(CpuKernels.Select(null), pool, ActivationFormat.Auto).DecodeRow(matrix, row, floats);
        return floats;
    }

    private static float[] Logits(string path)
    {
        using TestNetwork network = TestNetwork.Open(path, maxChunk: 16, activations: ActivationFormat.Auto);
        return network.Run(s_tokens, network.NewCache(), 16);
    }
}
