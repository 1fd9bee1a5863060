using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public sealed class LoraAdapterTests
{
    private const int Rank = 4;
    private const string Module = "base_model.model.model.language_model.layers.1.mlp.down_proj";

    [Theory]
    [InlineData(false, 8 / 4f)]
    [InlineData(true, 8 / 2f)]
    public void Merged_IsTheModelWithTheUpdateAdded(bool rankStabilized, float scale)
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-f32.gguf");
        (float[] a, float[] b) = WriteAdapter(folder, source, config => config["use_rslora"] = rankStabilized);
        ModelConverterTests.Convert(source, folder["m.gguf"], new ConversionOptions { Adapter = folder.Path, Tensors = [new("*", "f32")] });

        using LoadedModel before = LoadedModel.Open(source), after = LoadedModel.Open(folder["m.gguf"]);
        WeightMatrix from = before.Weights.Layers[1].DownProj, to = after.Weights.Layers[1].DownProj;
        for (int row = 0; row < from.Rows; row++)
        {
            float[] expected = ModelConverterTests.Row(from, row), actual = ModelConverterTests.Row(to, row);
            for (int column = 0; column < from.Columns; column++)
            {
                double update = Enumerable.Range(0, Rank).Sum(k => (double)b[(row * Rank) + k] * a[(k * from.Columns) + column]);
                Assert.Equal(expected[column] + (scale * update), actual[column], 1e-5);
            }
        }

        Assert.Equal(ModelConverterTests.Row(before.Weights.Layers[0].DownProj, 0), ModelConverterTests.Row(after.Weights.Layers[0].DownProj, 0));
    }

    [Theory]
    [InlineData("use_dora", "true", "DoRA")]
    [InlineData("peft_type", "\"IA3\"", "no LoRA")]
    [InlineData("lora_bias", "true", "biases")]
    [InlineData("fan_in_fan_out", "true", "transposed")]
    [InlineData("layer_replication", "[[0, 2]]", "repeated layers")]
    [InlineData("init_lora_weights", "\"pissa_niter_4\"", "base model")]
    [InlineData("alpha_pattern", "{\"q_proj\": 8}", "differ between layers")]
    [InlineData("lora_alpha", "null", "'lora_alpha'")]
    [InlineData("bias", "\"all\"", "biases")]
    [InlineData("modules_to_save", "[\"lm_head\"]", "in full")]
    [InlineData("rank_pattern", "{\"q_proj\": 8}", "differ between layers")]
    [InlineData("r", "8", "has shape")]
    [InlineData("r", "0", "'r'")]
    public void Adapter_ThatCannotBeMerged_IsRefused(string key, string value, string said)
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-f32.gguf");
        WriteAdapter(folder, source, config => config[key] = JsonNode.Parse(value));
        AssertRefused(folder, source, said);
    }

    /// <summary>Spellings of the module as PEFT and Unsloth write them for the text model, the multi-modal one, and older ones.</summary>
    [Theory]
    [InlineData("base_model.model.model.layers.1.mlp.down_proj")]
    [InlineData("base_model.model.language_model.model.layers.1.mlp.down_proj")]
    [InlineData("base_model.model.language_model.layers.1.mlp.down_proj")]
    [InlineData("model.language_model.layers.1.mlp.down_proj")]
    public void Module_IsKnownByAnyOfItsNames(string module)
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-f32.gguf");
        WriteAdapter(folder, source, config => config["init_lora_weights"] = true);
        Convert("expected");
        WriteAdapter(folder, source, _ => { }, module);
        Convert("actual");
        Assert.Equal(File.ReadAllBytes(folder["expected"]), File.ReadAllBytes(folder["actual"]));

        void Convert(string name) => ModelConverterTests.Convert(source, folder[name], new ConversionOptions { Adapter = folder.Path });
    }

    /// <summary>Trainers attach to the keys and values of layers that borrow them from others too; nothing reads those.</summary>
    [Fact]
    public void UpdateOfDeadKeys_ChangesNothing()
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-f32.gguf");
        int last;
        using (LoadedModel model = LoadedModel.Open(source))
        {
            last = model.Config.NumHiddenLayers - 1;
            Assert.Null(model.Weights.Layers[last].KProj);
        }

        WriteAdapter(folder, source, _ => { }, $"base_model.model.model.language_model.layers.{last}.self_attn.k_proj");
        ModelConverterTests.Convert(source, folder["with"], new ConversionOptions { Adapter = folder.Path });
        ModelConverterTests.Convert(source, folder["without"], new ConversionOptions());
        Assert.Equal(File.ReadAllBytes(folder["without"]), File.ReadAllBytes(folder["with"]));
    }

    [Theory]
    [InlineData("lora_B", "only one of")]
    [InlineData("lora_magnitude_vector", "plain LoRA")]
    [InlineData("lora_embedding_A", "plain LoRA")]
    public void Tensors_ThatAreNoPair_AreRefused(string part, string said)
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-f32.gguf");
        WriteAdapter(folder, source, _ => { });
        ModelFileFolders.WriteSafetensors(folder["adapter_model.safetensors"], [new($"{Module}.{part}.weight", "F32", [1, 1], new byte[4])]);
        AssertRefused(folder, source, said);
    }

    [Fact]
    public void Folder_WithoutAPart_NamesIt()
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-f32.gguf");
        AssertRefused(folder, source, "adapter_config.json");
        WriteAdapter(folder, source, _ => { });
        File.Delete(folder["adapter_model.safetensors"]);
        AssertRefused(folder, source, "no adapter_model.safetensors");
    }

    [Fact]
    public void Experts_AreRefused()
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-e-f32.gguf");
        WriteAdapter(folder, source, _ => { });
        ModelFileFolders.WriteSafetensors(folder["adapter_model.safetensors"],
        [
            new("model.layers.0.experts.down_proj.lora_A.weight", "F32", [1, 1], new byte[4]), new("model.layers.0.experts.down_proj.lora_B.weight", "F32", [1, 1], new byte[4]),
        ]);
        var error = Assert.ThrowsAny<Exception>(() => ModelConverterTests.Convert(source, folder["m.gguf"], new ConversionOptions { Adapter = folder.Path }));
        Assert.Contains("experts.down_proj", error.Message, StringComparison.Ordinal);
        Assert.True(error is ModelFileException or ConversionException);
    }

    [Fact]
    public void Adapter_OfAnotherModel_IsRefused()
    {
        using var folder = new TemporaryFolder();
        string source = TestData.Path("oracle/tiny-a-f32.gguf");
        WriteAdapter(folder, source, _ => { }, Module.Replace("layers.1", "layers.90", StringComparison.Ordinal));
        var error = Assert.Throws<ConversionException>(() => ModelConverterTests.Convert(source, folder["m.gguf"], new ConversionOptions { Adapter = folder.Path }));
        Assert.Contains("layers.90", error.Message, StringComparison.Ordinal);
    }

    private static void AssertRefused(TemporaryFolder folder, string source, string said)
    {
        var error = Assert.Throws<ModelFileException>(() => ModelConverterTests.Convert(source, folder["m.gguf"], new ConversionOptions { Adapter = folder.Path }));
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(folder["m.gguf"]));
    }

    private static (float[] A, float[] B) WriteAdapter(TemporaryFolder folder, string source, Action<JsonObject> change, string module = Module)
    {
        var config = new JsonObject { ["peft_type"] = "LORA", ["r"] = Rank, ["lora_alpha"] = 8, ["bias"] = "none", ["target_modules"] = new JsonArray("down_proj") };
        change(config);
        File.WriteAllText(folder["adapter_config.json"], config.ToJsonString());

        using LoadedModel model = LoadedModel.Open(source);
        WeightMatrix down = model.Weights.Layers[1].DownProj;
        var random = new Random(3);
        float[] a = [.. Enumerable.Range(0, Rank * down.Columns).Select(_ => random.NextSingle() - 0.5f)];
        float[] b = [.. Enumerable.Range(0, Rank * down.Rows).Select(_ => random.NextSingle() - 0.5f)];
        ModelFileFolders.WriteSafetensors(folder["adapter_model.safetensors"],
        [
            new($"{module}.lora_A.weight", "F32", [Rank, down.Columns], MemoryMarshal.AsBytes<float>(a).ToArray()),
            new($"{module}.lora_B.weight", "F32", [down.Rows, Rank], MemoryMarshal.AsBytes<float>(b).ToArray()),
        ]);
        return (a, b);
    }
}
