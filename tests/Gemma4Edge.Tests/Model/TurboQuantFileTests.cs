using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public sealed class TurboQuantFileTests
{
    [Fact]
    public void Open_RefusesEveryDamageToTheHeader()
    {
        using var folder = new TemporaryFolder();
        byte[] whole = Make(folder, out int header);
        var random = new Random(21);
        for (int i = 0; i < 300; i++)
        {
            byte[] damaged = i % 3 == 0 ? whole[..(1 + random.Next(whole.Length - 1))] : [.. whole];
            for (int flips = i % 3; flips > 0; flips--)
            {
                damaged[random.Next(header)] ^= (byte)(1 << random.Next(8));
            }

            File.WriteAllBytes(folder["d.gguf"], damaged);
            if (!damaged.AsSpan().SequenceEqual(whole))
            {
                Assert.Throws<ModelFileException>(() => LoadedModel.Open(folder["d.gguf"]).Dispose());
            }
        }
    }

    [Fact]
    public void Verify_FindsEveryFlippedDataBit()
    {
        using var folder = new TemporaryFolder();
        byte[] whole = Make(folder, out _);
        TensorInfo[] tensors;
        using (LoadedModel model = LoadedModel.Open(folder["m.gguf"]))
        {
            Assert.True(model.HasChecksums);
            Assert.Empty(model.Verify(null, TestContext.Current.CancellationToken));
            tensors = [.. model.Tensors.Where(tensor => tensor.Format != "f32")]; // a norm may become no number: refused at open
        }

        var random = new Random(22);
        using FileStream file = new(folder["m.gguf"], FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        for (int i = 0; i < 300; i++)
        {
            TensorInfo tensor = tensors[random.Next(tensors.Length)];
            long at = tensor.Offset + random.NextInt64(tensor.Bytes);
            Write(at, (byte)(whole[at] ^ (1 << random.Next(8))));
            using (LoadedModel model = LoadedModel.Open(folder["m.gguf"]))
            {
                Assert.Equal([tensor.Name], model.Verify(null, TestContext.Current.CancellationToken));
            }

            Write(at, whole[at]);
        }

        void Write(long at, byte value)
        {
            file.Position = at;
            file.WriteByte(value);
        }
    }

    [Theory]
    [InlineData("scheme=tq", "scheme=tz")]
    [InlineData("bits=4", "bits=9")]
    [InlineData("bits=4", "bits=3")]
    [InlineData("rotation=128", "rotation=96")]
    [InlineData("group=128", "group=256")]
    [InlineData("shape=256x128", "shape=256x160")]
    [InlineData("shape=256x128", "shape=2147483647x65504")]
    [InlineData("shape=256x128", "shape=256")]
    [InlineData("levels=-61", "levels=-99")]
    [InlineData("seed=5", "seed=-5")]
    [InlineData("seed=5", "seed=5 seed=5")]
    [InlineData("seed=5", "seed=5 other=1")]
    public void Parse_RefusesWhatDoesNotFit(string found, string damaged)
    {
        var format = Gemma4Edge.Kernels.TurboQuantFormats.Tq(4, 128, 5);
        string text = TurboQuantKeys.Describe(format, [256, 128], diagonal: null);
        Assert.Contains(found, text, StringComparison.Ordinal);
        long bytes = format.MatrixBytes(256, 128);
        Assert.Equal([256, 128], TurboQuantKeys.Parse(text, bytes).Shape);
        Assert.Throws<FormatException>(() => TurboQuantKeys.Parse(text.Replace(found, damaged, StringComparison.Ordinal), bytes));
        Assert.Throws<FormatException>(() => TurboQuantKeys.Parse(text, bytes - 1));
    }

    private static byte[] Make(TemporaryFolder folder, out int header)
    {
        ModelConverterTests.Convert(TestData.Path("oracle/tiny-a-f32.gguf"), folder["m.gguf"], "tq3");
        using var file = new MappedFile(folder["m.gguf"]);
        var gguf = new GgufFile(file);
        GgufValue checksum = gguf.Metadata.Values[TurboQuantKeys.HeaderChecksum];
        header = (int)checksum.Offset + sizeof(uint); // what follows are tensor entries and padding
        return File.ReadAllBytes(folder["m.gguf"]);
    }
}
