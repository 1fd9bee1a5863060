using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Makes GGUF files of the real models' shapes with seeded random weights: for measuring speed and memory where no model is at hand. What they say is noise.</summary>
public static class SyntheticModel
{
    /// <summary>The shapes it knows: <c>e2b</c>, <c>e4b</c>, and <c>tiny</c>, an E2B of a few megabytes.</summary>
    public static IReadOnlyList<string> Sizes { get; } = ["e2b", "e4b", "tiny"];

    /// <summary>The weight formats it can make.</summary>
    public static IReadOnlyList<QuantFormat> Formats => SyntheticWeights.Formats;

    /// <summary>The shape of a size.</summary>
    /// <exception cref="ArgumentException">The size is none of <see cref="Sizes"/>.</exception>
    public static Gemma4Config ConfigOf(string size) => size switch
    {
        "e2b" => Config(layers: 35, period: 5, shared: 20, hidden: 1536, perLayer: 256, feedForward: 6144, doubleWide: true, heads: 8, kvHeads: 1, head: 256, window: 512, vocabulary: 262_144, context: 131_072),
        "e4b" => Config(layers: 42, period: 6, shared: 18, hidden: 2560, perLayer: 256, feedForward: 10_240, doubleWide: false, heads: 8, kvHeads: 2, head: 256, window: 512, vocabulary: 262_144, context: 131_072),
        "tiny" => Config(layers: 10, period: 5, shared: 5, hidden: 256, perLayer: 64, feedForward: 512, doubleWide: true, heads: 4, kvHeads: 1, head: 64, window: 64, vocabulary: 4096, context: 4096),
        _ => throw new ArgumentException($"Unknown size '{size}'. Known: {string.Join(", ", Sizes)}.", nameof(size)),
    };

    /// <summary>Bytes of a size's matrices in a format: the whole file but for its vocabulary and norms, a few megabytes.</summary>
    /// <exception cref="ArgumentException">The size is none of <see cref="Sizes"/>.</exception>
    public static long MatrixBytes(string size, QuantFormat format) =>
        Shapes(ConfigOf(size)).Sum(tensor => tensor.Shape is [int rows, int columns] ? rows * format.RowBytes(columns) : 0);

    /// <summary>Writes a model; the file is complete or not there at all.</summary>
    /// <param name="path">The file to make or replace.</param>
    /// <param name="size">One of <see cref="Sizes"/>.</param>
    /// <param name="format">Format of every matrix, one of <see cref="Formats"/>; norms and scales are F32.</param>
    /// <param name="seed">The same seed gives the same bytes.</param>
    /// <param name="progress">Gets the share that is written, 0 to 1, on the calling thread; null = nobody.</param>
    /// <param name="cancellation">Looked at every few megabytes.</param>
    /// <exception cref="ArgumentException">Size or format is unknown.</exception>
    /// <exception cref="IOException">The file cannot be written (no space).</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing is left behind.</exception>
    public static void Write(string path, string size, QuantFormat format, int seed, Action<double>? progress, CancellationToken cancellation)
    {
        Gemma4Config config = ConfigOf(size);
        if (!Formats.Contains(format))
        {
            throw new ArgumentException($"No synthetic weights in {format}. Known: {string.Join(", ", Formats)}.", nameof(format));
        }

        var writer = new GgufWriter();
        writer.Add("general.architecture", "gemma4");
        writer.Add("general.name", $"synthetic-{size}-{format}");
        GgufKeys.AddConfig(writer, config);
        SyntheticVocabulary.AddTo(writer, config.VocabSize);

        var weights = new SyntheticWeights(format, seed);
        long total = MatrixBytes(size, format);
        long done = 0;
        foreach ((string name, int[] shape) in Shapes(config))
        {
            string gguf = TensorNames.ToGguf(name);
            if (shape is [int rows, int columns])
            {
                long bytes = rows * format.RowBytes(columns);
                writer.AddTensor(gguf, format, shape, file => weights.WriteMatrix(file, bytes, columns, Written));
            }
            else
            {
                writer.AddTensor(gguf, QuantFormats.F32, shape, file => weights.WriteNearOne(file, shape[0]));
            }
        }

        float[] ropeFactors = [.. Enumerable.Range(0, config.GlobalHeadDim / 2).Select(pair => pair < config.GlobalHeadDim / 8 ? 1f : WeightsBuilder.Unrotated)];
        writer.AddTensor(TensorNames.ToGguf("rope_freqs.weight"), QuantFormats.F32, [ropeFactors.Length], file => file.Write(MemoryMarshal.AsBytes<float>(ropeFactors)));
        writer.Write(path);

        void Written(int bytes)
        {
            done += bytes;
            progress?.Invoke((double)done / total);
            cancellation.ThrowIfCancellationRequested();
        }
    }

