using System.Buffers.Binary;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

/// <summary>Damaged TurboQuant files, of a model that has every format: what opening refuses, what verifying finds, and that nothing else ever happens.</summary>
public sealed class TurboQuantDamageTests(TurboQuantDamageTests.Files files) : IClassFixture<TurboQuantDamageTests.Files>
{
    private static readonly string[] s_numbers = ["0", "1", "2", "3", "4", "8", "16", "31", "32", "33", "63", "64", "96", "128", "256", "512", "1024", "65504", "65536", "65568", "1048576", "2147483647", "2147483648", "-1", "-32", "18446744073709551615", "18446744073709551616", "", "x", "1e3", "0x20"];
    private static readonly string[] s_words = ["tq", "lattice", "q8", "polar", "prod", "panel16", "row", "nest", "token_embd.weight", "absent", "output_norm.weight"];
    private static readonly string[] s_shapes = ["1x1", "32x32", "64x32", "32x64", "16x65536", "2147483647x32", "2147483647x65536x2", "2147483647x2147483647x2147483647", "64", "64x0", "64x-32", "2x32x32", "2x2x2x2", "x", "64x32x"];
    private static readonly string[] s_levels = ["0", "1,2", "-61,61", "-63,-9,9,63", "-1,0,1,2,3,4,5,6", "9,8,7,6,5,4,3,2,1,0,-1,-2,-3,-4,-5,-6", "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0", "-64,1,2,3", "127,1,2,3", ",", "1,,2,3"];

    [Fact]
    public void Open_RefusesEveryUnsealedDamageToTheHeader()
    {
        TurboQuantImage image = files.Image;
        var random = new Random(21);
        for (int i = 0; i < 150; i++)
        {
            byte[] damaged = [.. image.Bytes];
            for (int flips = 1 + (i % 3); flips > 0; flips--)
            {
                damaged[random.Next(image.DataStart)] ^= (byte)(1 << random.Next(8)); // the padding behind the entries too
            }

            AssertRefused(damaged, $"change {i}");
        }
    }

    [Fact]
    public void Open_RefusesEveryTruncation()
    {
        TurboQuantImage image = files.Image;
        var random = new Random(22);
        int[] lengths = [.. image.Tensors.SelectMany(tensor => new[] { tensor.Offset, tensor.Offset + 1, tensor.Offset + tensor.Bytes - 1 }), .. Enumerable.Range(0, 60).Select(_ => 1 + random.Next(image.DataStart))];
        foreach (int length in lengths.Where(length => length < image.Bytes.Length))
        {
            AssertRefused(image.Bytes[..length], $"{length} bytes");
        }
    }

    [Fact]
    public void SealedDescriptors_AreRefused_OrTheModelRuns()
    {
        TurboQuantImage image = files.Image;
        var random = new Random(23);
        int ran = 0;
        const int Count = 250;
        for (int i = 0; i < Count; i++)
        {
            int descriptor = random.Next(image.Descriptors.Length);
            List<string> fields = [.. image.Descriptors[descriptor].Text.Split(' ')];
            int field = random.Next(fields.Count);
            string name = fields[field].Split('=')[0];
            string value = name switch
            {
                "scheme" or "layout" or "diag" => Pick(s_words),
                "shape" => Pick(s_shapes),
                "levels" => Pick(s_levels),
                _ => Pick(s_numbers),
            };
            switch (random.Next(10))
            {
                case 0: fields.RemoveAt(field); break;
                case 1: fields.Add(Pick(["wide=1", "folded=1", "diag=absent", "diag=output_norm.weight", "levels=1,2", "bits=4", "unknown=1", "wide=2", ""])); break;
                case 2: fields = [.. image.Descriptors[random.Next(image.Descriptors.Length)].Text.Split(' ')]; break;
                default: fields[field] = $"{name}={value}"; break;
            }

            ran += RefusedOrRuns(image.WithDescriptor(descriptor, string.Join(' ', fields))) ? 1 : 0;
        }

        Assert.InRange(ran, 1, Count / 3); // another seed, rotation or level is a model too, only a bad one
        string Pick(string[] values) => values[random.Next(values.Length)];
    }

    [Fact]
    public void SealedTensorEntries_AreRefused_OrTheModelRuns()
    {
        TurboQuantImage image = files.Image;
        var random = new Random(24);
        int ran = 0;
        for (int i = 0; i < 200; i++)
        {
            byte[] damaged = [.. image.Bytes];
            int at = image.EntryNumbers[random.Next(image.EntryNumbers.Count)];
            Span<byte> number = damaged.AsSpan(at, sizeof(ulong)); // some are 4 bytes: then the next number changes as well
            ulong old = BinaryPrimitives.ReadUInt64LittleEndian(number);
            ulong[] candidates = [0, 1, 31, 32, 33, old + 1, old - 1, old * 2, old + 64, old + 16_384, 1UL << 31, 1UL << 40, 1UL << 63, ulong.MaxValue, BinaryPrimitives.ReadUInt64LittleEndian(image.Bytes.AsSpan(image.EntryNumbers[random.Next(image.EntryNumbers.Count)]))];
            BinaryPrimitives.WriteUInt64LittleEndian(number, candidates[random.Next(candidates.Length)]);
            ran += RefusedOrRuns(image.Sealed(damaged)) ? 1 : 0;
        }

        Assert.InRange(ran, 1, 100);
    }

