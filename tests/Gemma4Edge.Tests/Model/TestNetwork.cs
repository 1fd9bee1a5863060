using Gemma4Edge.Kernels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Tests.Model;

/// <summary>A network on a test model, two threads, float32 keys and values and exact activations unless told otherwise.</summary>
internal sealed class TestNetwork : IDisposable
{
    private readonly LoadedModel _model;
    private readonly WorkerPool _pool;
    private readonly KvCacheFormat _kv;
    private readonly int _context;

    private TestNetwork(LoadedModel model, int maxChunk, bool skipShared, KvCacheFormat kv, int threads, string? kernel, ActivationFormat activations, HeadMode head)
    {
        _model = model;
        _kv = kv;
        _context = Math.Min(1024, model.Config.MaxPositionEmbeddings);
        _pool = new WorkerPool(threads);
        Transformer = new Gemma4Transformer(model.Config, model.Weights, CpuKernels.Select(kernel), _pool, maxChunk, skipShared, activations, head);
    }

    public Gemma4Config Config => _model.Config;

    public Gemma4Transformer Transformer { get; }

    public static TestNetwork Open(
        string path, int maxChunk = 16, bool skipShared = true, KvCacheFormat? kv = null, int threads = 2, string? kernel = null,
        ActivationFormat activations = ActivationFormat.Float, HeadMode head = HeadMode.Full) =>
        new(LoadedModel.Open(path), maxChunk, skipShared, kv ?? KvCacheFormat.F32, threads, kernel, activations, head);

    public static float MaxDifference(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        float largest = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            largest = MathF.Max(largest, MathF.Abs(expected[i] - actual[i])); // Max gives NaN if either is
        }

        return largest;
    }

    public KvCache NewCache() => new(Config, _kv, _context, Transformer.MaxChunk);

    /// <summary>Logits of every token, <paramref name="chunk"/> tokens at a time.</summary>
    public float[] Run(int[] tokens, KvCache cache, int chunk)
    {
        List<float> rows = [];
        foreach (int[] part in tokens.Chunk(chunk))
        {
            rows.AddRange(Transformer.Forward(part, cache, LogitRows.All, CancellationToken.None));
        }

        return [.. rows];
    }

    /// <summary>Logits of the last token only, as a prompt is run.</summary>
    public float[] Prefill(int[] tokens, KvCache cache)
    {
        float[] logits = [];
        int done = 0;
        foreach (int[] part in tokens.Chunk(Transformer.MaxChunk))
        {
            done += part.Length;
            logits = [.. Transformer.Forward(part, cache, done == tokens.Length ? LogitRows.Last : LogitRows.None, CancellationToken.None)];
        }

        return logits;
    }

    public void Dispose()
    {
        _pool.Dispose();
        _model.Dispose();
    }
}
