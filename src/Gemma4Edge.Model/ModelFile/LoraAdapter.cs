using System.Numerics.Tensors;
using System.Text.Json;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>The update of one matrix: W += scale · B·A, A (rank, columns), B (rows, rank).</summary>
internal sealed class LoraUpdate(float[] a, float[] b, int rank, float scale)
{
    /// <summary>Adds its rows [<paramref name="first"/>, first + <paramref name="count"/>) to those.</summary>
    public void AddTo(float[] rows, int first, int count)
    {
        int columns = a.Length / rank;
        Parallel.For(0, count, row =>
        {
            Span<float> weights = rows.AsSpan(row * columns, columns);
            for (int k = 0; k < rank; k++)
            {
                TensorPrimitives.MultiplyAdd(a.AsSpan(k * columns, columns), scale * b[((first + row) * rank) + k], weights, weights);
            }
        });
    }
}

/// <summary>Reads a LoRA adapter as PEFT and Unsloth write it: adapter_config.json and adapter_model.safetensors.</summary>
/// <remarks>Source: the file format of the PEFT library. scale = lora_alpha / r, with use_rslora lora_alpha / √r.</remarks>
internal sealed class LoraAdapter
{
    private const int MaxJsonBytes = 4 << 20;
    private const int MaxRank = 4096;
    private const string PeftPrefix = "base_model.model.";
    private const string ConfigFile = "adapter_config.json";
    private const string WeightsFile = "adapter_model.safetensors";

    // Ways to begin a training that take a part of the base weights away: the adapter fits only what was left.
    private static readonly string[] s_baseChanging = ["pissa", "olora", "corda", "loftq"];

    private readonly Dictionary<string, (StoredTensor? A, StoredTensor? B)> _pairs = [];
    private readonly string _folder;
    private readonly int _rank;
    private readonly float _scale;

    private LoraAdapter(string folder, JsonSection config, TensorTable tensors)
    {
        _folder = folder;
        Refuse(config, "peft_type", config.OptionalText("peft_type") is { } kind && kind != "LORA", "an adapter that is no LoRA");
        Refuse(config, "use_dora", config.OptionalBool("use_dora") == true, "DoRA");
        Refuse(config, "fan_in_fan_out", config.OptionalBool("fan_in_fan_out") == true, "transposed layers");
        Refuse(config, "lora_bias", config.OptionalBool("lora_bias") == true, "trained biases");
        Refuse(config, "layer_replication", config.Find("layer_replication") is { ValueKind: JsonValueKind.Array }, "repeated layers");
        Refuse(config, "init_lora_weights", config.Find("init_lora_weights") is { ValueKind: JsonValueKind.String } start && Array.Exists(s_baseChanging, start.GetString()!.StartsWith), "a base model that its start has changed");
        Refuse(config, "bias", config.OptionalText("bias") is { } bias && bias != "none", "trained biases");
        Refuse(config, "modules_to_save", config.Find("modules_to_save") is { ValueKind: JsonValueKind.Array } saved && saved.GetArrayLength() > 0, "modules trained in full");
        foreach (string pattern in new[] { "rank_pattern", "alpha_pattern" })
        {
            Refuse(config, pattern, config.Section(pattern)?.Entries.Any() == true, "ranks or scales that differ between layers");
        }

        _rank = config.Int32("r", 1, MaxRank);
        float alpha = config.OptionalSingle("lora_alpha") ?? throw config.Bad("lora_alpha", "is missing");
        _scale = alpha / (config.OptionalBool("use_rslora") == true ? MathF.Sqrt(_rank) : _rank);
        foreach (StoredTensor tensor in tensors.All)
        {
            Add(tensor);
        }
    }

    /// <summary>The checkpoint's names of the matrices it changes.</summary>
    public IReadOnlyCollection<string> Targets => _pairs.Keys;

    /// <summary>Reads the folder.</summary>
    /// <param name="folder">The adapter.</param>
    /// <param name="files">Gets the mapping, so that the caller can release it.</param>
    /// <exception cref="ModelFileException">A file is missing or damaged, or asks for what can't be merged.</exception>
    public static LoraAdapter Read(string folder, List<MappedFile> files)
    {
        if (Array.Find([ConfigFile, WeightsFile], name => !File.Exists(Path.Combine(folder, name))) is { } missing)
        {
            throw new ModelFileException(folder, 0, $"The adapter has no {missing}.", $"Name the folder that PEFT or Unsloth saved, with {ConfigFile} and {WeightsFile}.");
        }

        var config = JsonSection.Read(Path.Combine(folder, ConfigFile), MaxJsonBytes);
        files.Add(new MappedFile(Path.Combine(folder, WeightsFile)));
        var tensors = new TensorTable(folder, name => name);
        SafetensorsFile.Read(files[^1], tensors);
        return new LoraAdapter(folder, config, tensors);
    }

    /// <summary>Reads the update of a matrix; null = it has none.</summary>
    /// <exception cref="ModelFileException">Its shapes do not fit the matrix.</exception>
    public Func<LoraUpdate>? For(string name, StoredTensor weights)
    {
        if (!_pairs.TryGetValue(name, out (StoredTensor? A, StoredTensor? B) pair))
        {
            return null;
        }

        if (pair is not ({ } a, { } b))
        {
            throw new ModelFileException(_folder, 0, $"The adapter has only one of lora_A and lora_B for '{name}'.", ModelFileException.GetItAgain);
        }

        if (weights.Shape.Length != 2)
        {
            throw new ModelFileException(_folder, 0, $"The adapter changes '{name}', which is no single matrix.", "Train it on attention and feed-forward projections only.");
        }

        CheckShape(a, [_rank, weights.Shape[1]]);
        CheckShape(b, [weights.Shape[0], _rank]);
        return () => new LoraUpdate(WeightsBuilder.Floats(a), WeightsBuilder.Floats(b), _rank, _scale);
    }

    private void Add(StoredTensor tensor)
    {
        string name = tensor.Name.StartsWith(PeftPrefix, StringComparison.Ordinal) ? tensor.Name[PeftPrefix.Length..] : tensor.Name;
        string prefix = HuggingFaceModel.Prefixes.FirstOrDefault(candidate => name.StartsWith(candidate, StringComparison.Ordinal), "");
        name = name[prefix.Length..];
        int at = name.IndexOf(".lora_", StringComparison.Ordinal);
        string part = at < 0 ? "" : name[at..].Replace(".default.", ".", StringComparison.Ordinal);
        if (part is not (".lora_A.weight" or ".lora_B.weight"))
        {
            throw new ModelFileException(tensor.File.Path, tensor.Offset, $"The adapter has the tensor '{tensor.Name}'; only lora_A and lora_B of linear layers can be merged.", "Train a plain LoRA.");
        }

        string target = name[..at] + ".weight";
        (StoredTensor? a, StoredTensor? b) = _pairs.GetValueOrDefault(target);
        _pairs[target] = part == ".lora_A.weight" ? (tensor, b) : (a, tensor);
    }

    private static void CheckShape(StoredTensor tensor, int[] expected)
    {
        if (!tensor.Shape.AsSpan().SequenceEqual(expected))
        {
            throw new ModelFileException(tensor.File.Path, tensor.Offset, $"The tensor '{tensor.Name}' has shape {tensor.ShapeText}; expected {StoredTensor.Describe(expected)}.", "Use the adapter with the model it was trained on.");
        }
    }

    private static void Refuse(JsonSection config, string key, bool found, string what)
    {
        if (found)
        {
            throw config.Bad(key, $"asks for {what}, which can't be merged", "Merge it with the tool that trained it, or train a plain LoRA.");
        }
    }
}
