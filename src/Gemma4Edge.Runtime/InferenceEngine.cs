using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>A loaded model, ready to run: mapping, network, tokenizer, worker pool. The sessions of one engine share it.</summary>
/// <remarks>Its network has one set of buffers: sessions of one engine take turns on one compute thread. Disposing it ends the mapping; sessions must be idle.</remarks>
public sealed class InferenceEngine : IDisposable
{
    private readonly WorkerPool _pool;
    private readonly int _prefillChunk;
    private GemmaTokenizer? _tokenizer;

    private InferenceEngine(LoadedModel model, CpuKernels kernels, EngineOptions options)
    {
        Model = model;
        Kernel = kernels.Name;
        Kv = options.Kv;
        Activations = options.Activations;
        KvCache.Check(Config, Kv);
        BytesPerToken = model.BytesPerTokenWith(options.Head);
        Context = options.ContextWith(Config);
        _prefillChunk = Math.Min(options.PrefillChunk, Context);
        Form = options.Form ?? model.TemplateForm;
        GenerationDefaults generation = model.Generation;
        DefaultSampling = generation.DoSample == false ? SamplingOptions.Greedy : SamplingOptions.Gemma4 with
        {
            Temperature = generation.Temperature ?? SamplingOptions.Gemma4.Temperature,
            TopK = generation.TopK ?? SamplingOptions.Gemma4.TopK,
            TopP = generation.TopP ?? SamplingOptions.Gemma4.TopP,
        };
        DefaultSampling.Check();
        Sampler = new Sampler(Config.VocabSize);
        _pool = new WorkerPool(options.Threads > 0 ? options.Threads : WorkerPool.DefaultThreads);
        Transformer = new Gemma4Transformer(Config, model.Weights, kernels, _pool, _prefillChunk, options.SkipShared, options.Activations, options.Head);
        if (Transformer.WinnerRanks is not null)
        {
            model.ExpectHeadRows();
            Transformer.ShortlistRead = model.ReleaseHeadRows;
        }
    }

    /// <summary>The model's file, weights and facts.</summary>
    public LoadedModel Model { get; }

    /// <summary>Shape of the network.</summary>
    public Gemma4Config Config => Model.Config;

    /// <summary>The network.</summary>
    public Gemma4Transformer Transformer { get; }

    /// <summary>Chooses tokens; its scratch is as large as the vocabulary, so there is one for all sessions.</summary>
    public Sampler Sampler { get; }

    /// <summary>The model's tokenizer, built when it is first asked for (checks on token ids need none).</summary>
    public GemmaTokenizer Tokenizer => _tokenizer ??= Model.OpenTokenizer();

    /// <summary>Form of the chat template.</summary>
    public TemplateForm Form { get; }

    /// <summary>Longest sequence in tokens.</summary>
    public int Context { get; }

    /// <summary>Instruction set of the kernels.</summary>
    public string Kernel { get; }

    /// <summary>Compute threads.</summary>
    public int Threads => _pool.Threads;

    /// <summary>Compute threads that work now, 1 to <see cref="Threads"/>: fewer make less heat, and the same results. May be set on any thread.</summary>
    public int ActiveThreads
    {
        get => _pool.ActiveThreads;
        set => _pool.ActiveThreads = value;
    }

    /// <summary>How keys and values are kept.</summary>
    public KvCacheFormat Kv { get; }

    /// <summary>How activations enter the products with the weights.</summary>
    public ActivationFormat Activations { get; }

    /// <summary>Where the beginnings of prompts are kept; null = nowhere. Set before the first request.</summary>
    public PrefixStore? Prefixes { get; set; }

    /// <summary>Weight bytes that decoding one token reads, see <see cref="LoadedModel.BytesPerTokenWith"/>.</summary>
    public long BytesPerToken { get; }

    /// <summary>The model's own sampling, or Gemma 4's.</summary>
    public SamplingOptions DefaultSampling { get; }

    /// <summary>Opens a model.</summary>
    /// <exception cref="ModelFileException">The file is not a model that can be run.</exception>
    /// <exception cref="ContextLengthException">The model was made for less context.</exception>
    /// <exception cref="KvFormatException">The model cannot keep keys and values in that format.</exception>
    /// <exception cref="ActivationFormatException">No matrix of the model can be multiplied with the activations asked for.</exception>
    /// <exception cref="HeadModeException">The model's head cannot be computed in two stages.</exception>
    /// <exception cref="ArgumentException">An option is wrong.</exception>
    /// <exception cref="PlatformNotSupportedException">The kernel needs another CPU.</exception>
    public static InferenceEngine Open(EngineOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegative(options.Threads, "threads");
        ArgumentOutOfRangeException.ThrowIfNegative(options.Context, "context");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.PrefillChunk, "prefill chunk");
        CpuKernels kernels = CpuKernels.Select(options.Kernel);
        LoadedModel model = LoadedModel.Open(options.Model);
        try
        {
            return new InferenceEngine(model, kernels, options);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>An empty cache for this model: keys and values of one sequence.</summary>
    public KvCache NewCache() => new(Config, Kv, Context, _prefillChunk);

    /// <summary>A new conversation.</summary>
    public ChatSession OpenSession() => new(this);

    /// <summary>Answers a prompt of one token: proof, before anybody is told that the model is ready, that its weights and this CPU compute numbers.</summary>
    /// <exception cref="InvalidDataException">They do not.</exception>
    public void SelfTest()
    {
        Sampler.Reset(SamplingOptions.Greedy);
        ReadOnlySpan<float> logits = Transformer.Forward([Math.Max(0, Tokenizer.Special.Bos)], NewCache(), Sampler.Wants, CancellationToken.None);
        int id = Sampler.Next(logits);
        if (!float.IsFinite(logits[id]))
        {
            throw new InvalidDataException($"{Model.Path}: the self-test computed {logits[id]} for token {id}; expected a number: check the model file, or try another Model:Kernel.");
        }

        Park();
    }

    /// <summary>Lets the worker threads sleep until the next work: they spin between the steps of one answer, not between answers.</summary>
    public void Park() => _pool.Park();

    /// <inheritdoc/>
    public void Dispose()
    {
        _pool.Dispose();
        Model.Dispose();
    }
}
