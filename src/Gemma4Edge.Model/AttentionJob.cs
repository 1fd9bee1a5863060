using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model;

/// <summary>Attention of one layer, split over the pool: one item is one row's query heads of one key/value head, or a part of them when there are fewer items than threads.</summary>
/// <remarks>Run from the compute thread only. Scratch belongs to the worker threads and is allocated on their first use.</remarks>
internal sealed class AttentionJob(Gemma4Config config, WorkerPool pool, int context) : IRangeJob
{
    [ThreadStatic]
    private static float[]? s_scratch;

    private Activations? _activations;
    private KvCache? _cache;
    private int _layer;
    private int _headDim;
    private int _headsPerItem;

    /// <summary>a.Heads = softmax(a.Q · K) V over the positions each row sees.</summary>
    public void Run(int layer, KvCache cache, Activations a)
    {
        (_layer, _cache, _activations) = (layer, cache, a);
        _headDim = config.HeadDimOf(layer);
        _headsPerItem = config.NumAttentionHeads / config.NumKeyValueHeads[layer];
        while (_headsPerItem % 2 == 0 && a.RowCount * (config.NumAttentionHeads / _headsPerItem) < pool.Threads)
        {
            _headsPerItem /= 2;
        }

        pool.Run(this, a.RowCount * (config.NumAttentionHeads / _headsPerItem), grain: 1);
    }

    void IRangeJob.Run(int first, int count)
    {
        int itemsPerRow = config.NumAttentionHeads / _headsPerItem;
        int headsPerKvHead = config.NumAttentionHeads / config.NumKeyValueHeads[_layer];
        int itemWidth = _headsPerItem * _headDim;
        int scratchLength = AttentionKernel.ScratchLength(config.NumAttentionHeads, context, Math.Max(config.HeadDim, config.GlobalHeadDim));
        if (s_scratch is null || s_scratch.Length < scratchLength)
        {
            s_scratch = new float[scratchLength];
        }

        for (int item = first; item < first + count; item++)
        {
            int position = _activations!.Positions[item / itemsPerRow];
            int kvHead = item % itemsPerRow * _headsPerItem / headsPerKvHead;
            AttentionKernel.Attend(
                _activations.Q(_headDim).Slice(item * itemWidth, itemWidth),
                _cache!.Keys(_layer),
                _cache.Values(_layer),
                kvHead,
                _cache.FirstVisible(_layer, position),
                position + 1,
                s_scratch,
                _activations.Heads(_headDim).Slice(item * itemWidth, itemWidth));
        }
    }
}
