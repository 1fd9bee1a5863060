using System.Runtime.InteropServices;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Looks up every tensor of the network, checks its shape, and counts what a token reads. The one place where shapes are checked, for every file format.</summary>
internal sealed unsafe class WeightsBuilder(ModelContents contents)
{
    /// <summary>Divides an angle to nothing: the factor of a pair that does not rotate.</summary>
    public const float Unrotated = 1e30f;

    private readonly Gemma4Config _config = contents.Config;
    private readonly TensorTable _tensors = contents.Tensors;

    /// <summary>Weight bytes that decoding one token reads; known after <see cref="Build"/>.</summary>
    public long BytesPerToken { get; private set; }

    /// <summary>Weights the network uses; known after <see cref="Build"/>.</summary>
    public long ParameterCount { get; private set; }

    /// <summary>Makes the weights.</summary>
    /// <exception cref="ModelFileException">A tensor is missing, has another shape or a type this program does not compute with, or a norm is not finite.</exception>
    public Gemma4Weights Build()
    {
        int width = _config.HiddenSizePerLayerInput;
        WeightMatrix embedding = Table("embed_tokens.weight", _config.HiddenSize);
        WeightMatrix head = embedding;
        if (_tensors.Find("lm_head.weight") is not null)
        {
            head = Matrix("lm_head.weight", _config.VocabSize, _config.HiddenSize);
        }
        else
        {
            BytesPerToken += embedding.Bytes - embedding.RowBytes; // the head reads every row, the token's own among them
        }

        return new Gemma4Weights
        {
            EmbedTokens = embedding,
            LmHead = head,
            EmbedTokensPerLayer = width == 0 ? null : Table("embed_tokens_per_layer.weight", _config.NumHiddenLayers * width),
            PerLayerModelProjection = width == 0 ? null : Matrix("per_layer_model_projection.weight", _config.NumHiddenLayers * width, _config.HiddenSize),
            PerLayerProjectionNorm = width == 0 ? null : Vector("per_layer_projection_norm.weight", width),
            Norm = Vector("norm.weight", _config.HiddenSize),
            RopeFactorsFull = RopeFactorsFull(),
            Layers = [.. Enumerable.Range(0, _config.NumHiddenLayers).Select(BuildLayer)],
        };
    }

    private LayerWeights BuildLayer(int layer)
    {
        int hidden = _config.HiddenSize;
        int width = _config.HiddenSizePerLayerInput;
        int head = _config.HeadDimOf(layer);
        int queries = _config.NumAttentionHeads * head;
        int keys = _config.NumKeyValueHeads[layer] * head;
        int feedForward = _config.IntermediateSizes[layer];
        bool ownsKeys = !_config.IsKvShared(layer);
        string Name(string name) => TensorNames.OfLayer(layer, name);

        return new LayerWeights
        {
            InputLayerNorm = Vector(Name("input_layernorm.weight"), hidden),
            QProj = Matrix(Name("self_attn.q_proj.weight"), queries, hidden),
            KProj = ownsKeys ? Matrix(Name("self_attn.k_proj.weight"), keys, hidden) : null,
            VProj = ownsKeys && HasValueProjection(layer) ? Matrix(Name("self_attn.v_proj.weight"), keys, hidden) : null,
            OProj = Matrix(Name("self_attn.o_proj.weight"), hidden, queries),
            QNorm = Vector(Name("self_attn.q_norm.weight"), head),
            KNorm = ownsKeys ? Vector(Name("self_attn.k_norm.weight"), head) : null,
            PostAttentionLayerNorm = Vector(Name("post_attention_layernorm.weight"), hidden),
            PreFeedForwardLayerNorm = Vector(Name("pre_feedforward_layernorm.weight"), hidden),
            GateProj = Matrix(Name("mlp.gate_proj.weight"), feedForward, hidden),
            UpProj = Matrix(Name("mlp.up_proj.weight"), feedForward, hidden),
            DownProj = Matrix(Name("mlp.down_proj.weight"), hidden, feedForward),
            PostFeedForwardLayerNorm = Vector(Name("post_feedforward_layernorm.weight"), hidden),
            Experts = _config.NumExperts == 0 ? null : BuildExperts(Name),
            PerLayerInputGate = width == 0 ? null : Matrix(Name("per_layer_input_gate.weight"), width, hidden),
            PerLayerProjection = width == 0 ? null : Matrix(Name("per_layer_projection.weight"), hidden, width),
            PostPerLayerInputNorm = width == 0 ? null : Vector(Name("post_per_layer_input_norm.weight"), hidden),
            LayerScalar = _tensors.Find(Name("layer_scalar")) is null ? 1 : Vector(Name("layer_scalar"), 1)[0],
        };
    }

