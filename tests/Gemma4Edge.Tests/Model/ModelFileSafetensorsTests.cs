using System.Text.Json.Nodes;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

public class ModelFileSafetensorsTests
{
    private const string OneTensor = """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""";

    [Fact]
    public void Open_ReadsTheDemoModel()
    {
        using LoadedModel model = LoadedModel.Open(TestData.DemoModel);

        Gemma4Config config = model.Config;
        Assert.Equal("SSSFSSSF", string.Concat(config.LayerTypes.Select(type => type == LayerType.Full ? 'F' : 'S')));
        Assert.Equal((256, 4096, 64, 64, 128), (config.HiddenSize, config.VocabSize, config.SlidingWindow, config.HeadDim, config.GlobalHeadDim));
        Assert.Equal([256, 256, 256, 256, 512, 512, 512, 512], config.IntermediateSizes);
        Assert.Equal((2, 3), (config.DonorOf(6), config.DonorOf(7)));
        Assert.Equal(7_384_328, model.ParameterCount);
        Assert.Equal(14_782_704, model.FileBytes);
        Assert.Equal(QuantFormats.BF16, model.Weights.EmbedTokens.Format);
        Assert.Equal(16, model.Weights.RopeFactorsFull.Count(factor => factor == 1)); // a quarter of 64 pairs
        Assert.Equal(("safetensors", "demo-model"), (model.Format, model.Name));
        Assert.Equal([1, 106, 50], model.Generation.EosTokenIds);
        Assert.Equal((false, null, null, null), (model.Generation.DoSample, model.Generation.Temperature, model.Generation.TopK, model.Generation.TopP));
        Assert.StartsWith("{", model.ChatTemplateText, StringComparison.Ordinal);
        Assert.Equal(4096, model.OpenTokenizer().VocabSize);
    }

    [Theory]
    [InlineData("tiny-a-f32", "model.language_model.")]
    [InlineData("tiny-a-f16", "model.")]
    [InlineData("tiny-b-f32", "language_model.model.")]
    [InlineData("tiny-c-f32", "model.")]
    [InlineData("tiny-e-f32", "model.language_model.")]
    public void Open_GivesTheSameModel_FromBothForms(string name, string prefix)
    {
        using var folder = new TemporaryFolder();
        string gguf = TestData.Path($"oracle/{name}.gguf");
        ModelFileFolders.Convert(gguf, folder.Path, prefix);

        using LoadedModel expected = LoadedModel.Open(gguf);
        using LoadedModel actual = LoadedModel.Open(folder.Path);
        ModelFileFolders.AssertSame(expected, actual);
    }

    [Fact]
    public void Open_GivesTheSameModel_FromShards()
    {
        using var folder = new TemporaryFolder();
        using LoadedModel expected = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        WriteShards(folder, expected, ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]);

