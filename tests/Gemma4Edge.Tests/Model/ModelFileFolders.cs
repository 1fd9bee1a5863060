using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json.Nodes;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

/// <summary>A temporary folder that goes with the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("gemma4edge-test-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

/// <summary>One tensor of a checkpoint under its full name.</summary>
internal sealed record CheckpointTensor(string Name, string Type, int[] Shape, byte[] Data);

/// <summary>Writes the Hugging Face form of a model. Says every tensor name and configuration key once more, independently of the reader.</summary>
internal static unsafe class ModelFileFolders
{
    /// <summary>The configuration as config.json has it.</summary>
    public static JsonObject ConfigJson(Gemma4Config config, bool attentionKEqV) => new()
    {
        ["model_type"] = "gemma4_text",
        ["vocab_size"] = config.VocabSize,
        ["hidden_size"] = config.HiddenSize,
        ["num_hidden_layers"] = config.NumHiddenLayers,
        ["layer_types"] = new JsonArray([.. config.LayerTypes.Select(type => (JsonNode)(type == LayerType.Full ? "full_attention" : "sliding_attention"))]),
        ["intermediate_size"] = config.IntermediateSizes[0],
        ["use_double_wide_mlp"] = config.IntermediateSizes[^1] > config.IntermediateSizes[0],
        ["num_attention_heads"] = config.NumAttentionHeads,
        ["num_key_value_heads"] = config.NumKeyValueHeads[0],
        ["num_global_key_value_heads"] = attentionKEqV ? config.NumKeyValueHeads[config.LayerTypes.ToList().IndexOf(LayerType.Full)] : null,
        ["attention_k_eq_v"] = attentionKEqV,
        ["head_dim"] = config.HeadDim,
        ["global_head_dim"] = config.GlobalHeadDim,
        ["sliding_window"] = config.SlidingWindow,
        ["num_kv_shared_layers"] = config.NumKvSharedLayers,
        ["hidden_size_per_layer_input"] = config.HiddenSizePerLayerInput,
        ["rms_norm_eps"] = config.RmsNormEps,
        ["rope_parameters"] = new JsonObject
        {
            ["sliding_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = config.RopeThetaSliding },
            ["full_attention"] = new JsonObject { ["rope_type"] = "proportional", ["rope_theta"] = config.RopeThetaFull, ["partial_rotary_factor"] = 0.25 },
        },
        ["final_logit_softcapping"] = config.FinalLogitSoftcapping,
        ["max_position_embeddings"] = config.MaxPositionEmbeddings,
        ["enable_moe_block"] = config.NumExperts > 0,
        ["num_experts"] = config.NumExperts > 0 ? config.NumExperts : null,
        ["top_k_experts"] = config.NumExperts > 0 ? config.TopKExperts : null,
        ["moe_intermediate_size"] = config.NumExperts > 0 ? config.MoeIntermediateSize : null,
    };

    /// <summary>Every tensor of a model whose matrices are plain floats.</summary>
    public static List<CheckpointTensor> Tensors(Gemma4Weights weights, string prefix)
    {
        List<CheckpointTensor> all = [];
        Add("embed_tokens.weight", weights.EmbedTokens);
        Add("embed_tokens_per_layer.weight", weights.EmbedTokensPerLayer);
        Add("per_layer_model_projection.weight", weights.PerLayerModelProjection);
        Add("per_layer_projection_norm.weight", weights.PerLayerProjectionNorm);
        Add("norm.weight", weights.Norm);
        for (int i = 0; i < weights.Layers.Count; i++)
        {
            LayerWeights layer = weights.Layers[i];
            string at = string.Create(CultureInfo.InvariantCulture, $"layers.{i}.");
            Add(at + "input_layernorm.weight", layer.InputLayerNorm);
            Add(at + "self_attn.q_proj.weight", layer.QProj);
            Add(at + "self_attn.k_proj.weight", layer.KProj);
            Add(at + "self_attn.v_proj.weight", layer.VProj);
            Add(at + "self_attn.o_proj.weight", layer.OProj);
            Add(at + "self_attn.q_norm.weight", layer.QNorm);
            Add(at + "self_attn.k_norm.weight", layer.KNorm);
            Add(at + "post_attention_layernorm.weight", layer.PostAttentionLayerNorm);
            Add(at + "pre_feedforward_layernorm.weight", layer.PreFeedForwardLayerNorm);
            Add(at + "mlp.gate_proj.weight", layer.GateProj);
            Add(at + "mlp.up_proj.weight", layer.UpProj);
            Add(at + "mlp.down_proj.weight", layer.DownProj);
            Add(at + "post_feedforward_layernorm.weight", layer.PostFeedForwardLayerNorm);
            Add(at + "per_layer_input_gate.weight", layer.PerLayerInputGate);
            Add(at + "per_layer_projection.weight", layer.PerLayerProjection);
            Add(at + "post_per_layer_input_norm.weight", layer.PostPerLayerInputNorm);
            Add(at + "layer_scalar", new[] { layer.LayerScalar });
            if (layer.Experts is { } experts)
            {
                Add(at + "router.proj.weight", experts.RouterProj);
                Add(at + "router.scale", experts.RouterScale);
                Add(at + "router.per_expert_scale", experts.PerExpertScale);
                AddStack(at + "experts.gate_up_proj", experts.GateUpProj);
                AddStack(at + "experts.down_proj", experts.DownProj);
                Add(at + "pre_feedforward_layernorm_2.weight", experts.PreFeedForwardLayerNorm2);
                Add(at + "post_feedforward_layernorm_1.weight", experts.PostFeedForwardLayerNorm1);
                Add(at + "post_feedforward_layernorm_2.weight", experts.PostFeedForwardLayerNorm2);
            }
        }

        return all;

        void Add(string name, object? value)
        {
            if (value is WeightMatrix matrix)
            {
                all.Add(new CheckpointTensor(prefix + name, matrix.Format.Name.ToUpperInvariant(), [matrix.Rows, matrix.Columns], Bytes(matrix).ToArray()));
            }
            else if (value is float[] vector)
            {
                all.Add(new CheckpointTensor(prefix + name, "F32", [vector.Length], MemoryMarshal.AsBytes<float>(vector).ToArray()));
            }
        }

        void AddStack(string name, IReadOnlyList<WeightMatrix> stack) => all.Add(new CheckpointTensor(
            prefix + name, stack[0].Format.Name.ToUpperInvariant(), [stack.Count, stack[0].Rows, stack[0].Columns], [.. stack.SelectMany(matrix => Bytes(matrix).ToArray())]));
    }

    /// <summary>A safetensors file.</summary>
    public static void WriteSafetensors(string path, IEnumerable<CheckpointTensor> tensors)
    {
        var header = new JsonObject { ["__metadata__"] = new JsonObject { ["format"] = "pt" } };
        var data = new MemoryStream();
        foreach (CheckpointTensor tensor in tensors)
        {
            header[tensor.Name] = new JsonObject
            {
                ["dtype"] = tensor.Type,
                ["shape"] = new JsonArray([.. tensor.Shape.Select(size => (JsonNode)size)]),
                ["data_offsets"] = new JsonArray(data.Length, data.Length + tensor.Data.Length),
            };
            data.Write(tensor.Data);
        }

        WriteSafetensors(path, header.ToJsonString(), data.ToArray());
    }

    /// <summary>A safetensors file with any text as its header.</summary>
    public static void WriteSafetensors(string path, string header, byte[] data)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(header);
        File.WriteAllBytes(path, [.. BitConverter.GetBytes((ulong)utf8.Length), .. utf8, .. data]);
    }

