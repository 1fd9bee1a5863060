namespace Gemma4Edge.Model;

/// <summary>Every intermediate result of one forward pass, allocated once for <see cref="MaxChunk"/> rows.</summary>
/// <remarks>Spans cover the rows that are still on their way; <see cref="KeepRows"/> drops rows. One thread.</remarks>
internal sealed class Activations
{
    private readonly Gemma4Config _config;
    private readonly float[] _x;
    private readonly float[] _h;
    private readonly float[] _branch;
    private readonly float[] _q;
    private readonly float[] _k;
    private readonly float[] _v;
    private readonly float[] _heads;
    private readonly float[] _gate;
    private readonly float[] _up;
    private readonly float[] _perLayer;
    private readonly float[] _perLayerGate;
    private readonly float[] _perLayerRow;
    private readonly float[] _hidden;
    private readonly float[] _logits;
    private readonly int[] _positions;

    public Activations(Gemma4Config config, int maxChunk, int maxLogitRows)
    {
        _config = config;
        MaxChunk = maxChunk;
        int headDim = Math.Max(config.HeadDim, config.GlobalHeadDim);
        int queryWidth = config.NumAttentionHeads * headDim;
        int keyValueWidth = config.NumKeyValueHeads.Max() * headDim;
        int feedForwardWidth = config.IntermediateSizes.Max();
        int perLayerWidth = config.NumHiddenLayers * config.HiddenSizePerLayerInput;
        _x = new float[maxChunk * config.HiddenSize];
        _h = new float[_x.Length];
        _branch = new float[_x.Length];
        _q = new float[maxChunk * queryWidth];
        _heads = new float[_q.Length];
        _k = new float[maxChunk * keyValueWidth];
        _v = new float[_k.Length];
        _gate = new float[maxChunk * feedForwardWidth];
        _up = new float[_gate.Length];
        _perLayer = new float[maxChunk * perLayerWidth];
        _perLayerGate = new float[maxChunk * config.HiddenSizePerLayerInput];
        _perLayerRow = new float[perLayerWidth];
        _hidden = new float[maxLogitRows * config.HiddenSize];
        _logits = new float[maxLogitRows * config.VocabSize];
        _positions = new int[maxChunk];
        if (config.NumExperts > 0)
        {
            Experts = new ExpertActivations(config);
        }
    }

    /// <summary>Bytes of all of them, and as much again for the 8-bit copies and the scratch of the products.</summary>
    public static long BytesOf(Gemma4Config config, int maxChunk, int maxLogitRows)
    {
        long headDim = Math.Max(config.HeadDim, config.GlobalHeadDim);
        long row = (3L * config.HiddenSize) + (2 * config.NumAttentionHeads * headDim) + (2 * config.NumKeyValueHeads.Max() * headDim)
            + (2L * config.IntermediateSizes.Max()) + ((config.NumHiddenLayers + 1L) * config.HiddenSizePerLayerInput) + 1;
        return sizeof(float) * ((2 * maxChunk * row) + (maxLogitRows * ((long)config.HiddenSize + config.VocabSize)));
    }

    /// <summary>Most rows of one pass.</summary>
    public int MaxChunk { get; }

    /// <summary>Rows that are still on their way.</summary>
    public int RowCount { get; private set; }

    /// <summary>Position of each row, (RowCount).</summary>
    public ReadOnlySpan<int> Positions => _positions.AsSpan(0, RowCount);

    /// <summary>The residual stream, (RowCount, HiddenSize).</summary>
    public Span<float> X => _x.AsSpan(0, RowCount * _config.HiddenSize);

    /// <summary>A branch's normed input, (RowCount, HiddenSize).</summary>
    public Span<float> H => _h.AsSpan(0, RowCount * _config.HiddenSize);

    /// <summary>A branch's output before it joins the stream, (RowCount, HiddenSize).</summary>
    public Span<float> Branch => _branch.AsSpan(0, RowCount * _config.HiddenSize);