    [Fact]
    public void SealedRandomBytes_AreRefused_OrTheModelRuns()
    {
        TurboQuantImage image = files.Image;
        var random = new Random(25);
        int ran = 0;
        for (int i = 0; i < 150; i++)
        {
            byte[] damaged = [.. image.Bytes];
            for (int changes = 1 + random.Next(3); changes > 0; changes--)
            {
                damaged[random.Next(image.HeaderEnd)] = (byte)random.Next(256);
            }

            ran += RefusedOrRuns(image.Sealed(damaged)) ? 1 : 0;
        }

        Assert.InRange(ran, 1, 149);
    }

    [Fact]
    public void Verify_FindsEveryFlippedByte_AndNamesItsTensor()
    {
        TurboQuantImage image = files.Image;
        var random = new Random(26);
        List<(int At, string Found)> places = [];
        int end = image.DataStart;
        foreach ((string name, int offset, int bytes) in image.Tensors)
        {
            int[] some = [0, bytes - 1, .. Enumerable.Range(0, 8).Select(_ => random.Next(bytes))];
            places.AddRange(some.Select(at => (offset + at, $"the tensor '{name}'")));
            if (end < offset)
            {
                places.AddRange(new[] { end, offset - 1, random.Next(end, offset) }.Select(at => (at, $"the padding before '{name}'")));
            }

            end = offset + bytes;
        }

        Assert.InRange(places.Count, 500, 5000);
        using FileStream file = new(files.Write(image.Bytes), FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        foreach ((int at, string found) in places)
        {
            Write(at, (byte)(image.Bytes[at] ^ (1 << random.Next(8))));
            try
            {
                using LoadedModel model = LoadedModel.Open(file.Name);
                Assert.Equal([found], model.Verify(null, TestContext.Current.CancellationToken));
            }
            catch (ModelFileException refused) // a norm is no number now
            {
                Assert.Contains(found, refused.Message, StringComparison.OrdinalIgnoreCase);
            }

            Write(at, image.Bytes[at]);
        }

        using LoadedModel whole = LoadedModel.Open(file.Name);
        Assert.Empty(whole.Verify(null, TestContext.Current.CancellationToken));
        file.Position = image.Bytes.Length;
        file.WriteByte(1);
        using LoadedModel longer = LoadedModel.Open(file.Name);
        Assert.Equal(["what follows the last tensor"], longer.Verify(null, TestContext.Current.CancellationToken));

        void Write(int at, byte value)
        {
            file.Position = at;
            file.WriteByte(value);
        }
    }

    [Fact]
    public void Verify_FindsSwappedTensors()
    {
        TurboQuantImage image = files.Image;
        (string Name, int Offset, int Bytes)[] equals = [.. image.Tensors.GroupBy(tensor => tensor.Bytes).First(group => group.Count() > 1 && group.Key > 1000).Take(2)];
        byte[] swapped = [.. image.Bytes];
        image.Bytes.AsSpan(equals[0].Offset, equals[0].Bytes).CopyTo(swapped.AsSpan(equals[1].Offset));
        image.Bytes.AsSpan(equals[1].Offset, equals[0].Bytes).CopyTo(swapped.AsSpan(equals[0].Offset));
        using LoadedModel model = LoadedModel.Open(files.Write(swapped));
        Assert.Equal([$"the tensor '{equals[0].Name}'", $"the tensor '{equals[1].Name}'"], model.Verify(null, TestContext.Current.CancellationToken));
    }

    private void AssertRefused(byte[] damaged, string what) => Assert.False(ModelFileDamageTests.Opens(files.Write(damaged)), what);

    private bool RefusedOrRuns(byte[] damaged)
    {
        string path = files.Write(damaged);
        if (!ModelFileDamageTests.Opens(path))
        {
            return false;
        }

        using TestNetwork network = TestNetwork.Open(path, maxChunk: 2);
        Assert.NotEmpty(network.Run([2, 3, 4], network.NewCache(), 2));
        return true;
    }

    /// <summary>A converted tiny model with every format in it, made once.</summary>
    public sealed class Files : IDisposable
    {
        private readonly TemporaryFolder _folder = new();

        public Files()
        {
            File.WriteAllText(_folder["text.txt"], "one two three");
            ModelConverterTests.Convert(TestData.Path("oracle/tiny-a-f32.gguf"), _folder["whole.gguf"], new ConversionOptions
            {
                Calibration = _folder["text.txt"],
                Tensors = [new("*attn_q*", "tq3"), new("*attn_k*", "tq2"), new("*attn_v*", "polar4"), new("*attn_output*", "prod4"), new("*ffn_up*", "q8"), new("*ffn_gate*", "q8_0")],
            });
            Image = new TurboQuantImage(_folder["whole.gguf"]);
        }

        internal TurboQuantImage Image { get; }

        public string Write(byte[] bytes)
        {
            File.WriteAllBytes(_folder["damaged.gguf"], bytes);
            return _folder["damaged.gguf"];
        }

        public void Dispose() => _folder.Dispose();
    }
}