    private static Gemma4Config Config(
        int layers, int period, int shared, int hidden, int perLayer, int feedForward, bool doubleWide, int heads, int kvHeads, int head, int window, int vocabulary, int context) => new()
        {
            NumHiddenLayers = layers,
            HiddenSize = hidden,
            VocabSize = vocabulary,
            LayerTypes = [.. Enumerable.Range(1, layers).Select(number => number % period == 0 ? LayerType.Full : LayerType.Sliding)],
            IntermediateSizes = [.. Enumerable.Range(0, layers).Select(layer => doubleWide && layer >= layers - shared ? 2 * feedForward : feedForward)],
            NumAttentionHeads = heads,
            NumKeyValueHeads = [.. Enumerable.Repeat(kvHeads, layers)],
            HeadDim = head,
            GlobalHeadDim = 2 * head,
            SlidingWindow = window,
            NumKvSharedLayers = shared,
            HiddenSizePerLayerInput = perLayer,
            RmsNormEps = 1e-6f,
            RopeThetaSliding = 1e4f,
            RopeThetaFull = 1e6f,
            FinalLogitSoftcapping = 30,
            MaxPositionEmbeddings = context,
        };

    /// <summary>Every tensor under its checkpoint name, as <see cref="WeightsBuilder"/> expects it; dead keys and values are left out.</summary>
    internal static IEnumerable<(string Name, int[] Shape)> Shapes(Gemma4Config config)
    {
        int hidden = config.HiddenSize;
        int width = config.HiddenSizePerLayerInput;
        int allWidths = config.NumHiddenLayers * width;
        yield return ("embed_tokens.weight", [config.VocabSize, hidden]);
        yield return ("embed_tokens_per_layer.weight", [config.VocabSize, allWidths]);
        yield return ("per_layer_model_projection.weight", [allWidths, hidden]);
        yield return ("per_layer_projection_norm.weight", [width]);
        yield return ("norm.weight", [hidden]);
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            int head = config.HeadDimOf(layer);
            int queries = config.NumAttentionHeads * head;
            int keys = config.NumKeyValueHeads[layer] * head;
            int feedForward = config.IntermediateSizes[layer];
            (string, int[])[] tensors =
            [
                ("input_layernorm.weight", [hidden]),
                ("self_attn.q_proj.weight", [queries, hidden]),
                ("self_attn.q_norm.weight", [head]),
                .. config.IsKvShared(layer) ? [] : new (string, int[])[]
                {
                    ("self_attn.k_proj.weight", [keys, hidden]),
                    ("self_attn.v_proj.weight", [keys, hidden]),
                    ("self_attn.k_norm.weight", [head]),
                },
                ("self_attn.o_proj.weight", [hidden, queries]),
                ("post_attention_layernorm.weight", [hidden]),
                ("pre_feedforward_layernorm.weight", [hidden]),
                ("mlp.gate_proj.weight", [feedForward, hidden]),
                ("mlp.up_proj.weight", [feedForward, hidden]),
                ("mlp.down_proj.weight", [hidden, feedForward]),
                ("post_feedforward_layernorm.weight", [hidden]),
                ("per_layer_input_gate.weight", [width, hidden]),
                ("per_layer_projection.weight", [hidden, width]),
                ("post_per_layer_input_norm.weight", [hidden]),
                ("layer_scalar", [1]),
            ];
            foreach ((string name, int[] shape) in tensors)
            {
                yield return (TensorNames.OfLayer(layer, name), shape);
            }
        }
    }
}
