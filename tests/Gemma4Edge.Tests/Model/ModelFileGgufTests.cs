using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public class ModelFileGgufTests
{
    [Theory]
    [InlineData("tiny-a-f32", "SSFSSF", 3, 32, "128 128 128 256 256 256", "1 1 1 1 1 1", 979_238)]
    [InlineData("tiny-a-f16", "SSFSSF", 3, 32, "128 128 128 256 256 256", "1 1 1 1 1 1", 979_238)]
    [InlineData("tiny-a-q8_0", "SSFSSF", 3, 32, "128 128 128 256 256 256", "1 1 1 1 1 1", 979_238)]
    [InlineData("tiny-a-q4_0", "SSFSSF", 3, 32, "128 128 128 256 256 256", "1 1 1 1 1 1", 979_238)]
    [InlineData("tiny-b-f32", "SSSFSSSF", 4, 32, "128 128 128 128 128 128 128 128", "2 2 2 2 2 2 2 2", 1_103_496)]
    [InlineData("tiny-c-f32", "SSFSSF", 0, 0, "128 128 128 128 128 128", "2 2 1 2 2 1", 708_230)]
    [InlineData("tiny-e-f32", "SSFSF", 0, 0, "96 96 96 96 96", "2 2 1 2 1", 1_538_669)]
    public void Open_ReadsTheShape(string name, string types, int shared, int perLayer, string widths, string kvHeads, long parameters)
    {
        using LoadedModel model = LoadedModel.Open(TestData.Path($"oracle/{name}.gguf"));

        Gemma4Config config = model.Config;
        Assert.Equal(types, string.Concat(config.LayerTypes.Select(type => type == LayerType.Full ? 'F' : 'S')));
        Assert.Equal((types.Length, 128, 512, 4), (config.NumHiddenLayers, config.HiddenSize, config.VocabSize, config.NumAttentionHeads));
        Assert.Equal((32, 64, 16, 4096), (config.HeadDim, config.GlobalHeadDim, config.SlidingWindow, config.MaxPositionEmbeddings));
        Assert.Equal((shared, perLayer), (config.NumKvSharedLayers, config.HiddenSizePerLayerInput));
        Assert.Equal((1e-6f, 1e4f, 1e6f, 30f), (config.RmsNormEps, config.RopeThetaSliding, config.RopeThetaFull, config.FinalLogitSoftcapping));
        Assert.Equal(widths, string.Join(' ', config.IntermediateSizes));
        Assert.Equal(kvHeads, string.Join(' ', config.NumKeyValueHeads));
        Assert.Equal([.. Enumerable.Repeat(1f, 8), .. Enumerable.Repeat(1e30f, 24)], model.Weights.RopeFactorsFull);
        Assert.Equal(parameters, model.ParameterCount);
        Assert.Equal(("gguf", "synthetic-" + name[..6]), (model.Format, model.Name));
        Assert.Equal([1], model.Generation.EosTokenIds);
        Assert.Equal(512, model.OpenTokenizer().VocabSize);
    }

    [Fact]
    public void Open_UsesRawKeysAsValues_WhereTheFileHasNoValueProjection()
    {
        using LoadedModel dense = LoadedModel.Open(TestData.Path("oracle/tiny-c-f32.gguf"));
        Assert.Equal([true, true, false, true, true, false], dense.Weights.Layers.Select(layer => layer.VProj is not null));
        Assert.All(dense.Weights.Layers, layer => Assert.NotNull(layer.KProj));
    }

    [Fact]
    public void Open_LeavesSharedLayersWithoutKeysAndValues()
    {
        using LoadedModel model = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        Assert.Equal([true, true, true, false, false, false], model.Weights.Layers.Select(layer => layer is { KProj: not null, VProj: not null, KNorm: not null }));
        Assert.Equal([0, 1, 2, 1, 1, 2], Enumerable.Range(0, 6).Select(model.Config.DonorOf));
    }

    [Fact]
    public void Open_CountsOnlyUsedExperts_InBytesPerToken()
    {
        using LoadedModel model = LoadedModel.Open(TestData.Path("oracle/tiny-e-f32.gguf"));
        long unusedExperts = 5L * 6 * ((2 * 64 * 128) + (128 * 64)); // layers × (8 − 2) × weights of one
        Assert.Equal(4 * (model.ParameterCount - unusedExperts), model.BytesPerToken);
    }

    [Fact]
    public unsafe void Open_GivesEachExpertItsOwnRows()
    {
        using LoadedModel model = LoadedModel.Open(TestData.Path("oracle/tiny-e-f32.gguf"));
        ExpertWeights experts = model.Weights.Layers[0].Experts!;
        foreach (IReadOnlyList<WeightMatrix> stack in new[] { experts.GateUpProj, experts.DownProj })
        {
            Assert.All(Enumerable.Range(0, 8), expert => Assert.Equal(expert * stack[0].Bytes, stack[expert].Data - stack[0].Data));
        }
    }

    [Fact]
    public void Open_CountsOneRowOfThePerLayerTable_InBytesPerToken()
    {
        using LoadedModel model = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        Assert.Equal(4L * 512 * 192, model.PleBytes);
        Assert.Equal((4 * model.ParameterCount) - model.PleBytes + (4 * 192), model.BytesPerToken);
    }

    [Fact]
    public void MappedRanges_CoverTheFileOnce()
    {
        using LoadedModel model = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        Assert.Equal(model.FileBytes, model.MappedRanges.Sum(range => range.Length));
        Assert.Equal(model.PleBytes, model.MappedRanges.Single(range => range.Name == "ple").Length);
        Assert.DoesNotContain(model.MappedRanges, range => range.Name == "head_lower");
        model.PrefetchPerLayerRows([0, 511]);
        Assert.Throws<ArgumentOutOfRangeException>(() => model.PrefetchPerLayerRows([512]));
    }

    [Fact]
    public void OpenTokenizer_ReadsAFileWithoutWeights()
    {
        string vocabulary = TestData.Decompressed("oracle/tokenizer/ggml-vocab-gemma-4.gguf");
        Assert.Equal(262_144, LoadedModel.OpenTokenizer(vocabulary).VocabSize);
        Refused(vocabulary, "token_embd.weight");
    }

    [Theory]
    [InlineData("gemma4.block_count", 0u)]
    [InlineData("gemma4.block_count", uint.MaxValue)]
    [InlineData("gemma4.embedding_length", 1u << 31)]
    [InlineData("gemma4.attention.head_count_kv", 0u)]
    [InlineData("gemma4.rope.dimension_count", 16u)]
    [InlineData("gemma4.attention.sliding_window", 0u)]
    [InlineData("gemma4.attention.sliding_window", (1u << 20) + 1)]
    [InlineData("gemma4.context_length", uint.MaxValue)]
    [InlineData("tokenizer.ggml.eos_token_id", 512u)]
    public void Open_Refuses_AnIntegerOutOfRange(string key, uint value) => RefusedWith(key, writer => writer.Add(key, value), named: key);

    [Theory]
    [InlineData("gemma4.block_count", 7u, "sliding_window_pattern")]
    [InlineData("gemma4.embedding_length", 64u, "token_embd.weight")]
    [InlineData("gemma4.attention.head_count", 3u, "blk.0.attn_q.weight")]
    [InlineData("gemma4.attention.head_count", 8u, "blk.0.attn_q.weight")]
    [InlineData("gemma4.attention.head_count_kv", 3u, "3 key/value heads")]
    [InlineData("gemma4.attention.head_count_kv", 2u, "blk.0.attn_k.weight")]
    [InlineData("gemma4.attention.key_length", 63u, "gemma4.attention.value_length")]
    [InlineData("gemma4.attention.key_length_swa", 64u, "gemma4.attention.value_length_swa")]
    [InlineData("gemma4.attention.shared_kv_layers", 6u, "6 of 6 layers")]
    [InlineData("gemma4.attention.shared_kv_layers", 4u, "no earlier layer of its type")] // the first full layer would share
    [InlineData("gemma4.attention.shared_kv_layers", 2u, "blk.3.attn_k.weight")]
    [InlineData("gemma4.embedding_length_per_layer_input", 33u, "per_layer_token_embd.weight")]
    [InlineData("gemma4.expert_count", 8u, "gemma4.expert_used_count")]
    public void Open_Refuses_AnIntegerThatFitsNothingElse(string key, uint value, string named) => RefusedWith(key, writer => writer.Add(key, value), named);

    [Theory]
    [InlineData("gemma4.attention.layer_norm_rms_epsilon", 0f, "ε")]
    [InlineData("gemma4.attention.layer_norm_rms_epsilon", 0.02f, "ε")]
    [InlineData("gemma4.attention.layer_norm_rms_epsilon", float.NaN)]
    [InlineData("gemma4.rope.freq_base", 1f, "full layers")]
    [InlineData("gemma4.rope.freq_base", float.PositiveInfinity)]
    [InlineData("gemma4.rope.freq_base_swa", -1f, "sliding layers")]
    [InlineData("gemma4.final_logit_softcapping", -1f, "softcap")]
    [InlineData("general.sampling.top_p", 1.5f)]
    [InlineData("general.sampling.temp", -1f)]
    [InlineData("general.sampling.temp", 10.5f)]
    [InlineData("gemma4.block_count", 6f)]
    [InlineData("general.name", 1f)]
    public void Open_Refuses_AWrongNumber(string key, float value, string? named = null) => RefusedWith(key, writer => writer.Add(key, value), named ?? key);

    [Theory]
    [InlineData("general.architecture", "llama")]
    [InlineData("general.architecture", "gemma4-assistant")]
    [InlineData("gemma4.rope.freq_base", "1e6")]
    [InlineData("gemma4.feed_forward_length", "128")]
    public void Open_Refuses_AWrongText(string key, string value) => RefusedWith(key, writer => writer.Add(key, value), named: key);

    [Theory]
    [InlineData("gemma4.feed_forward_length", 5)]
    [InlineData("gemma4.attention.head_count_kv", 7)]
    [InlineData("gemma4.attention.sliding_window_pattern", 6)] // integers, not booleans
    [InlineData("gemma4.attention.head_count", 0)]
    public void Open_Refuses_AWrongArray(string key, int count) => RefusedWith(key, writer => writer.Add(key, Enumerable.Repeat(128, count).ToArray()), named: key);

    [Fact]
    public void Open_TakesThirtyAsSoftcap_WhereTheKeyIsMissing()
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], ["gemma4.final_logit_softcapping"], _ => { });
        using LoadedModel model = LoadedModel.Open(folder["m.gguf"]);
        Assert.Equal(30f, model.Config.FinalLogitSoftcapping);
    }

    [Fact]
    public void Open_ReadsSamplingDefaults()
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], [], writer =>
        {
            writer.Add("general.sampling.temp", 0.5f);
            writer.Add("general.sampling.top_k", 64u);
            writer.Add("general.sampling.top_p", 0.95f);
            writer.Add("tokenizer.chat_template", "{{ x }}");
        });
        using LoadedModel model = LoadedModel.Open(folder["m.gguf"]);
        Assert.Equal((0.5f, 64, 0.95f), (model.Generation.Temperature, model.Generation.TopK, model.Generation.TopP));
        Assert.Equal("{{ x }}", model.ChatTemplateText);
    }

    [Theory]
    [InlineData("output_norm.weight")]
    [InlineData("rope_freqs.weight")]
    [InlineData("blk.0.attn_v.weight")] // sliding layers have it always
    [InlineData("blk.2.attn_k.weight")]
    [InlineData("blk.5.ffn_down.weight")]
    [InlineData("per_layer_token_embd.weight")]
    public void Open_NamesAMissingTensor(string tensor) => RefusedWith(null, _ => { }, named: tensor, dropTensor: tensor);

    [Fact]
    public void Open_TakesOne_WhereALayerHasNoScale()
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], [], _ => { }, "blk.3.layer_output_scale.weight");
        using LoadedModel model = LoadedModel.Open(folder["m.gguf"]);
        Assert.Equal(1f, model.Weights.Layers[3].LayerScalar);
        Assert.NotEqual(1f, model.Weights.Layers[2].LayerScalar);
    }

    [Fact]
    public void Open_UsesAHeadOfItsOwn_WhereTheFileBringsOne()
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], [], writer => writer.AddTensor("output.weight", QuantFormats.F16, [512, 128], file => file.Write(new byte[512 * 128 * 2])));
        using LoadedModel model = LoadedModel.Open(folder["m.gguf"]);
        using LoadedModel tied = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        Assert.Equal(QuantFormats.F16, model.Weights.LmHead.Format);
        Assert.Same(tied.Weights.EmbedTokens, tied.Weights.LmHead);
        Assert.Equal(tied.BytesPerToken - (512 * 128 * 4) + (128 * 4) + (512 * 128 * 2), model.BytesPerToken);
    }

    [Fact]
    public void Open_IgnoresDeadKeysAndValues()
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], [], writer => writer.AddTensor("blk.4.attn_k.weight", QuantFormats.F32, [32, 128], file => file.Write(new byte[32 * 128 * 4])));
        using LoadedModel model = LoadedModel.Open(folder["m.gguf"]);
        Assert.Null(model.Weights.Layers[4].KProj);
        Assert.Equal(979_238, model.ParameterCount);
    }

    [Fact]
    public void Open_Refuses_WhatSpansSeveralKeys()
    {
        RefusedWith("gemma4.attention.head_count_kv", writer => writer.Add("gemma4.attention.head_count_kv", [1, 1, 1, 1, 1, 2]), named: "donor 2 has 1");

        using var folder = new TemporaryFolder();
        string[] head = ["gemma4.attention.key_length", "gemma4.attention.value_length", "gemma4.rope.dimension_count"];
        Copy("tiny-a-f32", folder["m.gguf"], head, writer => Array.ForEach(head, key => writer.Add(key, 63u)));
        Refused(folder["m.gguf"], "even numbers");

        Copy("tiny-e-f32", folder["m.gguf"], ["gemma4.expert_used_count"], writer => writer.Add("gemma4.expert_used_count", 9u));
        Refused(folder["m.gguf"], "9 of 8 experts");
    }

    [Fact]
    public void Open_RefusesARotaryFactorOfZero() => RefusedWith(
        null, writer => writer.AddTensor("rope_freqs.weight", QuantFormats.F32, [32], file => file.Write(new byte[128])), named: "rope_freqs.weight", dropTensor: "rope_freqs.weight");

    [Fact]
    public void Open_RefusesANormThatIsNotFinite()
    {
        using var folder = new TemporaryFolder();
        float[] norm = new float[128];
        norm[7] = float.NaN;
        Copy("tiny-a-f32", folder["m.gguf"], [], writer => writer.AddTensor("output_norm.weight", QuantFormats.F32, [128], file => file.Write(MemoryMarshal.AsBytes<float>(norm))), "output_norm.weight");
        Refused(folder["m.gguf"], "output_norm.weight");
    }

    [Fact]
    public void Message_IsOneShortLine_WhateverTheFileSays()
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], ["general.architecture"], writer => writer.Add("general.architecture", "\u001b[2J\n" + new string('x', 100_000)));
        string message = Assert.Throws<ModelFileException>(() => LoadedModel.Open(folder["m.gguf"])).Message;
        Assert.DoesNotContain(message, char.IsControl);
        Assert.InRange(message.Length, 1, 1001);
        RefusedWith(null, writer => writer.Add("a\tb", "x"), named: "printable");
    }

    [Fact]
    public void Open_LimitsTheCountsAndTexts()
    {
        RefusedWith("general.name", writer => writer.Add("general.name", new string('x', (1 << 20) + 1)), named: "general.name");
        RefusedWith(null, writer => Enumerable.Range(0, 16_385).ToList().ForEach(i => writer.Add($"k{i}", 0u)), named: "keys");
    }

    [Fact]
    public void Open_RefusesTheSameKeyTwice() => RefusedWith(null, writer => writer.Add("general.type", "model"), named: "general.type");

    [Fact]
    public void Open_RefusesTheSameTensorTwice() => RefusedWith(null, writer => writer.AddTensor("output_norm.weight", QuantFormats.F32, [128], file => file.Write(new byte[512])), named: "output_norm.weight");

    [Theory]
    [InlineData(4, 2u, "version 2")]
    [InlineData(4, 3u << 24, "big-endian")]
    [InlineData(0, 0u, "GGUF")]
    public void Open_RefusesAnotherContainer(int offset, uint value, string named)
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = File.ReadAllBytes(TestData.Path("oracle/tiny-a-q4_0.gguf"));
        BitConverter.TryWriteBytes(bytes.AsSpan(offset), value);
        File.WriteAllBytes(folder["m.gguf"], bytes);
        Refused(folder["m.gguf"], named);
    }

    [Theory]
    [InlineData(33u)]
    [InlineData(0u)]
    [InlineData(1u << 31)]
    public void Open_RefusesAnAlignment(uint alignment)
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-q4_0", folder["m.gguf"], [], _ => { });
        Patch(folder["m.gguf"], file => file.Metadata.Find("general.alignment")!.Value.Offset, alignment);
        Refused(folder["m.gguf"], "general.alignment");
    }

    [Theory]
    [InlineData(12u, "rows of 128 weights")] // q4_k has blocks of 256
    [InlineData(99u, "weight type 99")]
    [InlineData(10u, "weight type 10")] // q2_k
    public void Open_RefusesAWeightType(uint type, string named)
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], [], _ => { });
        Patch(folder["m.gguf"], file => EntryEnd(folder["m.gguf"], "blk.0.attn_q.weight") - 12, type);
        Refused(folder["m.gguf"], named);
        Refused(folder["m.gguf"], "blk.0.attn_q.weight");
    }

    [Theory]
    [InlineData(4u, "no multiple of the alignment 32")]
    [InlineData(uint.MaxValue - 31, "leaves the file")]
    [InlineData(3_917_216u, "leaves the file")] // the last tensor's place, with room for one float
    public void Open_RefusesAnOffset(uint offset, string named)
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], [], _ => { });
        Patch(folder["m.gguf"], file => EntryEnd(folder["m.gguf"], "blk.0.attn_q.weight") - 8, offset);
        Refused(folder["m.gguf"], named);
    }

    /// <summary>Where a matrix' entry ends: name, dimension count, two dimensions, type, offset.</summary>
    private static long EntryEnd(string path, string name) =>
        File.ReadAllBytes(path).AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes(name)) + name.Length + 4 + 16 + 4 + 8;

    /// <summary>Overwrites four bytes at a place that the file itself tells.</summary>
    private static void Patch(string path, Func<GgufFile, long> place, uint value)
    {
        byte[] bytes = File.ReadAllBytes(path);
        using (var file = new MappedFile(path))
        {
            BitConverter.TryWriteBytes(bytes.AsSpan((int)place(new GgufFile(file))), value);
        }

        File.WriteAllBytes(path, bytes);
    }

    private static void RefusedWith(string? dropKey, Action<GgufWriter> add, string named, string? dropTensor = null)
    {
        using var folder = new TemporaryFolder();
        Copy("tiny-a-f32", folder["m.gguf"], [dropKey ?? ""], add, dropTensor);
        Refused(folder["m.gguf"], named);
    }

    private static void Refused(string path, string named)
    {
        ModelFileException error = Assert.Throws<ModelFileException>(() => LoadedModel.Open(path).Dispose());
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.NotEmpty(error.Hint);
    }

    /// <summary>A copy of a tiny model without some keys and one tensor, and with what <paramref name="add"/> adds.</summary>
    private static void Copy(string name, string target, string[] dropKeys, Action<GgufWriter> add, string? dropTensor = null)
    {
        using var file = new MappedFile(TestData.Path($"oracle/{name}.gguf"));
        var source = new GgufFile(file);
        var writer = new GgufWriter(alignment: 32);
        foreach ((string key, GgufValue value) in source.Metadata.Values.Where(entry => !dropKeys.Contains(entry.Key)))
        {
            writer.AddKey(key, value.IsArray ? GgufType.Array : value.Element, to =>
            {
                if (value.IsArray)
                {
                    to.Write((uint)value.Element);
                    to.Write((ulong)value.Count);
                }

                to.Write(file.Span(value.Offset, (int)value.Bytes));
            });
        }

        foreach (StoredTensor tensor in source.Tensors.Where(tensor => tensor.Name != dropTensor))
        {
            writer.AddTensor(tensor.Name, tensor.Format!, tensor.Shape, to => to.Write(file.Span(tensor.Offset, (int)tensor.Bytes)));
        }

        add(writer);
        writer.Write(target);
    }
}
