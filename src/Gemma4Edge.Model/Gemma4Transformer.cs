using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model;

/// <summary>The Gemma 4 text network: token ids in, logits out.</summary>
/// <remarks>
/// Weights are read in place from the model's mapping; all intermediate results live in buffers that are allocated here, so that
/// <see cref="Forward"/> allocates nothing. Not thread-safe: one compute thread, which is the caller's, plus the worker pool inside.
/// Source: the published modelling code of Gemma 4; names are those of its checkpoint.
/// </remarks>
public sealed class Gemma4Transformer
{
    private readonly Gemma4Config _config;
    private readonly Gemma4Weights _weights;
    private readonly MatrixMultiplier _multiplier;
    private readonly Activations _activations;
    private readonly AttentionJob _attention;
    private readonly RopeTable _ropeSliding;
    private readonly RopeTable _ropeFull;
    private readonly int _keepRowsFrom;
    private readonly TwoStageHead? _twoStageHead;
    private long _layersRun;

    /// <summary>Makes the network ready to run: allocates every buffer.</summary>
    /// <param name="config">Shape of the network.</param>
    /// <param name="weights">Its weights; must stay valid as long as this object is used.</param>
    /// <param name="kernels">Which instruction set computes.</param>
    /// <param name="pool">Threads that share the rows of a matrix and the heads of attention.</param>
    /// <param name="maxChunk">Most tokens of one <see cref="Forward"/>.</param>
    /// <param name="skipShared">Whether prompt tokens leave the network below the KV-shared layers, which write nothing they are needed for.
    /// The logits are the same; off is for checking that.</param>
    /// <param name="activations">How activations enter the products with the weights.</param>
    /// <param name="head">How logits for sampling are computed.</param>
    /// <exception cref="ActivationFormatException">8-bit activations were asked for, but no matrix has kernels for them.</exception>
    /// <exception cref="HeadModeException">This head cannot be computed so.</exception>
    public Gemma4Transformer(
        Gemma4Config config, Gemma4Weights weights, CpuKernels kernels, WorkerPool pool, int maxChunk, bool skipShared, ActivationFormat activations, HeadMode head = HeadMode.Full)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        CheckActivations(weights, activations);
        _config = config;
        _weights = weights;
        MaxChunk = maxChunk;
        MaxLogitRows = LogitRowsOf(config, maxChunk);
        _multiplier = new MatrixMultiplier(kernels, pool, activations);
        _activations = new Activations(config, maxChunk, MaxLogitRows);
        _attention = new AttentionJob(config, pool);
        _ropeSliding = new RopeTable(config.HeadDim, config.RopeThetaSliding, []);
        _ropeFull = new RopeTable(config.GlobalHeadDim, config.RopeThetaFull, weights.RopeFactorsFull);
        _keepRowsFrom = skipShared ? config.FirstKvSharedLayer : config.NumHiddenLayers;
        _twoStageHead = TwoStageHead.IsChosen(head, weights.LmHead) ? new TwoStageHead(weights.LmHead, _multiplier) : null;
    }

    /// <summary>Most tokens of one <see cref="Forward"/>.</summary>
    public int MaxChunk { get; }

    /// <summary>Most tokens of one <see cref="Forward"/> with <see cref="LogitRows.All"/>: their logits take 16 MiB at most.</summary>
    public int MaxLogitRows { get; }

    /// <summary>Layers computed since the start: whoever watches from another thread sees by this that the network gets on.</summary>
    public long LayersRun => Volatile.Read(ref _layersRun);

    /// <summary>How good the shortlists of the two-stage head were; null = the head is full.</summary>
    public WinnerRanks? WinnerRanks => _twoStageHead?.WinnerRanks;

    /// <summary>Called when a shortlist has been computed: what was read for it is not needed again soon. Null = nobody.</summary>
    public Action? ShortlistRead { get; set; }

    /// <summary>Where every product of the network passes.</summary>
    internal MatrixMultiplier Multiplier => _multiplier;

    private const int MaxLogitBytes = 16 << 20;

    /// <summary>Bytes of the buffers of a network that takes <paramref name="maxChunk"/> tokens at once.</summary>
    public static long BytesOf(Gemma4Config config, int maxChunk)
    {
        ArgumentNullException.ThrowIfNull(config);
        return Activations.BytesOf(config, maxChunk, LogitRowsOf(config, maxChunk));
    }

    private static int LogitRowsOf(Gemma4Config config, int maxChunk) => Math.Clamp(MaxLogitBytes / (sizeof(float) * config.VocabSize), 1, maxChunk);

    /// <summary>Runs T tokens through the network: appends their keys and values to <paramref name="cache"/> and computes the logits that are asked for.</summary>
    /// <param name="tokens">1 ≤ T ≤ <see cref="MaxChunk"/> token ids at positions cache.Length … One token is decode, more is prefill; the code is the same.</param>
    /// <param name="cache">The sequence so far; made for this configuration.</param>
    /// <param name="want">Which rows get logits.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>Logits after the softcap, (rows, VocabSize). Valid until the next call.</returns>
    /// <exception cref="ArgumentException">No tokens, too many, an id outside the vocabulary, or no room in the cache.</exception>
    /// <exception cref="OperationCanceledException">The cache still holds what it held before.</exception>
    public ReadOnlySpan<float> Forward(ReadOnlySpan<int> tokens, KvCache cache, LogitRows want, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(cache);
        Check(tokens, cache, want);
        Activations a = _activations;
        a.Begin(tokens.Length, cache.Length);
        cache.Reserve(tokens.Length);
        _ropeSliding.Prepare(cache.Length, tokens.Length);
        _ropeFull.Prepare(cache.Length, tokens.Length);

        EmbedTokens(tokens, a);                          // X: (T, HiddenSize)
        PerLayerInputs(tokens, a);                       // PerLayer: (T, NumHiddenLayers, HiddenSizePerLayerInput)

        for (int layer = 0; layer < _config.NumHiddenLayers && a.RowCount > 0; layer++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (layer == _keepRowsFrom)
            {
                a.KeepRows(want);                        // the layers above write no K/V: only rows whose logits are wanted go on
                if (a.RowCount == 0)
                {
                    break;
                }
            }

            DecoderLayer(layer, cache, a);
            Volatile.Write(ref _layersRun, _layersRun + 1);
        }

        cache.Commit(tokens);                            // the one place where the sequence grows
        a.KeepRows(want);
        if (a.RowCount == 0)
        {
            return [];
        }

        Norm(a.X, _weights.Norm, a.Hidden);
        if (want == LogitRows.Shortlist && _twoStageHead is { } head)
        {
            head.Run(a.Hidden, a.Logits, _config.FinalLogitSoftcapping);
            ShortlistRead?.Invoke();
            return a.Logits;
        }

        _multiplier.Multiply(_weights.LmHead, a.Hidden, a.Logits, a.RowCount);
        if (_config.FinalLogitSoftcapping > 0)
        {
            SoftCap.Apply(a.Logits, _config.FinalLogitSoftcapping);
        }

        return a.Logits;
    }

    private void DecoderLayer(int layer, KvCache cache, Activations a)
    {
        LayerWeights w = _weights.Layers[layer];

        Norm(a.X, w.InputLayerNorm, a.H);
        Attention(layer, w, cache, a);
        Norm(a.Branch, w.PostAttentionLayerNorm, a.Branch);
        TensorPrimitives.Add(a.X, a.Branch, a.X);

        FeedForward(layer, w, a);
        Norm(a.Branch, w.PostFeedForwardLayerNorm, a.Branch);
        TensorPrimitives.Add(a.X, a.Branch, a.X);

        if (_config.HiddenSizePerLayerInput > 0)
        {
            PerLayerBranch(layer, w, a);
            Norm(a.Branch, w.PostPerLayerInputNorm, a.Branch);
            TensorPrimitives.Add(a.X, a.Branch, a.X);
        }

        TensorPrimitives.Multiply(a.X, w.LayerScalar, a.X);
    }

    /// <summary>x₀ = E[token] · √HiddenSize.</summary>
    private void EmbedTokens(ReadOnlySpan<int> tokens, Activations a)
    {
        int width = _config.HiddenSize;
        for (int row = 0; row < tokens.Length; row++)
        {
            _multiplier.DecodeRow(_weights.EmbedTokens, tokens[row], a.X.Slice(row * width, width));
        }

        TensorPrimitives.Multiply(a.X, MathF.Sqrt(width), a.X);
    }

    /// <summary>pli[t, l] = (rms(Wpmp x₀ / √HiddenSize; norm) + Eple[token, l] · √P) / √2, P = HiddenSizePerLayerInput.</summary>
    private void PerLayerInputs(ReadOnlySpan<int> tokens, Activations a)
    {
        int width = _config.HiddenSizePerLayerInput;
        if (width == 0)
        {
            return;
        }

        _multiplier.Multiply(_weights.PerLayerModelProjection!, a.X, a.PerLayer, a.RowCount);
        TensorPrimitives.Multiply(a.PerLayer, 1 / MathF.Sqrt(_config.HiddenSize), a.PerLayer);
        Norm(a.PerLayer, _weights.PerLayerProjectionNorm, a.PerLayer);
        int rowWidth = a.PerLayerRow.Length;
        for (int row = 0; row < tokens.Length; row++)
        {
            Span<float> perLayer = a.PerLayer.Slice(row * rowWidth, rowWidth);
            _multiplier.DecodeRow(_weights.EmbedTokensPerLayer!, tokens[row], a.PerLayerRow);
            TensorPrimitives.MultiplyAdd(a.PerLayerRow, MathF.Sqrt(width), perLayer, perLayer);
        }

        TensorPrimitives.Multiply(a.PerLayer, MathF.Sqrt(0.5f), a.PerLayer);
    }

    /// <summary>Branch = Wo · softmax(q·K) V; K and V are this layer's own or its donor's. The scale is 1: q and k are normed.</summary>
    private void Attention(int layer, LayerWeights w, KvCache cache, Activations a)
    {
        int headDim = _config.HeadDimOf(layer);
        RopeTable rope = _config.LayerTypes[layer] == LayerType.Full ? _ropeFull : _ropeSliding;
        Span<float> q = a.Q(headDim);                    // (rows, NumAttentionHeads, d)
        _multiplier.Multiply(w.QProj, a.H, q, a.RowCount);
        Norm(q, w.QNorm, q);
        RotateRows(rope, q, a.Positions);

        if (!_config.IsKvShared(layer))
        {
            int width = _config.NumKeyValueHeads[layer] * headDim;
            Span<float> k = a.K(width);                  // (rows, NumKeyValueHeads, d)
            Span<float> v = a.V(width);
            _multiplier.Multiply(w.KProj!, a.H, k, a.RowCount);
            if (w.VProj is { } vProj)
            {
                _multiplier.Multiply(vProj, a.H, v, a.RowCount);
            }
            else
            {
                k.CopyTo(v);                             // attention_k_eq_v: the key projection before its norm and rotation
            }

            Norm(k, w.KNorm, k);
            RotateRows(rope, k, a.Positions);
            RmsNorm.ApplyRows(v, [], _config.RmsNormEps, v, headDim); // the norm of values has no weight
            cache.Write(layer, a.Positions, k, v);
        }

        _attention.Run(layer, cache, a);
        _multiplier.Multiply(w.OProj, a.Heads(headDim), a.Branch, a.RowCount);
    }

    /// <summary>Branch = Wdown (gelu(Wgate h) ⊙ (Wup h)), h the normed stream; with experts their sum joins, and the router reads the stream itself.</summary>
    private void FeedForward(int layer, LayerWeights w, Activations a)
    {
        int width = _config.IntermediateSizes[layer];
        Span<float> gate = a.Gate(width);                // (rows, F)
        Span<float> up = a.Up(width);
        Norm(a.X, w.PreFeedForwardLayerNorm, a.H);
        _multiplier.Multiply(w.GateProj, a.H, gate, a.RowCount);
        _multiplier.Multiply(w.UpProj, a.H, up, a.RowCount);
        Gelu.ApplyTanhAndMultiply(gate, up);
        _multiplier.Multiply(w.DownProj, gate, a.Branch, a.RowCount);

        if (w.Experts is { } experts)
        {
            Norm(a.Branch, experts.PostFeedForwardLayerNorm1, a.Branch);
            Norm(a.X, experts.PreFeedForwardLayerNorm2, a.H);
            int hidden = _config.HiddenSize;
            for (int row = 0; row < a.RowCount; row++)
            {
                AddExperts(experts, a.Experts!, a.X.Slice(row * hidden, hidden), a.H.Slice(row * hidden, hidden), a.Branch.Slice(row * hidden, hidden));
            }
        }
    }

    /// <summary>branch += rms(Σ pₑ · expertₑ(h)) over the TopKExperts likeliest experts e; p = softmax(Wr · rms(x) ⊙ scale / √HiddenSize), made to sum to 1 over the used ones, times each expert's own scale.</summary>
    private void AddExperts(ExpertWeights w, ExpertActivations e, ReadOnlySpan<float> x, ReadOnlySpan<float> h, Span<float> branch)
    {
        RmsNorm.Apply(x, [], _config.RmsNormEps, e.RouterInput);
        TensorPrimitives.Multiply(e.RouterInput, w.RouterScale, e.RouterInput);
        TensorPrimitives.Multiply(e.RouterInput, 1 / MathF.Sqrt(_config.HiddenSize), e.RouterInput);
        _multiplier.Multiply(w.RouterProj, e.RouterInput, e.Router, 1);
        Softmax.Apply(e.Router);

        Span<float> sum = e.Sum;
        sum.Clear();
        float used = 0;
        for (int i = 0; i < _config.TopKExperts; i++)
        {
            int expert = TensorPrimitives.IndexOfMax(e.Router);
            float probability = e.Router[expert];
            e.Router[expert] = float.NegativeInfinity;
            used += probability;

            Span<float> gate = e.GateUp.AsSpan(0, _config.MoeIntermediateSize);
            _multiplier.Multiply(w.GateUpProj[expert], h, e.GateUp, 1);
            Gelu.ApplyTanhAndMultiply(gate, e.GateUp.AsSpan(_config.MoeIntermediateSize));
            _multiplier.Multiply(w.DownProj[expert], gate, e.Down, 1);
            TensorPrimitives.MultiplyAdd(e.Down, probability * w.PerExpertScale[expert], sum, sum);
        }

        TensorPrimitives.Divide(sum, used, sum);
        RmsNorm.Apply(sum, w.PostFeedForwardLayerNorm2, _config.RmsNormEps, sum);
        TensorPrimitives.Add(branch, sum, branch);
    }

    /// <summary>Branch = Wproj (gelu(Wgate x) ⊙ pli); x is the stream itself, not normed.</summary>
    private void PerLayerBranch(int layer, LayerWeights w, Activations a)
    {
        int width = _config.HiddenSizePerLayerInput;
        int rowWidth = a.PerLayerRow.Length;
        Span<float> gate = a.PerLayerGate;               // (rows, P)
        _multiplier.Multiply(w.PerLayerInputGate!, a.X, gate, a.RowCount);
        for (int row = 0; row < a.RowCount; row++)
        {
            Gelu.ApplyTanhAndMultiply(gate.Slice(row * width, width), a.PerLayer.Slice((row * rowWidth) + (layer * width), width));
        }

        _multiplier.Multiply(w.PerLayerProjection!, gate, a.Branch, a.RowCount);
    }

    /// <summary>RMSNorm of every row; a row is as long as its weight.</summary>
    private void Norm(ReadOnlySpan<float> rows, float[]? weight, Span<float> result) =>
        RmsNorm.ApplyRows(rows, weight, _config.RmsNormEps, result, weight!.Length);

    private static void RotateRows(RopeTable rope, Span<float> rows, ReadOnlySpan<int> positions)
    {
        int width = rows.Length / positions.Length;
        for (int row = 0; row < positions.Length; row++)
        {
            rope.Apply(rows.Slice(row * width, width), positions[row]);
        }
    }

    private static void CheckActivations(Gemma4Weights weights, ActivationFormat activations)
    {
        IEnumerable<WeightMatrix> matrices = weights.Layers.SelectMany(layer => (WeightMatrix[])[layer.QProj, layer.OProj, layer.GateProj, layer.UpProj, layer.DownProj]).Append(weights.LmHead);
        if (activations == ActivationFormat.Int8 && !matrices.Any(matrix => matrix.Format.TakesInt8))
        {
            string formats = string.Join(", ", matrices.Select(matrix => matrix.Format.Name).Distinct());
            throw new ActivationFormatException($"The matrices of this model ({formats}) have no kernels for 8-bit activations; choose auto or float.");
        }
    }

    private void Check(ReadOnlySpan<int> tokens, KvCache cache, LogitRows want)
    {
        int most = want == LogitRows.All ? MaxLogitRows : MaxChunk;
        if (tokens.Length == 0 || tokens.Length > most)
        {
            ThrowCount(tokens.Length, most);
        }

        if (tokens.Length > cache.Capacity - cache.Length)
        {
            ThrowNoRoom(tokens.Length, cache);
        }

        foreach (int token in tokens)
        {
            if ((uint)token >= (uint)_config.VocabSize)
            {
                ThrowToken(token);
            }
        }

        Debug.Assert(cache.MaxChunk >= tokens.Length, "the cache's rings must hold the window and this chunk");
    }

    [DoesNotReturn]
    private static void ThrowCount(int count, int most) => throw new ArgumentException($"{count} tokens in one pass; from 1 to {most} are possible.");

    [DoesNotReturn]
    private static void ThrowNoRoom(int count, KvCache cache) => throw new ArgumentException($"{count} tokens do not fit: the sequence has {cache.Length} of {cache.Capacity}.");

    [DoesNotReturn]
    private void ThrowToken(int token) => throw new ArgumentException($"Token id {token} is not in the vocabulary of {_config.VocabSize}.");
}
