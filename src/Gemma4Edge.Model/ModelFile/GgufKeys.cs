using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Writes what <see cref="GgufModel"/> reads: the shape of the network, the vocabulary, the generation defaults; or copies them from another GGUF.</summary>
internal static class GgufKeys
{
    private const float NoScore = -1000; // merges rank, scores do not

    // What belongs to the old file's layout, not to the model.
    private static readonly string[] s_ofTheFile = ["general.alignment", "general.file_type", "general.quantization_version", "split.", TurboQuantKeys.Prefix];

    /// <summary>Copies every key but those of the file's own layout.</summary>
    public static void Copy(GgufWriter writer, MappedFile file)
    {
        foreach ((string key, GgufValue value) in new GgufFile(file).Metadata.Values)
        {
            if (!Array.Exists(s_ofTheFile, prefix => key.StartsWith(prefix, StringComparison.Ordinal)))
            {
                writer.AddKey(key, value.IsArray ? GgufType.Array : value.Element, output => CopyValue(output, file, value));
            }
        }
    }

    /// <summary>Adds the shape of the network.</summary>
    public static void AddConfig(GgufWriter writer, Gemma4Config config)
    {
        Add("block_count", config.NumHiddenLayers);
        Add("context_length", config.MaxPositionEmbeddings);
        Add("embedding_length", config.HiddenSize);
        Add("embedding_length_per_layer_input", config.HiddenSizePerLayerInput);
        Add("attention.head_count", config.NumAttentionHeads);
        Add("attention.sliding_window", config.SlidingWindow);
        Add("attention.shared_kv_layers", config.NumKvSharedLayers);
        foreach (string kind in new[] { "attention.key_length", "attention.value_length", "rope.dimension_count" })
        {
            Add(kind, config.GlobalHeadDim);
            Add($"{kind}_swa", config.HeadDim);
        }

        if (config.NumKeyValueHeads.Distinct().Count() == 1)
        {
            Add("attention.head_count_kv", config.NumKeyValueHeads[0]);
        }
        else
        {
            writer.Add("gemma4.attention.head_count_kv", config.NumKeyValueHeads);
        }

        if (config.NumExperts > 0)
        {
            Add("expert_count", config.NumExperts);
            Add("expert_used_count", config.TopKExperts);
            Add("expert_feed_forward_length", config.MoeIntermediateSize);
        }

        writer.Add("gemma4.feed_forward_length", config.IntermediateSizes);
        writer.Add("gemma4.attention.sliding_window_pattern", [.. config.LayerTypes.Select(type => type == LayerType.Sliding)]);
        writer.Add("gemma4.attention.layer_norm_rms_epsilon", config.RmsNormEps);
        writer.Add("gemma4.rope.freq_base", config.RopeThetaFull);
        writer.Add("gemma4.rope.freq_base_swa", config.RopeThetaSliding);
        writer.Add("gemma4.final_logit_softcapping", config.FinalLogitSoftcapping);

        void Add(string name, int value) => writer.Add($"gemma4.{name}", (uint)value);
    }

    /// <summary>Adds how the model is sampled: GGUF has no switch for greedy, temperature 0 says it.</summary>
    public static void AddGeneration(GgufWriter writer, GenerationDefaults generation)
    {
        if (generation.DoSample == false || generation.Temperature is not null)
        {
            writer.Add("general.sampling.temp", generation.DoSample == false ? 0 : generation.Temperature!.Value);
        }

        if (generation.TopK is { } topK)
        {
            writer.Add("general.sampling.top_k", (uint)topK);
        }

        if (generation.TopP is { } topP)
        {
            writer.Add("general.sampling.top_p", topP);
        }
    }

    /// <summary>Adds the tokenizer of a folder.</summary>
    /// <exception cref="ModelFileException">It has no tokenizer.json, or a damaged one.</exception>
    public static void AddTokenizer(GgufWriter writer, string folder, GenerationDefaults generation)
    {
        string path = Path.Combine(folder, "tokenizer.json");
        if (!File.Exists(path))
        {
            throw new ModelFileException(folder, 0, "The folder has no tokenizer.json, whose merges the new file needs.", "Get the model's tokenizer.json too.");
        }

        Vocabulary vocabulary;
        try
        {
            using FileStream file = File.OpenRead(path);
            vocabulary = TokenizerJson.Read(file);
        }
        catch (FormatException error)
        {
            throw new ModelFileException(path, 0, error.Message, ModelFileException.GetItAgain);
        }

        SpecialTokens special = GemmaTokenizer.FromVocabulary(vocabulary).Special;
        writer.Add("tokenizer.ggml.model", "gemma4");
        writer.Add("tokenizer.ggml.tokens", vocabulary.Pieces);
        writer.Add("tokenizer.ggml.scores", [.. Enumerable.Repeat(NoScore, vocabulary.Pieces.Count)]);
        writer.Add("tokenizer.ggml.token_type", [.. vocabulary.Kinds.Select(kind => (int)kind)]);
        writer.Add("tokenizer.ggml.merges", vocabulary.Merges);
        AddId("bos", special.Bos);
        AddId("eos", generation.EosTokenIds is [int first, ..] ? first : special.Eos);
        AddId("eot", special.TurnEnd);
        AddId("unknown", vocabulary.Kinds.ToList().IndexOf(PieceKind.Unknown));
        writer.Add("tokenizer.ggml.add_bos_token", true);
        writer.Add("tokenizer.ggml.add_space_prefix", false);

        void AddId(string name, int id)
        {
            if (id >= 0)
            {
                writer.Add($"tokenizer.ggml.{name}_token_id", (uint)id);
            }
        }
    }

    private static void CopyValue(BinaryWriter output, MappedFile file, GgufValue value)
    {
        if (value.IsArray)
        {
            output.Write((uint)value.Element);
            output.Write((ulong)value.Count);
        }

        output.Write(file.Span(value.Offset, checked((int)value.Bytes)));
    }
}