    private ExpertWeights BuildExperts(Func<string, string> name)
    {
        int hidden = _config.HiddenSize;
        int experts = _config.NumExperts;
        return new ExpertWeights
        {
            RouterProj = Matrix(name("router.proj.weight"), experts, hidden),
            RouterScale = Vector(name("router.scale"), hidden),
            PerExpertScale = Vector(name("router.per_expert_scale"), experts),
            GateUpProj = ExpertMatrices(name("experts.gate_up_proj"), 2 * _config.MoeIntermediateSize, hidden),
            DownProj = ExpertMatrices(name("experts.down_proj"), hidden, _config.MoeIntermediateSize),
            PreFeedForwardLayerNorm2 = Vector(name("pre_feedforward_layernorm_2.weight"), hidden),
            PostFeedForwardLayerNorm1 = Vector(name("post_feedforward_layernorm_1.weight"), hidden),
            PostFeedForwardLayerNorm2 = Vector(name("post_feedforward_layernorm_2.weight"), hidden),
        };
    }

    private bool HasValueProjection(int layer) =>
        _config.LayerTypes[layer] == LayerType.Sliding
        || !(contents.AttentionKEqV ?? (_tensors.Find(TensorNames.OfLayer(layer, "self_attn.v_proj.weight")) is null));

    /// <summary>A weight matrix that every token reads whole.</summary>
    private WeightMatrix Matrix(string name, int rows, int columns)
    {
        WeightMatrix matrix = View(Checked(name, rows, columns), 0, rows, columns);
        BytesPerToken += matrix.Bytes;
        return matrix;
    }

    /// <summary>A table with a row for each token id, of which a token reads one.</summary>
    private WeightMatrix Table(string name, int columns)
    {
        WeightMatrix table = View(Checked(name, _config.VocabSize, columns), 0, _config.VocabSize, columns);
        BytesPerToken += table.RowBytes;
        return table;
    }

    private WeightMatrix[] ExpertMatrices(string name, int rows, int columns)
    {
        StoredTensor tensor = Checked(name, _config.NumExperts, rows, columns);
        var matrices = new WeightMatrix[_config.NumExperts];
        for (int expert = 0; expert < matrices.Length; expert++)
        {
            matrices[expert] = View(tensor, expert * (tensor.Bytes / matrices.Length), rows, columns);
        }

        BytesPerToken += _config.TopKExperts * matrices[0].Bytes;
        return matrices;
    }

    /// <summary>A norm or scale, as floats.</summary>
    private float[] Vector(string name, int length)
    {
        BytesPerToken += length * sizeof(float);
        return Floats(Checked(name, length));
    }

    /// <summary>1 for the pairs that rotate, the lowest ones; see <see cref="Gemma4Weights.RopeFactorsFull"/>.</summary>
    internal float[] RopeFactorsFull()
    {
        var factors = new float[_config.GlobalHeadDim / 2];
        if (contents.PartialRotaryFactor is { } share)
        {
            factors.AsSpan().Fill(Unrotated);
            factors.AsSpan(0, (int)(share * factors.Length)).Fill(1);
            return factors;
        }

        if (_config.LayerTypes.Contains(LayerType.Full))
        {
            StoredTensor tensor = OfShape("rope_freqs.weight", factors.Length);
            factors = Floats(tensor);
            if (Array.Exists(factors, factor => factor <= 0))
            {
                throw Bad(tensor, "has a factor that is not positive");
            }
        }

        return factors;
    }

