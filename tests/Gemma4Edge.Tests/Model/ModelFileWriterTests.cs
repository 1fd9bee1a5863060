using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public class ModelFileWriterTests
{
    [Fact]
    public void Write_ReadsBack()
    {
        using var folder = new TemporaryFolder();
        var writer = new GgufWriter();
        writer.Add("text", "grün");
        writer.Add("integer", 7u);
        writer.Add("number", 0.5f);
        writer.Add("flag", true);
        writer.Add("integers", [1, -2, 3]);
        writer.Add("numbers", [1f, 2f]);
        writer.Add("flags", [true, false]);
        writer.Add("texts", ["", "▁a b"]);
        writer.AddTensor("first", QuantFormats.Q4_0, [3, 64], to => to.Write([.. Enumerable.Repeat((byte)1, 3 * 2 * 18)]));
        writer.AddTensor("second", QuantFormats.F32, [2], to => to.Write(new byte[8]));
        writer.Write(folder["m.gguf"]);

        using var file = new MappedFile(folder["m.gguf"]);
        var read = new GgufFile(file);
        GgufMetadata metadata = read.Metadata;
        Assert.Equal(("grün", 7, 0.5f), (metadata.Text("text"), metadata.Int32("integer", 0, 10), metadata.Single("number")));
        Assert.Equal([1, -2, 3], metadata.Int32s("integers", 3, -10, 10));
        Assert.Equal([7, 7], metadata.Int32s("integer", 2, 0, 10));
        Assert.Equal([true, false], metadata.Bools("flags", 2));
        Assert.Equal((2, 0, "▁a b"), (metadata.Texts("texts").Count, metadata.Texts("texts")[0].Length, System.Text.Encoding.UTF8.GetString(metadata.Texts("texts")[1])));
        Assert.Equal([("first", 0), ("second", 0)], read.Tensors.Select(tensor => (tensor.Name, (int)(tensor.Offset % GgufWriter.PageAlignment))));
        Assert.Equal([3, 64], read.Tensors[0].Shape);
        Assert.Equal(108, read.Tensors[0].Bytes);
        Assert.Equal(1, file.Span(read.Tensors[0].Offset + 107, 1)[0]);
    }

    [Fact]
    public void Write_LeavesTheOldFile_WhenItFails()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["m.gguf"], "old");
        var writer = new GgufWriter();
        writer.AddTensor("short", QuantFormats.F32, [2], to => to.Write(new byte[4]));
        Assert.Throws<InvalidOperationException>(() => writer.Write(folder["m.gguf"]));
        Assert.Equal("old", File.ReadAllText(folder["m.gguf"]));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void Write_SaysWhatTheDiskLacks_BeforeItBegins()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["m.gguf"], "old");
        var writer = new GgufWriter();
        writer.AddTensor("huge", QuantFormats.F32, [1 << 30, 1 << 20], _ => Assert.Fail("No byte of it may be written."));
        var error = Assert.Throws<IOException>(() => writer.Write(folder["m.gguf"]));
        Assert.Contains("needs 4503599.63 GB, but " + folder.Path, error.Message, StringComparison.Ordinal);
        Assert.Equal(28, error.HResult);
        Assert.Equal("old", File.ReadAllText(folder["m.gguf"]));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Theory]
    [InlineData("bf16", 16)]
    [InlineData("q8_0", 8.5)]
    [InlineData("q4_0", 4.5)]
    public void Synthetic_OpensAndIsItsSeedsAlone(string name, double bits)
    {
        using var folder = new TemporaryFolder();
        Assert.True(QuantFormats.TryFromName(name, out QuantFormat? format));
        double last = 0;
        SyntheticModel.Write(folder["a.gguf"], "tiny", format, seed: 1, share => last = share > last ? share : throw new InvalidOperationException("progress went back"), TestContext.Current.CancellationToken);
        SyntheticModel.Write(folder["b.gguf"], "tiny", format, seed: 1, null, TestContext.Current.CancellationToken);
        SyntheticModel.Write(folder["c.gguf"], "tiny", format, seed: 2, null, TestContext.Current.CancellationToken);
        Assert.Equal(1, last);
        Assert.Equal(File.ReadAllBytes(folder["a.gguf"]), File.ReadAllBytes(folder["b.gguf"]));
        Assert.NotEqual(File.ReadAllBytes(folder["a.gguf"]), File.ReadAllBytes(folder["c.gguf"]));

        using LoadedModel model = LoadedModel.Open(folder["a.gguf"]);
        Assert.Equal(bits, model.Tensors.First(tensor => tensor.Shape.Count == 2).Bits);
        Assert.Equal((17 * 10) + 6 - (3 * 5), model.Tensors.Count); // without dead keys and values
        Assert.Equal(2, model.Config.IntermediateSizes[^1] / model.Config.IntermediateSizes[0]);
        Assert.Equal(4096, model.OpenTokenizer().VocabSize);
        Assert.InRange(Deviation(model.Weights.Layers[0].DownProj), 0.9, 1.1);
        Assert.InRange(Deviation(model.Weights.EmbedTokens), 0.9, 1.1);
        Assert.Equal(256, DistinctRows(model.Weights.EmbedTokens, 256));
    }

    [Theory]
    [InlineData("e2b", 4_647_449_891 - 18_880_512, 541)]
    [InlineData("e4b", 7_518_069_034 - 55_055_616, 666)]
    public void Synthetic_HasTheRealModelsSize(string size, long parameters, int tensors)
    {
        (string Name, int[] Shape)[] shapes = [.. SyntheticModel.Shapes(SyntheticModel.ConfigOf(size))];
        Assert.Equal(parameters, shapes.Sum(tensor => tensor.Shape.Aggregate(1L, (count, length) => count * length)));
        Assert.Equal(tensors, shapes.Length + 1); // rope_freqs
    }

    [Fact]
    public void Synthetic_LeavesNothing_WhenCancelled()
    {
        using var folder = new TemporaryFolder();
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() => SyntheticModel.Write(folder["a.gguf"], "tiny", QuantFormats.Q4_0, 1, null, cancelled.Token));
        Assert.Empty(Directory.GetFiles(folder.Path));
        Assert.Throws<ArgumentException>(() => SyntheticModel.Write(folder["a.gguf"], "tiny", QuantFormats.Q6_K, 1, null, CancellationToken.None));
        Assert.Throws<ArgumentException>(() => SyntheticModel.ConfigOf("e3b"));
    }

    /// <summary>√columns times the standard deviation of a matrix' first rows.</summary>
    private static unsafe double Deviation(WeightMatrix matrix)
    {
        const int Rows = 64;
        var row = new float[matrix.Columns];
        double sum = 0;
        for (int i = 0; i < Rows; i++)
        {
            fixed (float* destination = row)
            {
                ((QuantFormat)matrix.Format).Kernels[^1].Decode(matrix.Data + (i * matrix.RowBytes), destination, matrix.Columns);
            }

            sum += row.Sum(value => (double)value * value);
        }

        return Math.Sqrt(sum / Rows);
    }

    private static unsafe int DistinctRows(WeightMatrix matrix, int rows) =>
        Enumerable.Range(0, rows).Select(row => Convert.ToHexString(new ReadOnlySpan<byte>(matrix.Data + (row * matrix.RowBytes), 64))).Distinct().Count();
}
