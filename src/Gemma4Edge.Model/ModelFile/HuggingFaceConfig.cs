using System.Text.Json;
using static Gemma4Edge.Model.ModelFile.ConfigCheck;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Reads config.json. What the network does not do (other activations, untied heads, scaled rotation) is refused, not ignored.</summary>
internal static class HuggingFaceConfig
{
    private const string Sliding = "sliding_attention";
    private const string Full = "full_attention";
    private const int DefaultPattern = 6; // every sixth layer is full where layer_types is absent, and the last
    private const float DefaultSoftcap = 30;
    private const float DefaultEps = 1e-6f;
    private const float DefaultThetaSliding = 10_000;
    private const float DefaultPartialRotaryFactor = 0.25f;

    /// <summary>The text network's part of config.json: the file itself, or its text_config.</summary>
    /// <exception cref="ModelFileException">It describes another kind of model.</exception>
    public static JsonSection TextSection(JsonSection root)
    {
        JsonSection text = root.Section("text_config") ?? root;
        string type = text.OptionalText("model_type") ?? "missing";
        return type == "gemma4_text" ? text : throw text.Bad("model_type", $"is {type}; expected gemma4_text", ModelFileException.UseGemma4);
    }

    /// <summary>The shape of the network.</summary>
    /// <exception cref="ModelFileException">A value is missing, implausible, or asks for what this network does not do.</exception>
    public static Gemma4Config Read(JsonSection text)
    {
        Expect("hidden_activation", text.OptionalText("hidden_activation") is null or "gelu_pytorch_tanh", "gelu_pytorch_tanh");
        Expect("attention_bias", text.OptionalBool("attention_bias") is null or false, "false");
        Expect("tie_word_embeddings", text.OptionalBool("tie_word_embeddings") is null or true, "true");
        Expect("use_bidirectional_attention", text.Find("use_bidirectional_attention") is null or { ValueKind: JsonValueKind.False } || text.OptionalText("use_bidirectional_attention") == "vision", "none or vision");

        int layers = text.Int32("num_hidden_layers", 1, MaxLayers);
        int shared = text.OptionalInt32("num_kv_shared_layers", 0, layers) ?? 0;
        int width = text.Int32("intermediate_size", 1, MaxWidth / 2);
        int wideWidth = text.OptionalBool("use_double_wide_mlp") == true ? 2 * width : width;
        int kvHeads = text.Int32("num_key_value_heads", 1, MaxHeads);
        int fullKvHeads = text.OptionalBool("attention_k_eq_v") == true ? text.OptionalInt32("num_global_key_value_heads", 1, MaxHeads) ?? kvHeads : kvHeads;
        LayerType[] types = LayerTypes(text, layers);
        bool mixture = text.OptionalBool("enable_moe_block") == true;
        return new Gemma4Config
        {
            NumHiddenLayers = layers,
            HiddenSize = text.Int32("hidden_size", 1, MaxWidth),
            VocabSize = text.Int32("vocab_size", 1, MaxVocabSize),
            LayerTypes = types,
            IntermediateSizes = [.. Enumerable.Range(0, layers).Select(layer => layer >= layers - shared ? wideWidth : width)],
            NumAttentionHeads = text.Int32("num_attention_heads", 1, MaxHeads),
            NumKeyValueHeads = Array.ConvertAll(types, type => type == LayerType.Full ? fullKvHeads : kvHeads),
            HeadDim = text.Int32("head_dim", 2, MaxHeadDim),
            GlobalHeadDim = text.Int32("global_head_dim", 2, MaxHeadDim),
            SlidingWindow = text.Int32("sliding_window", 1, MaxWindow),
            NumKvSharedLayers = shared,
            HiddenSizePerLayerInput = text.OptionalInt32("hidden_size_per_layer_input", 0, MaxWidth) ?? 0,
            RmsNormEps = text.OptionalSingle("rms_norm_eps") ?? DefaultEps,
            RopeThetaSliding = Rope(text, Sliding)?.OptionalSingle("rope_theta") ?? text.OptionalSingle("rope_local_base_freq") ?? DefaultThetaSliding,
            RopeThetaFull = Rope(text, Full)?.OptionalSingle("rope_theta") ?? text.OptionalSingle("rope_theta") ?? throw text.Bad("rope_parameters", "is missing"),
            FinalLogitSoftcapping = text.OptionalSingle("final_logit_softcapping") ?? (text.Has("final_logit_softcapping") ? 0 : DefaultSoftcap),
            MaxPositionEmbeddings = text.Int32("max_position_embeddings", 1, MaxContext),
            NumExperts = mixture ? text.Int32("num_experts", 1, MaxExperts) : 0,
            TopKExperts = mixture ? text.Int32("top_k_experts", 1, MaxExperts) : 0,
            MoeIntermediateSize = mixture ? text.Int32("moe_intermediate_size", 1, MaxWidth) : 0,
        };

        void Expect(string key, bool holds, string expected)
        {
            if (!holds)
            {
                throw text.Bad(key, $"asks for what this network does not do; expected {expected}", ModelFileException.UseGemma4);
            }
        }
    }

    /// <summary>Share of a full layer's head that rotates.</summary>
    /// <exception cref="ModelFileException">It is not in [0, 1], or sliding layers rotate only in part, or the rotation is scaled.</exception>
    public static float PartialRotaryFactor(JsonSection text)
    {
        CheckType(Sliding, "default");
        CheckType(Full, "proportional");
        if ((Rope(text, Sliding)?.OptionalSingle("partial_rotary_factor") ?? 1) != 1)
        {
            throw text.Bad("rope_parameters", "rotates sliding layers in part; expected the whole head", ModelFileException.UseGemma4);
        }

        float share = Rope(text, Full)?.OptionalSingle("partial_rotary_factor") ?? text.OptionalSingle("partial_rotary_factor") ?? DefaultPartialRotaryFactor;
        return share is >= 0 and <= 1 ? share : throw text.Bad("partial_rotary_factor", "is out of range; expected 0 to 1");

        void CheckType(string layerType, string expected)
        {
            if (Rope(text, layerType) is { } rope && rope.OptionalText("rope_type") is { } type && type != expected)
            {
                throw rope.Bad("rope_type", $"is '{type}'; expected '{expected}'", ModelFileException.UseGemma4);
            }
        }
    }

    private static JsonSection? Rope(JsonSection text, string layerType) => text.Section("rope_parameters")?.Section(layerType);

    private static LayerType[] LayerTypes(JsonSection text, int layers)
    {
        if (text.Find("layer_types") is null)
        {
            return [.. Enumerable.Range(1, layers).Select(number => number % DefaultPattern == 0 || number == layers ? LayerType.Full : LayerType.Sliding)];
        }

        JsonElement[] names = text.Elements("layer_types", layers);
        return names.Length != layers
            ? throw text.Bad("layer_types", $"has {names.Length} entries; expected {layers}")
            : Array.ConvertAll(names, name => text.ToText("layer_types", name) switch
            {
                Sliding => LayerType.Sliding,
                Full => LayerType.Full,
                string other => throw text.Bad("layer_types", $"holds '{other}'; expected {Sliding} or {Full}"),
            });
    }
}
