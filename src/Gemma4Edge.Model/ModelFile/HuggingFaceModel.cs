using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Reads a folder as Hugging Face lays it out: config.json, generation_config.json, chat_template.jinja, safetensors in one file or in shards.</summary>
internal static class HuggingFaceModel
{
    private const int MaxJsonBytes = 4 << 20;
    private const int MaxTemplateBytes = 1 << 20;
    private const int MaxShards = 256;
    private const int MaxStopIds = 64;
    private const string SingleFile = "model.safetensors";
    private const string ShardIndex = "model.safetensors.index.json";

    // The text network inside a multi-modal checkpoint, its three spellings, and alone.
    internal static readonly string[] Prefixes = ["model.language_model.", "language_model.model.", "language_model.", "model."];

    /// <summary>Everything but the vocabulary.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="files">Gets the mappings, so that the caller can release them when anything fails.</param>
    /// <exception cref="ModelFileException">The folder holds no Gemma 4 text model, or a damaged one.</exception>
    public static ModelContents Read(string folder, List<MappedFile> files)
    {
        string configPath = Existing(folder, "config.json");
        var root = JsonSection.Read(configPath, MaxJsonBytes);
        JsonSection text = HuggingFaceConfig.TextSection(root);
        Gemma4Config config = HuggingFaceConfig.Read(text);
        ConfigCheck.Check(config, configPath);
        return new ModelContents
        {
            Format = "safetensors",
            Name = Path.GetFileName(Path.GetFullPath(folder).TrimEnd(Path.DirectorySeparatorChar)),
            Config = config,
            Tensors = ReadTensors(folder, files),
            AttentionKEqV = text.OptionalBool("attention_k_eq_v") ?? false,
            PartialRotaryFactor = HuggingFaceConfig.PartialRotaryFactor(text),
            Generation = ReadGeneration(folder, root, config.VocabSize),
            ChatTemplate = ReadChatTemplate(Path.Combine(folder, "chat_template.jinja")),
        };
    }

    private static string Existing(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        return File.Exists(path)
            ? path
            : throw new ModelFileException(folder, 0, $"The folder has no {name}.", "Name a GGUF file, or a Hugging Face folder with config.json and safetensors files.");
    }

    private static TensorTable ReadTensors(string folder, List<MappedFile> files)
    {
        string prefix = Prefixes[^1];
        var tensors = new TensorTable(folder, name => prefix + name);
        foreach (string name in WeightFiles(folder))
        {
            files.Add(new MappedFile(Path.Combine(folder, name)));
            SafetensorsFile.Read(files[^1], tensors);
        }

        HashSet<string> names = [.. tensors.All.Select(tensor => tensor.Name)];
        prefix = Prefixes.FirstOrDefault(candidate => names.Contains(candidate + "embed_tokens.weight"), prefix);
        return tensors;
    }

    private static IEnumerable<string> WeightFiles(string folder)
    {
        if (File.Exists(Path.Combine(folder, SingleFile)))
        {
            return [SingleFile];
        }

        var index = JsonSection.Read(Existing(folder, ShardIndex), MaxJsonBytes);
        JsonSection map = index.Section("weight_map") ?? throw index.Bad("weight_map", "is missing");
        HashSet<string> shards = [.. map.Entries.Select(entry => PlainName(map, entry.Key, map.ToText(entry.Key, entry.Value)))];
        return shards.Count is > 0 and <= MaxShards ? shards.Order(StringComparer.Ordinal) : throw index.Bad("weight_map", $"names {shards.Count} files; expected 1 to {MaxShards}");
    }

    /// <summary>A shard lies in the folder itself: its name is no path that leads elsewhere.</summary>
    private static string PlainName(JsonSection map, string key, string name) =>
        name.EndsWith(".safetensors", StringComparison.Ordinal) && name.AsSpan().IndexOfAny("/\\\0") < 0
            ? name
            : throw map.Bad(key, $"names the file '{name}'; expected a .safetensors file of this folder");

    private static GenerationDefaults ReadGeneration(string folder, JsonSection config, int vocabSize)
    {
        string path = Path.Combine(folder, "generation_config.json");
        JsonSection section = File.Exists(path) ? JsonSection.Read(path, MaxJsonBytes) : config;
        return new GenerationDefaults
        {
            Temperature = Optional("temperature", value => value is >= 0 and <= SamplingOptions.MaxTemperature),
            TopK = section.OptionalInt32("top_k", 0, int.MaxValue),
            TopP = Optional("top_p", value => value is > 0 and <= 1),
            DoSample = section.OptionalBool("do_sample"),
            EosTokenIds = Array.ConvertAll(section.Elements("eos_token_id", MaxStopIds), id => section.ToInt32("eos_token_id", id, 0, vocabSize - 1)),
        };

        float? Optional(string key, Predicate<float> plausible) =>
            section.OptionalSingle(key) is not { } value ? null : plausible(value) ? value : throw section.Bad(key, "is out of range");
    }

    private static string? ReadChatTemplate(string path)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        using var file = new MappedFile(path);
        ReadOnlySpan<byte> utf8 = file.Span(0, (int)Math.Min(file.Length, MaxTemplateBytes));
        return file.Length <= MaxTemplateBytes && Utf8.IsValid(utf8)
            ? Encoding.UTF8.GetString(utf8)
            : throw new ModelFileException(path, 0, $"The chat template is no UTF-8 text of at most {MaxTemplateBytes} bytes.", ModelFileException.GetItAgain);
    }
}
