namespace Gemma4Edge.Model.ModelFile;

/// <summary>The two names of every tensor. The code uses the checkpoint's (without prefix); this is the one place that knows GGUF's.</summary>
internal static class TensorNames
{
    private static readonly Dictionary<string, string> s_model = new()
    {
        ["embed_tokens.weight"] = "token_embd.weight",
        ["lm_head.weight"] = "output.weight",
        ["embed_tokens_per_layer.weight"] = "per_layer_token_embd.weight",
        ["per_layer_model_projection.weight"] = "per_layer_model_proj.weight",
        ["per_layer_projection_norm.weight"] = "per_layer_proj_norm.weight",
        ["norm.weight"] = "output_norm.weight",
        ["rope_freqs.weight"] = "rope_freqs.weight", // the checkpoint has none: it follows from partial_rotary_factor
    };

    private static readonly Dictionary<string, string> s_layer = new()
    {
        ["input_layernorm.weight"] = "attn_norm.weight",
        ["self_attn.q_proj.weight"] = "attn_q.weight",
        ["self_attn.k_proj.weight"] = "attn_k.weight",
        ["self_attn.v_proj.weight"] = "attn_v.weight",
        ["self_attn.o_proj.weight"] = "attn_output.weight",
        ["self_attn.q_norm.weight"] = "attn_q_norm.weight",
        ["self_attn.k_norm.weight"] = "attn_k_norm.weight",
        ["post_attention_layernorm.weight"] = "post_attention_norm.weight",
        ["pre_feedforward_layernorm.weight"] = "ffn_norm.weight",
        ["mlp.gate_proj.weight"] = "ffn_gate.weight",
        ["mlp.up_proj.weight"] = "ffn_up.weight",
        ["mlp.down_proj.weight"] = "ffn_down.weight",
        ["post_feedforward_layernorm.weight"] = "post_ffw_norm.weight",
        ["router.proj.weight"] = "ffn_gate_inp.weight",
        ["router.scale"] = "ffn_gate_inp.scale",
        ["router.per_expert_scale"] = "ffn_down_exps.scale",
        ["experts.gate_up_proj"] = "ffn_gate_up_exps.weight",
        ["experts.down_proj"] = "ffn_down_exps.weight",
        ["pre_feedforward_layernorm_2.weight"] = "pre_ffw_norm_2.weight",
        ["post_feedforward_layernorm_1.weight"] = "post_ffw_norm_1.weight",
        ["post_feedforward_layernorm_2.weight"] = "post_ffw_norm_2.weight",
        ["per_layer_input_gate.weight"] = "inp_gate.weight",
        ["per_layer_projection.weight"] = "proj.weight",
        ["post_per_layer_input_norm.weight"] = "post_norm.weight",
        ["layer_scalar"] = "layer_output_scale.weight",
    };

    /// <summary>The checkpoint's name of a tensor of one layer.</summary>
    public static string OfLayer(int layer, string name) => $"layers.{layer}.{name}";

    /// <summary>Every name a network of so many layers can have, in the order in which they are written.</summary>
    public static IEnumerable<string> All(int layers) =>
        s_model.Keys.Concat(Enumerable.Range(0, layers).SelectMany(layer => s_layer.Keys.Select(name => OfLayer(layer, name))));

    /// <summary>GGUF's name of a tensor.</summary>
    public static string ToGguf(string name)
    {
        if (s_model.TryGetValue(name, out string? gguf))
        {
            return gguf;
        }

        string[] parts = name.Split('.', 3); // layers . i . rest
        return $"blk.{parts[1]}.{s_layer[parts[2]]}";
    }
}