    /// <summary>The whole Hugging Face form of a GGUF with plain float weights.</summary>
    public static void Convert(string gguf, string folder, string prefix)
    {
        using LoadedModel model = LoadedModel.Open(gguf);
        bool keyIsValue = model.Weights.Layers.Where((layer, i) => !model.Config.IsKvShared(i)).Any(layer => layer.VProj is null);
        File.WriteAllText(Path.Combine(folder, "config.json"), ConfigJson(model.Config, keyIsValue).ToJsonString());
        WriteSafetensors(Path.Combine(folder, "model.safetensors"), Tensors(model.Weights, prefix));
    }

    /// <summary>Fails unless both models have the same shape and the same weights, bit for bit.</summary>
    public static void AssertSame(LoadedModel expected, LoadedModel actual)
    {
        Assert.Equal(Flat(expected.Config), Flat(actual.Config));
        Assert.Equal(expected.Weights.RopeFactorsFull, actual.Weights.RopeFactorsFull);
        Assert.Equal(expected.ParameterCount, actual.ParameterCount);
        Assert.Equal(expected.BytesPerToken, actual.BytesPerToken);
        Assert.Equal(expected.PleBytes, actual.PleBytes);
        List<CheckpointTensor> actualTensors = Tensors(actual.Weights, "");
        Assert.Equal(Tensors(expected.Weights, "").Count, actualTensors.Count);
        foreach ((CheckpointTensor one, CheckpointTensor other) in Tensors(expected.Weights, "").Zip(actualTensors))
        {
            Assert.Equal(one.Name, other.Name);
            Assert.Equal(one.Shape, other.Shape);
            Assert.True(one.Data.AsSpan().SequenceEqual(other.Data), $"{one.Name} differs");
        }

        static string Flat(Gemma4Config config) =>
            $"{config with { LayerTypes = [], IntermediateSizes = [], NumKeyValueHeads = [] }} {string.Join(' ', config.LayerTypes)} {string.Join(' ', config.IntermediateSizes)} {string.Join(' ', config.NumKeyValueHeads)}"
                .Replace(config.LayerTypes.GetType().ToString(), "", StringComparison.Ordinal);
    }

    private static ReadOnlySpan<byte> Bytes(WeightMatrix matrix) => new(matrix.Data, checked((int)matrix.Bytes));
}
