using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>The moments of the inputs of every matrix of the layers, from running the source model over a text; and the error feedback that follows from them.</summary>
/// <remarks>
/// A prompt is read as it is in use: the layers that share keys and values never see it, the others count its tokens as much as the answer's all together.
/// Prompts are long and alike, and what a matrix gets there is not what it gets while it answers. Of plain text every token is part of the answer.
/// The token embedding is left out: it is the head too, and what feedback gains there it loses in the lookups.
/// </remarks>
internal sealed unsafe class Calibration
{
    private const int Context = 1024;
    private const int MaxTokens = 1 << 16;
    private const int MaxSpan = 512;
    private const int MinSpan = 128;
    private const long MaxMomentBytes = 640L << 20;

    /// <summary>Tokens per column of a block below which feedback fits the text instead of the model.</summary>
    private const int TokensPerColumn = 4;

    private readonly CpuKernels _kernels;
    private readonly WorkerPool _pool;

    /// <summary>By the address of a matrix: those whose activations are taken, and of every tensor's first one what was taken for it.</summary>
    private readonly Dictionary<nint, InputMoments> _observed = [];
    private readonly Dictionary<nint, InputMoments> _moments = [];
    private float _weight = 1;

    private Calibration(Gemma4Weights weights, CpuKernels kernels, WorkerPool pool)
    {
        _kernels = kernels;
        _pool = pool;
        int span = MaxSpan;
        while (span > MinSpan && sizeof(float) * span * InputColumns(weights) > MaxMomentBytes)
        {
            span /= 2;
        }

        foreach (LayerWeights layer in weights.Layers)
        {
            Add([layer.QProj], [layer.QProj, layer.KProj, layer.VProj], span);
            Add([layer.OProj], [layer.OProj], span);
            Add([layer.GateProj], [layer.GateProj, layer.UpProj], span);
            Add([layer.DownProj], [layer.DownProj], span);
            if (layer.Experts is { } experts)
            {
                Add([.. experts.GateUpProj], [experts.GateUpProj[0]], span);
                Add([.. experts.DownProj], [experts.DownProj[0]], span);
            }
        }
    }

    /// <summary>Runs the model.</summary>
    /// <param name="model">The source.</param>
    /// <param name="path">Text, or JSON lines: <see cref="CalibrationText"/>.</param>
    /// <param name="kernels">What computes.</param>
    /// <param name="pool">Threads.</param>
    /// <param name="progress">Gets tokens run and all tokens.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="ConversionException">The file is not there or has no text.</exception>
    public static Calibration Gather(LoadedModel model, string path, CpuKernels kernels, WorkerPool pool, Action<long, long> progress, CancellationToken cancellation)
    {
        var calibration = new Calibration(model.Weights, kernels, pool);
        int context = Math.Min(Context, model.Config.MaxPositionEmbeddings);
        List<CalibrationText> texts = CalibrationText.Read(path, model.OpenTokenizer(), context, MaxTokens);
        var network = new Gemma4Transformer(model.Config, model.Weights, kernels, pool, maxChunk: 64, skipShared: true, ActivationFormat.Float);
        network.Multiplier.Observer = calibration.Observe;
        long total = texts.Sum(text => (long)text.Tokens.Length), done = 0;
        float promptWeight = (float)(texts.Sum(text => (double)text.AnswerCount) / Math.Max(1, texts.Sum(text => (double)text.PromptCount)));
        foreach (CalibrationText text in texts)
        {
            var cache = new KvCache(model.Config, KvCacheFormat.F32, context, network.MaxChunk);
            calibration._weight = promptWeight;
            Run(text.Tokens[..text.PromptCount], network.MaxChunk, LogitRows.None);
            calibration._weight = 1;
            Run(text.Tokens[text.PromptCount..], network.MaxLogitRows, LogitRows.All);

            void Run(int[] tokens, int chunkTokens, LogitRows want)
            {
                foreach (int[] chunk in tokens.Chunk(chunkTokens))
                {
                    network.Forward(chunk, cache, want, cancellation);
                    progress(done += chunk.Length, total);
                }
            }
        }

        return calibration;
    }

    /// <summary>What error feedback a matrix gets; null = none, because the network has not used it, or too little.</summary>
    /// <param name="source">The matrix.</param>
    /// <param name="format">What it is coded in.</param>
    public ErrorFeedback? Feedback(MatrixSource source, TurboQuantDescriptor format)
    {
        if (format is not { Scheme: TurboQuantScheme.Tq, Layout: not TurboQuantStorage.Row }
            || !_moments.TryGetValue((nint)source.Tensor.File.At(source.Tensor.Offset, 0), out InputMoments? moments))
        {
            return null;
        }

        int span = moments.Span;
        while (span > MinSpan && moments.Weight < TokensPerColumn * span)
        {
            span /= 2;
        }

        return moments.Weight >= TokensPerColumn * span ? new ErrorFeedback(moments, span, format, _kernels, _pool) : null;
    }

    /// <summary>Columns of all inputs together; a moment block takes its span of floats for each.</summary>
    private static long InputColumns(Gemma4Weights weights) => weights.Layers.Sum(layer =>
        (long)layer.QProj.Columns + layer.OProj.Columns + layer.GateProj.Columns + layer.DownProj.Columns
        + (layer.Experts is { } experts ? experts.GateUpProj[0].Columns + experts.DownProj[0].Columns : 0));

    private void Add(ReadOnlySpan<WeightMatrix> observed, ReadOnlySpan<WeightMatrix?> users, int span)
    {
        var moments = new InputMoments(observed[0].Columns, span);
        foreach (WeightMatrix matrix in observed)
        {
            _observed[(nint)matrix.Data] = moments;
        }

        foreach (WeightMatrix? matrix in users)
        {
            if (matrix is not null)
            {
                _moments[(nint)matrix.Data] = moments;
            }
        }
    }

    private void Observe(WeightMatrix w, ReadOnlySpan<float> x, int tokens)
    {
        if (_observed.TryGetValue((nint)w.Data, out InputMoments? moments))
        {
            moments.Add(x, tokens, _weight, _pool);
        }
    }
}
