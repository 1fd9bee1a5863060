using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

/// <summary>Damaged files either open or are refused with a <see cref="ModelFileException"/>; nothing else happens, and little is allocated.</summary>
public class ModelFileDamageTests
{
    private const long MaxAllocatedBytes = 64 << 20;

    [Theory]
    [InlineData("tiny-a-q4_0")]
    [InlineData("tiny-b-f32")]
    [InlineData("tiny-e-f32")]
    public void Open_SurvivesATruncatedGguf(string name)
    {
        using var folder = new TemporaryFolder();
        byte[] whole = File.ReadAllBytes(TestData.Path($"oracle/{name}.gguf"));
        int header = HeaderBytes(name);
        var random = new Random(11);
        for (int i = 0; i < 100; i++)
        {
            int length = 1 + random.Next(i % 2 == 0 ? header : whole.Length - 1); // half of them inside the header
            File.WriteAllBytes(folder["m.gguf"], whole[..length]);
            Assert.False(Opens(folder["m.gguf"]), $"{length} of {whole.Length} bytes opened");
        }
    }

    [Theory]
    [InlineData("tiny-a-q4_0", 12)]
    [InlineData("tiny-e-f32", 13)]
    public void Open_SurvivesFlippedHeaderBytes(string name, int seed)
    {
        var random = new Random(seed);
        int header = HeaderBytes(name);
        int opened = 0;
        DamageInPlace(name, 400, header, file =>
        {
            for (int flips = 1 + random.Next(4); flips > 0; flips--)
            {
                Overwrite(file, random.Next(header), [(byte)random.Next(256)]);
            }
        }, ref opened);
        Assert.InRange(opened, 1, 399); // both happen: a changed letter of a token harms nothing
    }

    [Theory]
    [InlineData("tiny-a-q4_0", ulong.MaxValue)]
    [InlineData("tiny-a-q4_0", 1UL << 63)]
    [InlineData("tiny-a-q4_0", 0x7fff_ffffUL)]
    [InlineData("tiny-a-q4_0", 0UL)]
    [InlineData("tiny-e-f32", ulong.MaxValue)]
    public void Open_SurvivesANumberBlownUp_AnywhereInTheHeader(string name, ulong value)
    {
        int position = -11;
        int header = HeaderBytes(name);
        int opened = 0;
        DamageInPlace(name, header / 11, header, file => Overwrite(file, Math.Min(position += 11, header - 8), BitConverter.GetBytes(value)), ref opened);
        Assert.InRange(opened, 0, header / 22);
    }

    [Fact]
    public void Open_SurvivesFlippedTensorData()
    {
        var random = new Random(14);
        int header = HeaderBytes("tiny-a-q4_0");
        int opened = 0;
        DamageInPlace("tiny-a-q4_0", 100, int.MaxValue, file =>
        {
            byte[] noise = new byte[64];
            random.NextBytes(noise);
            Overwrite(file, random.Next(header, (int)file.Length - noise.Length), noise);
        }, ref opened);
        Assert.InRange(opened, 50, 100); // the values of matrices cannot be checked; a norm may have become NaN
    }

    [Fact]
    public void Open_SurvivesADamagedSafetensorsHeader()
    {
        using var folder = new TemporaryFolder();
        ModelFileFolders.Convert(TestData.Path("oracle/tiny-a-f16.gguf"), folder.Path, "model.");
        byte[] whole = File.ReadAllBytes(folder["model.safetensors"]);
        int header = 8 + (int)BitConverter.ToUInt64(whole);
        var random = new Random(15);
        for (int i = 0; i < 300; i++)
        {
            byte[] damaged = i % 3 == 0 ? whole[..(1 + random.Next(header))] : [.. whole];
            for (int flips = i % 3; flips > 0; flips--)
            {
                damaged[random.Next(header)] = (byte)random.Next(256);
            }

            File.WriteAllBytes(folder["model.safetensors"], damaged);
            _ = Opens(folder.Path);
        }
    }

    [Fact]
    public void Open_SurvivesADamagedConfig()
    {
        using var folder = new TemporaryFolder();
        ModelFileFolders.Convert(TestData.Path("oracle/tiny-e-f32.gguf"), folder.Path, "model.");
        byte[] whole = File.ReadAllBytes(folder["config.json"]);
        var random = new Random(16);
        for (int i = 0; i < 300; i++)
        {
            byte[] damaged = [.. whole];
            damaged[random.Next(damaged.Length)] = (byte)"0123456789-.eE\"{}[],:nutf"[random.Next(25)];
            File.WriteAllBytes(folder["config.json"], damaged);
            _ = Opens(folder.Path);
        }
    }

    /// <summary>Damages the first <paramref name="mendBytes"/> of a copy of a tiny model, opens it, mends it, and so on.</summary>
    private static void DamageInPlace(string name, int count, int mendBytes, Action<FileStream> damage, ref int opened)
    {
        using var folder = new TemporaryFolder();
        byte[] whole = File.ReadAllBytes(TestData.Path($"oracle/{name}.gguf"));
        File.WriteAllBytes(folder["m.gguf"], whole);
        using FileStream file = new(folder["m.gguf"], FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        for (int i = 0; i < count; i++)
        {
            damage(file);
            opened += Opens(folder["m.gguf"]) ? 1 : 0;
            Overwrite(file, 0, whole.AsSpan(0, Math.Min(mendBytes, whole.Length)));
        }
    }

    private static void Overwrite(FileStream file, long position, ReadOnlySpan<byte> bytes)
    {
        file.Position = position;
        file.Write(bytes);
    }

    /// <summary>Whether a file opens; if not it must be refused properly, and without allocating much.</summary>
    internal static bool Opens(string path)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        bool opened = false;
        try
        {
            using LoadedModel model = LoadedModel.Open(path);
            opened = true;
            _ = model.OpenTokenizer();
        }
        catch (ModelFileException)
        {
        }

        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocatedBytes < MaxAllocatedBytes, $"{allocatedBytes} bytes allocated");
        return opened;
    }

    private static int HeaderBytes(string name)
    {
        using var file = new MappedFile(TestData.Path($"oracle/{name}.gguf"));
        return (int)new GgufFile(file).Tensors.Min(tensor => tensor.Offset);
    }
}