        using LoadedModel actual = LoadedModel.Open(folder.Path);
        ModelFileFolders.AssertSame(expected, actual);
        Assert.Equal(3, actual.Tensors.Select(tensor => tensor.File).Distinct().Count());
        Assert.Equal(actual.FileBytes, actual.MappedRanges.Sum(range => range.Length));
    }

    [Fact]
    public void Open_ReadsTheTextPart_OfAMultiModalCheckpoint()
    {
        using var folder = new TemporaryFolder();
        using LoadedModel expected = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        var config = new JsonObject
        {
            ["model_type"] = "gemma4",
            ["text_config"] = ModelFileFolders.ConfigJson(expected.Config, attentionKEqV: false),
            ["vision_config"] = new JsonObject { ["hidden_size"] = 1 },
            ["eos_token_id"] = new JsonArray(1, 106),
        };
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        ModelFileFolders.WriteSafetensors(folder["model.safetensors"],
        [
            new CheckpointTensor("model.vision_tower.scale", "I64", [1], new byte[8]),
            new CheckpointTensor("lm_head.weight", "F32", [1], new byte[4]), // tied: never read
            .. ModelFileFolders.Tensors(expected.Weights, "model.language_model."),
            new CheckpointTensor("model.language_model.layers.4.self_attn.k_proj.weight", "F32", [1], new byte[4]), // dead
        ]);

        using LoadedModel actual = LoadedModel.Open(folder.Path);
        ModelFileFolders.AssertSame(expected, actual);
        Assert.Equal([1, 106], actual.Generation.EosTokenIds);
        Assert.Same(actual.Weights.EmbedTokens, actual.Weights.LmHead);
        Assert.Contains(actual.Tensors, tensor => tensor is { Name: "model.vision_tower.scale", Format: "i64", Bits: 64 });
    }

    [Fact]
    public void Open_UnderstandsTheOlderRopeKeys_AndAbsentLayerTypes()
    {
        using var folder = new TemporaryFolder();
        ChangedConfig(folder, config =>
        {
            config.Remove("rope_parameters");
            config["rope_theta"] = 5e5;
            config["rope_local_base_freq"] = 2e4;
            config.Remove("layer_types");
        });

        ModelFileException error = Assert.Throws<ModelFileException>(() => LoadedModel.Open(folder.Path)); // six layers: only the last is full then
        Assert.Contains("no earlier layer of its type", error.Message, StringComparison.Ordinal);

        ChangedConfig(folder, config =>
        {
            config.Remove("rope_parameters");
            config["rope_theta"] = 5e5;
            config["rope_local_base_freq"] = 2e4;
        });
        using LoadedModel model = LoadedModel.Open(folder.Path);
        Assert.Equal((5e5f, 2e4f), (model.Config.RopeThetaFull, model.Config.RopeThetaSliding));
        Assert.Equal(8, model.Weights.RopeFactorsFull.Count(factor => factor == 1));
    }

    [Theory]
    [InlineData("hidden_size", "0")]
    [InlineData("hidden_size", "\"128\"")]
    [InlineData("hidden_size", "null")]
    [InlineData("hidden_size", "256")]
    [InlineData("num_hidden_layers", "1000000000")]
    [InlineData("num_hidden_layers", "1e99")]
    [InlineData("num_hidden_layers", "7")]
    [InlineData("vocab_size", "513")]
    [InlineData("vocab_size", "4294967296")]
    [InlineData("intermediate_size", "-1")]
    [InlineData("intermediate_size", "[128]")]
    [InlineData("num_attention_heads", "0")]
    [InlineData("num_attention_heads", "3")]
    [InlineData("num_key_value_heads", "8")]
    [InlineData("head_dim", "31")]
    [InlineData("global_head_dim", "{}")]
    [InlineData("sliding_window", "0")]
    [InlineData("num_kv_shared_layers", "6")]
    [InlineData("hidden_size_per_layer_input", "1073741824")]
    [InlineData("rms_norm_eps", "0")]
    [InlineData("rms_norm_eps", "1e40")]
    [InlineData("final_logit_softcapping", "-30")]
    [InlineData("max_position_embeddings", "99999999999")]
    [InlineData("layer_types", "[\"sliding_attention\"]")]
    [InlineData("layer_types", "\"full_attention\"")]
    [InlineData("layer_types", "[1,2,3,4,5,6]")]
    [InlineData("rope_parameters", "[]")]
    [InlineData("rope_parameters", "{\"full_attention\":{\"rope_theta\":1,\"rope_type\":\"proportional\"}}")]
    [InlineData("rope_parameters", "{\"full_attention\":{\"rope_theta\":1e6,\"rope_type\":\"yarn\"}}")]
    [InlineData("rope_parameters", "{\"full_attention\":{\"rope_theta\":1e6,\"partial_rotary_factor\":2}}")]
    [InlineData("use_double_wide_mlp", "1")]
    [InlineData("use_double_wide_mlp", "false")]
    [InlineData("enable_moe_block", "true")]
    [InlineData("attention_bias", "true")]
    [InlineData("tie_word_embeddings", "false")]
    [InlineData("use_bidirectional_attention", "true")]
    [InlineData("hidden_activation", "\"silu\"")]
    [InlineData("model_type", "\"gemma3_text\"")]
    public void Open_Refuses_AHostileConfig(string key, string json)
    {
        using var folder = new TemporaryFolder();
        ChangedConfig(folder, config => config[key] = JsonNode.Parse(json));
        Refused(folder.Path);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{\"model_type\":\"gemma4_text\"")]
    [InlineData("{\"a\":1,\"a\":2}")]
    [InlineData("{\"\\ud800\":1}")]
    [InlineData("{\"model_type\":\"\\ud800\"}")]
    public void Open_Refuses_AConfigThatIsNoObject(string json)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["config.json"], json);
        Refused(folder.Path);
        File.WriteAllBytes(folder["config.json"], [(byte)'{', (byte)'"', 0xff, (byte)'"', (byte)':', (byte)'1', (byte)'}']);
        Refused(folder.Path);
        File.WriteAllText(folder["config.json"], new string('[', 100_000));
        Refused(folder.Path);
    }

    [Theory]
    [InlineData("{\"temperature\":-1}")]
    [InlineData("{\"top_p\":0}")]
    [InlineData("{\"top_k\":1.5}")]
    [InlineData("{\"eos_token_id\":512}")]
    [InlineData("{\"eos_token_id\":[[1]]}")]
    [InlineData("{\"do_sample\":\"yes\"}")]
    public void Open_Refuses_HostileGenerationDefaults(string json)
    {
        using var folder = new TemporaryFolder();
        ChangedConfig(folder, _ => { });
        LoadedModel.Open(folder.Path).Dispose();
        File.WriteAllText(folder["generation_config.json"], json);
        Refused(folder.Path);
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}""")] // past the end
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""")]
    [InlineData("""{"a":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e300]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2147483647,2147483647,2147483647,2147483647],"data_offsets":[0,8]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"a":{"shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"a":[]}""")]
    [InlineData("""{"a":null}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}""")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("""{"\u001b[31m":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""")]
    [InlineData("not json")]
    public void Safetensors_Refuses_AHostileHeader(string header)
    {
        using var folder = new TemporaryFolder();
        ModelFileFolders.WriteSafetensors(folder["a.safetensors"], header, new byte[8]);
        Assert.Throws<ModelFileException>(() => ReadTensors(folder["a.safetensors"]));

        ModelFileFolders.WriteSafetensors(folder["a.safetensors"], OneTensor, new byte[8]);
        Assert.Single(ReadTensors(folder["a.safetensors"]));
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    [InlineData(1UL << 40)]
    [InlineData(67UL)] // one more than the file has
    public void Safetensors_Refuses_AHostileHeaderLength(ulong length)
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = new byte[8 + 66];
        BitConverter.TryWriteBytes(bytes, length);
        File.WriteAllBytes(folder["a.safetensors"], bytes);
        Assert.Throws<ModelFileException>(() => ReadTensors(folder["a.safetensors"]));
        File.WriteAllBytes(folder["a.safetensors"], bytes[..7]);
        Assert.Throws<ModelFileException>(() => ReadTensors(folder["a.safetensors"]));
    }

    [Theory]
    [InlineData("I32", "expected")]
    [InlineData("F8_E4M3", "expected")]
    public void Open_NamesTheType_OfAMatrixItCannotUse(string type, string named)
    {
        using var folder = new TemporaryFolder();
        ChangedConfig(folder, _ => { }, tensor => tensor.Name.EndsWith("layers.1.mlp.up_proj.weight", StringComparison.Ordinal) ? tensor with { Type = type } : tensor);
        string message = Refused(folder.Path);
        Assert.Contains("layers.1.mlp.up_proj.weight", message, StringComparison.Ordinal);
        Assert.Contains(type.ToLowerInvariant(), message, StringComparison.Ordinal);
        Assert.Contains(named, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_NamesAMissingAndAWrongTensor()
    {
        using var folder = new TemporaryFolder();
        ChangedConfig(folder, _ => { }, tensor => tensor.Name == "model.norm.weight" ? tensor with { Name = "model.other" } : tensor);
        Assert.Contains("'model.norm.weight' is missing", Refused(folder.Path), StringComparison.Ordinal);

        ChangedConfig(folder, _ => { }, tensor => tensor.Name == "model.norm.weight" ? tensor with { Shape = [2, 64] } : tensor);
        Assert.Contains("'model.norm.weight' has shape [2, 64]; expected [128]", Refused(folder.Path), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("../model.safetensors")]
    [InlineData("/etc/model.safetensors")]
    [InlineData("sub/model.safetensors")]
    [InlineData("config.json")]
    [InlineData("absent.safetensors")]
    public void Open_RefusesAShardElsewhere(string shard)
    {
        using var folder = new TemporaryFolder();
        using LoadedModel source = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        WriteShards(folder, source, ["model-00001-of-00001.safetensors"]);
        LoadedModel.Open(folder.Path).Dispose();

        string index = File.ReadAllText(folder["model.safetensors.index.json"]);
        File.WriteAllText(folder["model.safetensors.index.json"], index.Replace("model-00001-of-00001.safetensors", shard, StringComparison.Ordinal));
        Refused(folder.Path);
    }

    [Fact]
    public void Open_RefusesTheSameTensorInTwoShards()
    {
        using var folder = new TemporaryFolder();
        using LoadedModel source = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        WriteShards(folder, source, ["a.safetensors", "b.safetensors"]);
        File.Copy(folder["a.safetensors"], folder["b.safetensors"], overwrite: true);
        Assert.Contains("Two tensors", Refused(folder.Path), StringComparison.Ordinal);
    }

    [Fact]
    public void OpenTokenizer_PrefersTokenizerJson_AndFallsBackToTokenizerModel()
    {
        using var folder = new TemporaryFolder();
        Assert.Contains("tokenizer.json", Assert.Throws<ModelFileException>(() => LoadedModel.OpenTokenizer(folder.Path)).Message, StringComparison.Ordinal);
        File.Copy(Path.Combine(TestData.DemoModel, "tokenizer.model"), folder["tokenizer.model"]);
        Assert.Equal(4096, LoadedModel.OpenTokenizer(folder.Path).VocabSize);
        File.WriteAllText(folder["tokenizer.json"], "{}");
        Assert.Throws<ModelFileException>(() => LoadedModel.OpenTokenizer(folder.Path));
    }

    [Fact]
    public void OpenTokenizer_RefusesMoreIdsThanEmbeddings()
    {
        using var folder = new TemporaryFolder();
        ChangedConfig(folder, _ => { }); // 512 embeddings
        File.Copy(Path.Combine(TestData.DemoModel, "tokenizer.json"), folder["tokenizer.json"]);
        using LoadedModel model = LoadedModel.Open(folder.Path);
        Assert.Contains("4096", Assert.Throws<ModelFileException>(model.OpenTokenizer).Message, StringComparison.Ordinal);
    }

    private static List<StoredTensor> ReadTensors(string path)
    {
        using var file = new MappedFile(path);
        var table = new TensorTable(path, name => name);
        SafetensorsFile.Read(file, table);
        return table.All;
    }

    private static void ChangedConfig(TemporaryFolder folder, Action<JsonObject> change, Func<CheckpointTensor, CheckpointTensor>? changeTensor = null)
    {
        using LoadedModel source = LoadedModel.Open(TestData.Path("oracle/tiny-a-f32.gguf"));
        JsonObject config = ModelFileFolders.ConfigJson(source.Config, attentionKEqV: false);
        change(config);
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        ModelFileFolders.WriteSafetensors(folder["model.safetensors"], ModelFileFolders.Tensors(source.Weights, "model.").Select(changeTensor ?? (tensor => tensor)));
    }

    private static void WriteShards(TemporaryFolder folder, LoadedModel source, string[] names)
    {
        File.WriteAllText(folder["config.json"], ModelFileFolders.ConfigJson(source.Config, attentionKEqV: false).ToJsonString());
        var map = new JsonObject();
        List<CheckpointTensor> tensors = ModelFileFolders.Tensors(source.Weights, "model.");
        foreach ((string name, int shard) in names.Select((name, shard) => (name, shard)))
        {
            CheckpointTensor[] part = [.. tensors.Where((_, i) => i % names.Length == shard)];
            ModelFileFolders.WriteSafetensors(folder[name], part);
            foreach (CheckpointTensor tensor in part)
            {
                map[tensor.Name] = name;
            }
        }

        File.WriteAllText(folder["model.safetensors.index.json"], new JsonObject { ["weight_map"] = map }.ToJsonString());
    }

    private static string Refused(string folder)
    {
        ModelFileException error = Assert.Throws<ModelFileException>(() => LoadedModel.Open(folder).Dispose());
        Assert.Contains(folder, error.Message, StringComparison.Ordinal);
        return error.Message;
    }
}