    /// <summary>Per-layer inputs, (RowCount, NumHiddenLayers · HiddenSizePerLayerInput).</summary>
    public Span<float> PerLayer => _perLayer.AsSpan(0, RowCount * PerLayerWidth);

    /// <summary>The gate of the per-layer branch, (RowCount, HiddenSizePerLayerInput).</summary>
    public Span<float> PerLayerGate => _perLayerGate.AsSpan(0, RowCount * _config.HiddenSizePerLayerInput);

    /// <summary>One row of the per-layer embedding table, (NumHiddenLayers · HiddenSizePerLayerInput).</summary>
    public Span<float> PerLayerRow => _perLayerRow;

    /// <summary>Rows after the final norm, (RowCount, HiddenSize).</summary>
    public Span<float> Hidden => _hidden.AsSpan(0, RowCount * _config.HiddenSize);

    /// <summary>Logits, (RowCount, VocabSize).</summary>
    public Span<float> Logits => _logits.AsSpan(0, RowCount * _config.VocabSize);

    /// <summary>Scratch of the mixture of experts; null on dense models.</summary>
    public ExpertActivations? Experts { get; }

    private int PerLayerWidth => _config.NumHiddenLayers * _config.HiddenSizePerLayerInput;

    /// <summary>Queries, (RowCount, NumAttentionHeads · d).</summary>
    public Span<float> Q(int headDim) => _q.AsSpan(0, RowCount * _config.NumAttentionHeads * headDim);

    /// <summary>What attention gathers, laid out like <see cref="Q"/>.</summary>
    public Span<float> Heads(int headDim) => _heads.AsSpan(0, RowCount * _config.NumAttentionHeads * headDim);

    /// <summary>New keys, (RowCount, width).</summary>
    public Span<float> K(int width) => _k.AsSpan(0, RowCount * width);

    /// <summary>New values, (RowCount, width).</summary>
    public Span<float> V(int width) => _v.AsSpan(0, RowCount * width);

    /// <summary>Gate of the feed-forward network, (RowCount, width).</summary>
    public Span<float> Gate(int width) => _gate.AsSpan(0, RowCount * width);

    /// <summary>Up projection of the feed-forward network, (RowCount, width).</summary>
    public Span<float> Up(int width) => _up.AsSpan(0, RowCount * width);

    /// <summary>Starts a pass of <paramref name="rows"/> rows at positions firstPosition, firstPosition + 1, …</summary>
    public void Begin(int rows, int firstPosition)
    {
        RowCount = rows;
        for (int row = 0; row < rows; row++)
        {
            _positions[row] = firstPosition + row;
        }
    }

    /// <summary>Drops the rows whose logits nobody wants: X, PerLayer and Positions move together.</summary>
    public void KeepRows(LogitRows want)
    {
        if (want is LogitRows.Last or LogitRows.Shortlist && RowCount > 1)
        {
            X[^_config.HiddenSize..].CopyTo(_x);
            PerLayer[^PerLayerWidth..].CopyTo(_perLayer);
            _positions[0] = _positions[RowCount - 1];
            RowCount = 1;
        }
        else if (want == LogitRows.None)
        {
            RowCount = 0;
        }
    }
}

/// <summary>Scratch of the mixture of experts for one row; E experts of width M.</summary>
internal sealed class ExpertActivations(Gemma4Config config)
{
    /// <summary>The router's input, (HiddenSize).</summary>
    public float[] RouterInput { get; } = new float[config.HiddenSize];

    /// <summary>Router logits, then probabilities, (E).</summary>
    public float[] Router { get; } = new float[config.NumExperts];

    /// <summary>Gate rows, then up rows of one expert, (2·M).</summary>
    public float[] GateUp { get; } = new float[2 * config.MoeIntermediateSize];

    /// <summary>One expert's output, (HiddenSize).</summary>
    public float[] Down { get; } = new float[config.HiddenSize];

    /// <summary>Sum of the used experts, (HiddenSize).</summary>
    public float[] Sum { get; } = new float[config.HiddenSize];
}
