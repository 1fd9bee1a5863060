using Gemma4Edge.Model.Text;
using static Gemma4Edge.Model.ModelFile.ConfigCheck;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Reads a Gemma 4 GGUF: metadata keys to <see cref="Gemma4Config"/>, tensor names, vocabulary.</summary>
internal static class GgufModel
{
    private const string Architecture = "gemma4";
    private const float DefaultSoftcap = 30; // some converters leave the key out

    /// <summary>Everything but the vocabulary.</summary>
    /// <exception cref="ModelFileException">The file is no Gemma 4 model, or damaged.</exception>
    public static ModelContents Read(MappedFile file)
    {
        var gguf = new GgufFile(file);
        GgufMetadata metadata = gguf.Metadata;
        CheckArchitecture(metadata);
        var tensors = new TensorTable(file.Path, TensorNames.ToGguf);
        gguf.Tensors.ForEach(tensors.Add);

        Gemma4Config config = ReadConfig(metadata, tensors.Get("embed_tokens.weight"));
        Check(config, file.Path);
        return new ModelContents
        {
            Format = "gguf",
            Name = metadata.Find("general.name") is null ? Path.GetFileNameWithoutExtension(file.Path) : Printable.Line(metadata.Text("general.name")),
            Config = config,
            Tensors = tensors,
            Generation = ReadGeneration(metadata, config.VocabSize),
            ChatTemplate = metadata.Find("tokenizer.chat_template") is null ? null : metadata.Text("tokenizer.chat_template"),
        };
    }

    /// <summary>The vocabulary; the file needs no weights.</summary>
    /// <exception cref="ModelFileException">The file has no Gemma 4 vocabulary.</exception>
    public static Vocabulary ReadVocabulary(MappedFile file)
    {
        GgufMetadata metadata = new GgufFile(file).Metadata;
        CheckArchitecture(metadata);
        PackedStrings pieces = metadata.Texts("tokenizer.ggml.tokens");
        int[] kinds = metadata.Int32s("tokenizer.ggml.token_type", pieces.Count, (int)PieceKind.Normal, (int)PieceKind.Byte);
        return new Vocabulary
        {
            Pieces = pieces,
            Kinds = Array.ConvertAll(kinds, kind => (PieceKind)kind),
            Merges = metadata.Texts("tokenizer.ggml.merges"),
        };
    }

    private static void CheckArchitecture(GgufMetadata metadata)
    {
        string found = metadata.Text("general.architecture");
        if (found != Architecture)
        {
            throw metadata.Bad("general.architecture", $"is '{found}'; expected '{Architecture}'", ModelFileException.UseGemma4);
        }
    }

    private static Gemma4Config ReadConfig(GgufMetadata metadata, StoredTensor embedding)
    {
        int layers = Int("block_count", 1, MaxLayers);
        int experts = Int("expert_count", 0, MaxExperts, 0);
        return new Gemma4Config
        {
            NumHiddenLayers = layers,
            HiddenSize = Int("embedding_length", 1, MaxWidth),
            VocabSize = embedding.Shape.Length == 2 && embedding.Shape[0] <= MaxVocabSize
                ? embedding.Shape[0]
                : throw new ModelFileException(metadata.Path, embedding.Offset, $"The tensor '{embedding.Name}' has shape {embedding.ShapeText}; expected two dimensions.", ModelFileException.GetItAgain),
            LayerTypes = Array.ConvertAll(metadata.Bools(Key("attention.sliding_window_pattern"), layers), sliding => sliding ? LayerType.Sliding : LayerType.Full),
            IntermediateSizes = metadata.Int32s(Key("feed_forward_length"), layers, 1, MaxWidth),
            NumAttentionHeads = OneForAll("attention.head_count", layers),
            NumKeyValueHeads = metadata.Int32s(Key("attention.head_count_kv"), layers, 1, MaxHeads),
            HeadDim = HeadSize("_swa"),
            GlobalHeadDim = HeadSize(""),
            SlidingWindow = Int("attention.sliding_window", 1, MaxWindow),
            NumKvSharedLayers = Int("attention.shared_kv_layers", 0, MaxLayers, 0),
            HiddenSizePerLayerInput = Int("embedding_length_per_layer_input", 0, MaxWidth, 0),
            RmsNormEps = metadata.Single(Key("attention.layer_norm_rms_epsilon")),
            RopeThetaSliding = metadata.Single(Key("rope.freq_base_swa")),
            RopeThetaFull = metadata.Single(Key("rope.freq_base")),
            FinalLogitSoftcapping = metadata.Find(Key("final_logit_softcapping")) is null ? DefaultSoftcap : metadata.Single(Key("final_logit_softcapping")),
            MaxPositionEmbeddings = Int("context_length", 1, MaxContext),
            NumExperts = experts,
            TopKExperts = experts == 0 ? 0 : Int("expert_used_count", 1, MaxExperts),
            MoeIntermediateSize = experts == 0 ? 0 : Int("expert_feed_forward_length", 1, MaxWidth),
        };

        string Key(string name) => $"{Architecture}.{name}";

        int Int(string name, int min, int max, int? missing = null) =>
            missing is { } value && metadata.Find(Key(name)) is null ? value : metadata.Int32(Key(name), min, max);

        int OneForAll(string name, int count)
        {
            int[] values = metadata.Int32s(Key(name), count, 1, MaxHeads);
            return Array.TrueForAll(values, value => value == values[0]) ? values[0] : throw metadata.Bad(Key(name), "differs between layers; expected one number");
        }

        // Keys, values and rotation span the whole head in every Gemma 4; partial rotation is told by rope_freqs.
        int HeadSize(string suffix)
        {
            int size = Int($"attention.key_length{suffix}", 2, MaxHeadDim);
            foreach (string same in new[] { $"attention.value_length{suffix}", $"rope.dimension_count{suffix}" })
            {
                if (Int(same, 1, MaxHeadDim, size) != size)
                {
                    throw metadata.Bad(Key(same), $"differs from the key length {size}", ModelFileException.UseGemma4);
                }
            }

            return size;
        }
    }

    private static GenerationDefaults ReadGeneration(GgufMetadata metadata, int vocabSize)
    {
        const string Temperature = "general.sampling.temp";
        const string TopK = "general.sampling.top_k";
        const string TopP = "general.sampling.top_p";
        const string Eos = "tokenizer.ggml.eos_token_id";
        return new GenerationDefaults
        {
            Temperature = Optional(Temperature, metadata.Single, value => value is >= 0 and <= SamplingOptions.MaxTemperature),
            TopK = metadata.Find(TopK) is null ? null : metadata.Int32(TopK, 0, int.MaxValue),
            TopP = Optional(TopP, metadata.Single, value => value is > 0 and <= 1),
            EosTokenIds = metadata.Find(Eos) is null ? [] : [metadata.Int32(Eos, 0, vocabSize - 1)],
        };

        float? Optional(string key, Func<string, float> read, Predicate<float> plausible) =>
            metadata.Find(key) is null ? null : read(key) is float value && plausible(value) ? value : throw metadata.Bad(key, "is out of range");
    }
}