    /// <summary>The values of a small tensor.</summary>
    /// <exception cref="ModelFileException">It is not of a plain type, or a value is not finite.</exception>
    internal static float[] Floats(StoredTensor tensor)
    {
        ReadOnlySpan<byte> bytes = tensor.File.Span(tensor.Offset, (int)tensor.Bytes);
        var floats = new float[tensor.Count];
        for (int i = 0; i < floats.Length; i++)
        {
            floats[i] = tensor.FormatName switch
            {
                "f32" => MemoryMarshal.Read<float>(bytes[(4 * i)..]),
                "f16" => (float)MemoryMarshal.Read<Half>(bytes[(2 * i)..]),
                "bf16" => BitConverter.Int32BitsToSingle(MemoryMarshal.Read<short>(bytes[(2 * i)..]) << 16),
                _ => throw Bad(tensor, $"has type {tensor.FormatName}; expected f32, f16 or bf16", ModelFileException.UseGemma4),
            };
            if (!float.IsFinite(floats[i]))
            {
                throw Bad(tensor, $"has the value {floats[i]} at index {i}; expected finite numbers");
            }
        }

        return floats;
    }

    /// <summary>A tensor of the network; it counts as parameters.</summary>
    private StoredTensor Checked(string name, params ReadOnlySpan<int> shape)
    {
        StoredTensor tensor = OfShape(name, shape);
        ParameterCount += tensor.Count;
        return tensor;
    }

    private StoredTensor OfShape(string name, params ReadOnlySpan<int> shape)
    {
        StoredTensor tensor = _tensors.Get(name);
        if (!tensor.HasShape(shape))
        {
            throw Bad(tensor, $"has shape {tensor.ShapeText}; expected {StoredTensor.Describe(shape)}", ModelFileException.UseGemma4);
        }

        return tensor;
    }

    private WeightMatrix View(StoredTensor tensor, long offset, int rows, int columns)
    {
        WeightFormat format = tensor.Format ?? throw Bad(tensor, $"has type {tensor.FormatName}; expected {string.Join(", ", QuantFormats.All)}", "Convert the model to one of them.");
        return new WeightMatrix(format, tensor.File.At(tensor.Offset + offset, format.MatrixBytes(rows, columns)), rows, columns, Diagonal(tensor, columns));
    }

    /// <summary>A tensor as matrices: one, or one per expert.</summary>
    /// <exception cref="ModelFileException">Its type is none this program computes with.</exception>
    internal WeightMatrix[] Matrices(StoredTensor tensor)
    {
        int rows = tensor.Shape[^2], columns = tensor.Shape[^1];
        int count = checked((int)(tensor.Count / rows / columns));
        return [.. Enumerable.Range(0, count).Select(index => View(tensor, index * (tensor.Bytes / count), rows, columns))];
    }

    /// <summary>The factors of a matrix's columns; empty = none.</summary>
    private float[] Diagonal(StoredTensor tensor, int columns)
    {
        if (tensor.Diagonal is null)
        {
            return [];
        }

        StoredTensor diagonal = _tensors.FindInFile(tensor.Diagonal) ?? throw Bad(tensor, $"needs '{tensor.Diagonal}', which is missing");
        if (!diagonal.HasShape([columns]))
        {
            throw Bad(diagonal, $"has shape {diagonal.ShapeText}; expected [{columns}]");
        }

        BytesPerToken += columns * sizeof(float);
        float[] factors = Floats(diagonal);
        return Array.TrueForAll(factors, factor => factor > 0) ? factors : throw Bad(diagonal, "has a factor that is not positive");
    }

    private static ModelFileException Bad(StoredTensor tensor, string what, string hint = ModelFileException.GetItAgain) =>
        new(tensor.File.Path, tensor.Offset, $"The tensor '{tensor.Name}' {what}.", hint);
}
